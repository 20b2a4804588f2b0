//! Documents as people see them.

use std::fmt::{self, Display, Write as _};
use std::ops::Range;

use anstyle::Style;
use vdb::{Document, Metadata};

/// What is beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What is the point.
pub(crate) const BOLD: Style = Style::new().bold();
/// The characters of a text that are shown in a list.
const SNIPPET_CHARS: usize = 160;
/// What is shown before the first mark of a snippet, in bytes, at most.
const BEFORE_BYTES: usize = 40;
/// The width of the bar that shows a score.
const BAR_CELLS: u8 = 8;

/// The beginning of a text in one line, without anything that a terminal would obey.
pub(crate) fn snippet(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if let Some((cut, _)) = out.char_indices().nth(SNIPPET_CHARS) {
            out.truncate(cut);
            out.push_str("...");
            break;
        }
    }
    out
}

/// The stretch of a part of a text that has most of what is marked, in one line, with that in bold; the beginning if nothing
/// is marked. `marks` are ranges of bytes, in order and apart.
pub(crate) fn marked_snippet(text: &str, part: Range<usize>, marks: &[Range<usize>]) -> String {
    let inside: Vec<&Range<usize>> =
        marks.iter().filter(|mark| mark.start >= part.start && mark.end <= part.end).collect();
    let Some(whole) = text.get(part.clone()) else { return String::new() };
    let Some(begin) = best_begin(text, &part, &inside) else { return snippet(whole) };
    let (mut out, mut count, mut is_bold) = (String::new(), 0, false);
    if begin > part.start {
        out.push_str("... ");
    }
    let rest = text.get(begin..part.end).unwrap_or_default();
    for (at, c) in rest.char_indices() {
        let at = begin + at;
        let is_space = c.is_whitespace() || c.is_control();
        if is_space && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        let is_marked = inside[inside.partition_point(|mark| mark.end <= at)..].first();
        let is_marked = is_marked.is_some_and(|mark| mark.contains(&at));
        if is_marked != is_bold {
            let _ = if is_marked { write!(out, "{BOLD}") } else { write!(out, "{BOLD:#}") };
            is_bold = is_marked;
        }
        if count == SNIPPET_CHARS {
            out.push_str("...");
            break;
        }
        out.push(if is_space { ' ' } else { c });
        count += 1;
    }
    if is_bold {
        let _ = write!(out, "{BOLD:#}");
    }
    out.trim_end().to_owned()
}

/// Where a snippet begins: a few words before the mark after which most others follow, at the beginning if it is near.
fn best_begin(text: &str, part: &Range<usize>, marks: &[&Range<usize>]) -> Option<usize> {
    let follow = |n: usize| {
        let end = marks[n].start + SNIPPET_CHARS - BEFORE_BYTES;
        marks[n..].iter().take_while(|mark| mark.end <= end).count()
    };
    // Of equal ones the first.
    let best = (0..marks.len()).rev().max_by_key(|n| follow(*n))?;
    let mark = marks[best].start;
    if mark - part.start <= BEFORE_BYTES {
        return Some(part.start);
    }
    let from = text.ceil_char_boundary(mark - BEFORE_BYTES);
    let space = text.get(from..mark)?.find(char::is_whitespace);
    Some(space.map_or(from, |space| from + space).max(part.start))
}

/// A bar of at most [`BAR_CELLS`] cells, for a part of one.
pub(crate) fn bar(part: f32) -> String {
    let mut bar = String::new();
    for cell in 0..BAR_CELLS {
        let filled = (part * f32::from(BAR_CELLS) - f32::from(cell)).clamp(0.0, 1.0);
        bar.push(if filled > 0.75 {
            '\u{2588}'
        } else if filled > 0.25 {
            '\u{258c}'
        } else {
            ' '
        });
    }
    bar
}

/// A text without what a terminal would obey; lines and tabs stay.
pub(crate) fn tame(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ")
}

/// Metadata, dimmed; nothing when there are none.
pub(crate) fn metadata(metadata: &Metadata) -> String {
    if metadata.is_empty() { String::new() } else { format!("{DIM}{}{DIM:#}", tame(metadata.as_json())) }
}

/// How much of a document is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One line.
    Line,
    /// All of it.
    Whole,
}

/// A document for people.
pub(crate) struct Shown<'a>(pub(crate) &'a Document, pub(crate) Extent);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(document, extent) = self;
        write!(f, "{BOLD}{}{BOLD:#}", tame(document.id_ref().unwrap_or_default()))?;
        let metadata = metadata(document.metadata_ref());
        if *extent == Extent::Line {
            let shown = document.text().map(snippet).unwrap_or_default();
            for piece in [shown, metadata].iter().filter(|piece| !piece.is_empty()) {
                write!(f, "  {piece}")?;
            }
            return Ok(());
        }
        if !metadata.is_empty() {
            write!(f, "  {metadata}")?;
        }
        for line in document.text().map(tame).unwrap_or_default().lines() {
            write!(f, "\n  {line}")?;
        }
        for vector in document.parts().iter().filter_map(|part| part.vector.as_ref()) {
            write!(f, "\n  {DIM}{vector:?}{DIM:#}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, marks: &[(usize, usize)]) -> String {
        let marks: Vec<Range<usize>> = marks.iter().map(|&(start, end)| start..end).collect();
        let snippet = marked_snippet(text, 0..text.len(), &marks);
        snippet.replace(&format!("{BOLD}"), "<").replace(&format!("{BOLD:#}"), ">")
    }

    #[test]
    fn snippets_show_what_is_marked() {
        assert_eq!(plain("a red\n\tcar", &[(2, 5)]), "a <red> car");
        assert_eq!(plain("red", &[(0, 3)]), "<red>");
        assert_eq!(plain("\u{1b}[31m red", &[]), "[31m red");
        let long = format!("{}red and blue {}", "word ".repeat(100), "more ".repeat(100));
        let at = long.find("red").unwrap();
        let snippet = plain(&long, &[(0, 4), (at, at + 3), (at + 8, at + 12)]);
        assert!(snippet.starts_with("... ") && snippet.contains("<red> and <blue>"), "{snippet}");
        assert!(snippet.ends_with("..."), "{snippet}");
        let korean = "검색".repeat(200);
        assert!(plain(&korean, &[(900, 906)]).contains("<검색>"));
    }

    #[test]
    fn bars() {
        assert_eq!((bar(1.0), bar(0.0), bar(f32::NAN)), ("\u{2588}".repeat(8), " ".repeat(8), " ".repeat(8)));
        assert_eq!(bar(0.5), format!("{}    ", "\u{2588}".repeat(4)));
    }
}
