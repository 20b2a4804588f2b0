//! Lookups in JSON text that build no tree: the members of one object, the elements of one array.

use std::borrow::Cow;

use super::{Cursor, Fault, unquote};
use crate::limits::DEPTH_MAX;

/// The key of a member, as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// The string token with its quotes.
    pub(crate) raw: &'a str,
}

impl<'a> Key<'a> {
    /// The name that the token stands for.
    pub(crate) fn name(self) -> Cow<'a, str> {
        unquote(self.raw)
    }

    /// Whether the token stands for `name`; allocates only when something is escaped.
    pub(crate) fn is(self, name: &str) -> bool {
        let inner = self.raw.get(1..self.raw.len() - 1).unwrap_or_default();
        if inner == name {
            return !name.contains('\\');
        }
        // An escape is longer than what it stands for.
        inner.len() > name.len() && inner.contains('\\') && self.name() == name
    }
}

/// The members of the object that `text` is, in order: key and text of the value. A fault ends the iteration.
pub(crate) fn members(text: &str) -> Result<Members<'_>, Fault> {
    members_within(text, DEPTH_MAX)
}

/// As [`members`], for text that may nest `depth_max` deep.
pub(crate) fn members_within(text: &str, depth_max: usize) -> Result<Members<'_>, Fault> {
    let mut cursor = Cursor::new(text, depth_max);
    cursor.open(b'{')?;
    Ok(Members { cursor, done: false })
}

/// The elements of the array that `text` is, in order. A fault ends the iteration.
pub(crate) fn elements(text: &str) -> Result<Elements<'_>, Fault> {
    let mut cursor = Cursor::new(text, DEPTH_MAX);
    cursor.open(b'[')?;
    Ok(Elements { cursor, done: false })
}

/// The text of the value under `key` in the object that `object` is. Cost: one pass over `object`, no allocation.
pub(crate) fn find<'a>(object: &'a str, key: &str) -> Result<Option<&'a str>, Fault> {
    let mut found = None;
    for member in members(object)? {
        let (name, value) = member?;
        if name.is(key) {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Iterator of [`members`].
pub(crate) struct Members<'a> {
    cursor: Cursor<'a>,
    done: bool,
}

impl<'a> Members<'a> {
    fn advance(&mut self) -> Result<Option<(Key<'a>, &'a str)>, Fault> {
        if self.cursor.step(b'}')? {
            let (_, raw) = self.cursor.key()?;
            return Ok(Some((Key { raw }, self.cursor.value()?)));
        }
        self.cursor.end().map(|()| None)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Key<'a>, &'a str), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Iterator of [`elements`].
pub(crate) struct Elements<'a> {
    cursor: Cursor<'a>,
    done: bool,
}

impl<'a> Elements<'a> {
    fn advance(&mut self) -> Result<Option<&'a str>, Fault> {
        if self.cursor.step(b']')? {
            return self.cursor.value().map(Some);
        }
        self.cursor.end().map(|()| None)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}
