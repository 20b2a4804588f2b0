//! The whole of a JSON text as a borrowed tree in which every value knows its own text.

use std::borrow::Cow;
use std::ops::Range;

use super::{Cursor, Fault, unquote};
use crate::limits::DEPTH_MAX;

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// The first byte of the value in the text that was parsed.
    pub(crate) at: usize,
    /// The value as written.
    pub(crate) raw: &'a str,
    /// What it is.
    pub(crate) kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Null,
    Bool(bool),
    /// The number token, verbatim.
    Number(&'a str),
    /// The text that the token stands for.
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// In the order of the text, repeated keys included.
    Object(Vec<Member<'a>>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The first byte of the key in the text that was parsed.
    pub(crate) key_at: usize,
    /// The key as written, with its quotes.
    pub(crate) key: &'a str,
    /// The name that the key stands for.
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Value<'a>,
}

impl Member<'_> {
    /// The bytes of the key in the text that was parsed.
    pub(crate) fn key_span(&self) -> Range<usize> {
        self.key_at..self.key_at + self.key.len()
    }
}

impl Value<'_> {
    /// The bytes of the value in the text that was parsed.
    pub(crate) fn span(&self) -> Range<usize> {
        self.at..self.at + self.raw.len()
    }

    /// What it is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }
}

/// Parses `text`, which may nest `DEPTH_MAX` deep. Cost: one pass.
pub(crate) fn parse(text: &str) -> Result<Value<'_>, Fault> {
    let mut cursor = Cursor::new(text, DEPTH_MAX);
    let value = read(text, &mut cursor)?;
    cursor.end()?;
    Ok(value)
}

fn read<'a>(text: &'a str, cursor: &mut Cursor<'a>) -> Result<Value<'a>, Fault> {
    let first = cursor.peek();
    let at = cursor.at();
    let kind = match first {
        Some(b'{') => {
            let mut members = Vec::new();
            cursor.open(b'{')?;
            while cursor.step(b'}')? {
                let (key_at, key) = cursor.key()?;
                members.push(Member { key_at, key, name: unquote(key), value: read(text, cursor)? });
            }
            Kind::Object(members)
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            cursor.open(b'[')?;
            while cursor.step(b']')? {
                elements.push(read(text, cursor)?);
            }
            Kind::Array(elements)
        }
        _ => match cursor.scalar()? {
            "null" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            token if token.starts_with('"') => Kind::String(unquote(token)),
            token => Kind::Number(token),
        },
    };
    Ok(Value { at, raw: &text[at..cursor.at()], kind })
}
