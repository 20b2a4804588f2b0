//! What is wrong with a filter, and where.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::json;

/// The parts of [`Error::Filter`], which a filter that was built keeps until it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilterFault {
    pub(super) text: String,
    pub(super) span: Range<usize>,
    pub(super) path: String,
    pub(super) reason: String,
}

impl From<FilterFault> for Error {
    fn from(FilterFault { text, span, path, reason }: FilterFault) -> Self {
        Error::Filter { text, span, path, reason }
    }
}

/// A JSON path, kept as links to the callers' frames and written only for a fault: `$.year.$gte`, `$.$or[1]["a b"]`.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(super) fn key(&'p self, name: &'p str) -> Path<'p> {
        Path::Key(self, name)
    }

    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("$"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, name) => {
                let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                if !name.is_empty() && name.chars().all(is_word) {
                    write!(f, "{parent}.{name}")
                } else {
                    write!(f, "{parent}[{}]", json::quote(name))
                }
            }
        }
    }
}
