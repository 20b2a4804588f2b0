//! Documents as people see them.

use std::fmt::{self, Display};

use anstyle::Style;
use vdb::{Document, Metadata};

/// What is beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What is the point.
pub(crate) const BOLD: Style = Style::new().bold();
/// The characters of a text that are shown in a list.
const SNIPPET_CHARS: usize = 160;

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
