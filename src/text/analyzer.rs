//! Cuts text into the terms that are indexed and searched for.
//!
//! Scripts that put no spaces between words, or that join endings to them (Hangul, Han, Kana, Thai, Lao, Khmer, Myanmar), are
//! cut into overlapping pairs of characters, *grams*, so that a word is found whatever is joined to it. Text in other
//! scripts is cut into words. Nothing needs a dictionary.

use std::ops::Range;

use rust_stemmers::Stemmer;
use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

use super::fold::{Folded, cluster_end};
use super::language::Language;

/// Rises when the same text gives other terms, so that an index made before is known to be old.
pub(crate) const ANALYZER_VERSION: u32 = 2;

/// Of longer terms the beginning counts, in bytes.
pub(crate) const TERM_BYTES_MAX: usize = 255;

/// Text is folded in stretches of about so many bytes, which bounds memory.
const STRETCH_BYTES: usize = 16 << 10;

/// What terms are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be indexed: all by which the text can be found. Several terms may be at one position.
    Index,
    /// To search for: one term a position, and none that another one implies.
    Query,
    /// To search for terms that begin so: as for a query, but words are not stemmed.
    Prefix,
}

/// A term and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// At most [`TERM_BYTES_MAX`] bytes.
    pub(crate) term: &'a str,
    /// Words and grams before it. The length of a text is the number of its positions, not of its terms.
    pub(crate) position: u32,
    /// The bytes of the original: whole characters, and all that the term was made of.
    pub(crate) offset: Range<usize>,
}

/// The way in which a store cuts text into terms.
pub(crate) struct Analyzer {
    language: Option<Language>,
    stemmer: Option<Stemmer>,
}

impl Analyzer {
    /// An analyzer that also finds the stems of words of a language, if there is one.
    pub(crate) fn new(language: Option<Language>) -> Self {
        Analyzer { language, stemmer: language.map(Language::stemmer) }
    }

    /// Calls `visit` with each term of `text`, in the order of their positions; returns the number of positions.
    ///
    /// Cost: one pass; memory that does not grow with the text.
    pub(crate) fn analyze(&self, text: &str, purpose: Purpose, visit: &mut dyn FnMut(Token<'_>)) -> u32 {
        let mut pass = Pass { analyzer: self, purpose, visit, folded: Folded::default(), position: 0 };
        let mut at = 0;
        while at < text.len() {
            let end = stretch_end(text, at);
            pass.folded.fold(text, at..end);
            pass.stretch();
            at = end;
        }
        pass.position
    }
}

impl Clone for Analyzer {
    fn clone(&self) -> Self {
        Analyzer::new(self.language)
    }
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyzer").field("language", &self.language).finish_non_exhaustive()
    }
}

/// The end of the stretch that begins at `at`: after white space, if there is any near.
fn stretch_end(text: &str, at: usize) -> usize {
    if text.len() - at <= STRETCH_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(at + STRETCH_BYTES);
    let space = text.as_bytes()[at..end].iter().rposition(u8::is_ascii_whitespace);
    space.map_or(end, |space| at + space + 1)
}

/// The scripts of grams. A run of grams is of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gram {
    Hangul,
    Han,
    Kana,
    Thai,
    Lao,
    Khmer,
    Myanmar,
}

/// The script of grams that a cluster beginning with `c` belongs to.
fn gram(c: char) -> Option<Gram> {
    match c {
        '\0'..='\u{e00}' => None,
        '\u{ac00}'..='\u{d7a3}' => Some(Gram::Hangul),
        '\u{4e00}'..='\u{9fff}' => Some(Gram::Han),
        // The marks of length and iteration that are of both kinds of Kana.
        '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}' | '\u{3031}'..='\u{3035}' => {
            Some(Gram::Kana)
        }
        _ if !c.is_alphanumeric() => None,
        _ => match c.script() {
            Script::Hangul => Some(Gram::Hangul),
            Script::Han => Some(Gram::Han),
            Script::Hiragana | Script::Katakana => Some(Gram::Kana),
            Script::Thai => Some(Gram::Thai),
            Script::Lao => Some(Gram::Lao),
            Script::Khmer => Some(Gram::Khmer),
            Script::Myanmar => Some(Gram::Myanmar),
            _ => None,
        },
    }
}

/// Whether a term is of grams, and so is found within whatever it is a part of.
pub(super) fn is_gram(term: &str) -> bool {
    term.chars().next().and_then(gram).is_some()
}

/// One pass over a text.
struct Pass<'a> {
    analyzer: &'a Analyzer,
    purpose: Purpose,
    visit: &'a mut dyn FnMut(Token<'_>),
    folded: Folded,
    position: u32,
}

impl Pass<'_> {
    /// Visits the terms of the folded stretch.
    fn stretch(&mut self) {
        let text = std::mem::take(&mut self.folded.text);
        if text.is_ascii() {
            self.words(&text, 0..text.len());
        } else {
            let (mut at, mut words) = (0, 0);
            let mut units: Vec<Range<usize>> = Vec::new();
            while at < text.len() {
                let Some(script) = text[at..].chars().next().and_then(gram) else {
                    at = cluster_end(&text, at);
                    continue;
                };
                self.words(&text, words..at);
                units.clear();
                while at < text.len() && text[at..].chars().next().and_then(gram) == Some(script) {
                    let end = cluster_end(&text, at);
                    units.push(at..end);
                    at = end;
                }
                self.grams(&text, &units);
                words = at;
            }
            self.words(&text, words..text.len());
        }
        self.folded.text = text;
    }

    /// Visits the grams of a run.
    fn grams(&mut self, text: &str, units: &[Range<usize>]) {
        for (n, unit) in units.iter().enumerate() {
            let next = units.get(n + 1);
            if self.purpose == Purpose::Index || units.len() == 1 {
                self.emit(text, unit.clone(), None);
            }
            // The last character of a run has a position, whether or not it has a term of its own.
            if let Some(next) = next {
                self.emit(text, unit.start..next.end, None);
            }
            self.position += 1;
        }
    }

    /// Visits the words of a part of the text without grams.
    fn words(&mut self, text: &str, part: Range<usize>) {
        for (at, word) in text[part.clone()].unicode_word_indices() {
            let at = part.start + at;
            if word.is_ascii() {
                self.word(text, at..at + word.len());
            } else {
                self.scripts(text, at..at + word.len());
            }
        }
    }

    /// Visits the parts of a word that are each of one script.
    fn scripts(&mut self, text: &str, word: Range<usize>) {
        let (mut from, mut before) = (word.start, None);
        for (at, c) in text[word.clone()].char_indices() {
            let script = c.script();
            if matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                continue;
            }
            if before.is_some_and(|before| before != script) {
                self.word(text, from..word.start + at);
                from = word.start + at;
            }
            before = Some(script);
        }
        self.word(text, from..word.end);
    }

    /// Visits a word, and what it is joined of.
    fn word(&mut self, text: &str, word: Range<usize>) {
        let is_inside = |c: char| c.is_alphanumeric() || !c.is_ascii();
        // Marks at its ends are no part of it: those of `__init__`, and what is left where the script changed.
        let Some(start) = text[word.clone()].find(is_inside) else { return };
        let end = text[word.clone()].char_indices().rfind(|(_, c)| is_inside(*c));
        let end = end.map_or(word.end, |(at, c)| word.start + at + c.len_utf8());
        let word = word.start + start..end;
        self.forms(text, word.clone());
        if self.purpose == Purpose::Index {
            // `example.com`, `user_name`, `l'homme` are found by their parts, too.
            let (mut from, whole) = (word.start, &text[word.clone()]);
            for part in whole.split(|c: char| c.is_ascii() && !c.is_alphanumeric()) {
                let is_worth = part.len() < whole.len()
                    && part.chars().nth(1).is_some()
                    && part.contains(char::is_alphabetic);
                if is_worth {
                    self.forms(text, from..from + part.len());
                }
                from += part.len() + 1;
            }
        }
        self.position += 1;
    }

    /// Visits a word as it is, and its stem.
    fn forms(&mut self, text: &str, word: Range<usize>) {
        let stem = match (&self.analyzer.stemmer, self.purpose) {
            (Some(stemmer), Purpose::Index | Purpose::Query) => {
                let whole = cut(&text[word.clone()]);
                Some(stemmer.stem(whole)).filter(|stem| !stem.is_empty() && *stem != whole)
            }
            _ => None,
        };
        if self.purpose == Purpose::Index || stem.is_none() {
            self.emit(text, word.clone(), None);
        }
        if let Some(stem) = stem {
            self.emit(text, word, Some(&stem));
        }
    }

    /// Visits a term, which is a part of the text unless it is given.
    fn emit(&mut self, text: &str, part: Range<usize>, term: Option<&str>) {
        let offset = self.folded.original(&part);
        let term = cut(term.unwrap_or(&text[part]));
        (self.visit)(Token { term, position: self.position, offset });
    }
}

/// The beginning of a term that counts.
fn cut(term: &str) -> &str {
    &term[..term.floor_char_boundary(TERM_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
