//! Brings text to one form, cluster by cluster, and remembers where each cluster was.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// A stretch of text in folded form: NFKC, lower case, without characters that are not seen.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) text: String,
    /// Where the stretch begins and ends in the original.
    original: Range<usize>,
    /// For each cluster of the original where it begins, in `text` and in the original; empty if every byte of `text` is
    /// where it was.
    clusters: Vec<(usize, usize)>,
}

impl Folded {
    /// Folds `text[stretch]` into `self`, in the memory that it has.
    pub(super) fn fold(&mut self, text: &str, stretch: Range<usize>) {
        self.text.clear();
        self.clusters.clear();
        self.original = stretch.clone();
        let (base, text) = (stretch.start, &text[stretch]);
        self.text.reserve(text.len());
        if text.is_ascii() {
            self.text.push_str(text);
            self.text.make_ascii_lowercase();
            return;
        }
        let mut at = 0;
        while at < text.len() {
            let end = cluster_end(text, at);
            self.clusters.push((self.text.len(), base + at));
            let cluster = &text[at..end];
            match cluster.as_bytes() {
                [byte] => self.text.push(byte.to_ascii_lowercase().into()),
                _ if cluster.chars().all(is_settled) => self.text.push_str(cluster),
                _ => {
                    let seen = cluster.nfkc().filter(|c| !is_unseen(*c));
                    self.text.extend(seen.flat_map(char::to_lowercase).map(alike));
                }
            }
            at = end;
        }
    }

    /// Where a part of `text`, which is not empty, was in the original: whole clusters.
    pub(super) fn original(&self, part: &Range<usize>) -> Range<usize> {
        if self.clusters.is_empty() {
            return self.original.start + part.start..self.original.start + part.end;
        }
        // The last that begins at or before a byte: those before it that begin there, too, left nothing behind.
        let after = |byte: usize| self.clusters.partition_point(|(folded, _)| *folded <= byte);
        let end = self.clusters.get(after(part.end.saturating_sub(1)));
        let start = self.clusters.get(after(part.start).saturating_sub(1));
        let begins = |cluster: Option<&(usize, usize)>| cluster.map(|(_, original)| *original);
        begins(start).unwrap_or(self.original.start)..begins(end).unwrap_or(self.original.end)
    }
}

/// Where the grapheme cluster that begins at `at` ends.
pub(super) fn cluster_end(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let mut chars = rest.chars();
    let first = chars.next().map_or(0, char::len_utf8);
    let stands_alone = |c: char| c.is_ascii() || is_settled(c);
    // Most text is of characters that join with none of their kind.
    if rest.chars().next().is_none_or(stands_alone) && chars.next().is_none_or(stands_alone) {
        return at + first;
    }
    at + rest.graphemes(true).next().map_or(first, str::len)
}

/// Characters, outside ASCII, that folding leaves as they are, and that begin a cluster.
fn is_settled(c: char) -> bool {
    // Syllables of Hangul, the unified ideographs, Hiragana, Katakana.
    matches!(c, '\u{ac00}'..='\u{d7a3}' | '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}')
}

/// Characters that join, split or order others, and are not seen themselves.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// One of the characters that are written for each other.
fn alike(c: char) -> char {
    match c {
        // The sigma at the end of a word.
        '\u{3c2}' => '\u{3c3}',
        // The apostrophe of printers.
        '\u{2019}' => '\'',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Folded {
        let mut folded = Folded::default();
        folded.fold(text, 0..text.len());
        folded
    }

    #[test]
    fn one_form() {
        for (text, form) in [
            ("Straße", "straße"),
            ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
            ("ﾊﾟﾋﾟ", "パピ"),
            ("\u{1100}\u{1161}\u{11a8}", "각"),
            ("e\u{301}", "é"),
            ("ﬁ ① ㎏ ㈜", "fi 1 kg (주)"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("co\u{ad}op", "coop"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("葛\u{e0100}", "葛"),
            ("don’t", "don't"),
        ] {
            assert_eq!(folded(text).text, form, "{text}");
        }
    }

    #[test]
    fn places_in_the_original() {
        let text = "a\u{ad}b ㈜x";
        let folded = folded(text);
        assert_eq!(folded.text, "ab (주)x");
        assert_eq!(&text[folded.original(&(0..2))], "a\u{ad}b");
        assert_eq!(&text[folded.original(&(0..1))], "a");
        let at = folded.text.find('주').unwrap();
        assert_eq!(&text[folded.original(&(at..at + 3))], "㈜");
        assert_eq!(&text[folded.original(&(at..folded.text.len()))], "㈜x");
    }

    #[test]
    fn clusters_are_those_of_unicode() {
        for text in
            ["각가\u{11a8}한글", "か\u{3099}き", "a\u{301}b", "กำ\u{e49}น", "👩\u{200d}🚀x", "한\u{fe0f}글"]
        {
            let mut at = 0;
            for cluster in text.graphemes(true) {
                assert_eq!(cluster_end(text, at), at + cluster.len(), "{text} at {at}");
                at += cluster.len();
            }
        }
    }
}
