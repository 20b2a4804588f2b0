//! A lossless view of JSON text: number tokens, key order and escapes stay as written.
//!
//! Everything here borrows from the text and goes through one validating [`cursor`], so the lazy lookups and the tree
//! accept the same language: RFC 8259, at most `DEPTH_MAX` deep, with paired surrogates. Where a key comes twice in one
//! object the last one counts, as in `serde_json` and in Python.

mod cursor;
mod lazy;
pub(crate) mod number;
mod tree;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Error;
use crate::limits::DEPTH_MAX;

pub(crate) use cursor::Cursor;
pub(crate) use lazy::{elements, find, members, members_within};
pub(crate) use tree::{Kind, Member, Value, parse};

/// Why a text is not JSON, and which bytes of it say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) reason: String,
}

impl Fault {
    /// This fault as the error of a value that a caller gave.
    pub(crate) fn invalid(self, what: &str) -> Error {
        Error::invalid(what, format!("{} at byte {}", self.reason, self.span.start))
    }
}

/// Checks `text` and returns it without insignificant white space, everything else verbatim. Cost: one or two passes.
pub(crate) fn compact(text: &str) -> Result<String, Fault> {
    let mut cursor = Cursor::new(text, DEPTH_MAX);
    let value = cursor.value()?;
    cursor.end()?;
    if !cursor.is_spaced() {
        return Ok(value.to_owned());
    }
    let mut out = String::with_capacity(value.len());
    let (mut kept, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in value.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(&value[kept..at]);
            kept = at + 1;
        } else {
            in_string = byte == b'"';
        }
    }
    out.push_str(&value[kept..]);
    Ok(out)
}

/// Writes `text` as a JSON string token.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text that a string token, taken from checked JSON, stands for. Borrows when nothing is escaped.
pub(crate) fn unquote(token: &str) -> Cow<'_, str> {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if inner.contains('\\') {
        // The cursor has checked every escape; were it wrong, the escapes would show instead of a panic.
        serde_json::from_str(token).map_or(Cow::Borrowed(inner), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}
