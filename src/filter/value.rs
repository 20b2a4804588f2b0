//! Keys of scalar values: bytes in the order in which filters compare them.
//!
//! A key is one byte for the type, then the value: equal values have equal keys, and no key is the beginning of another.
//! Keys have a longest length, so long strings and numbers are cut; what is cut is marked, and must be read to be compared.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::literal::{Literal, Scalar, Set};
use crate::json::{self, number};

/// The bytes of a string, and the digits of a number, that go into a key.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// A field that is there and has no scalar value: an object, an array without one.
const BARE: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const TYPE_END: u8 = 6;

const ESCAPED: u8 = 255;
const END: [u8; 2] = [0, 0];
const CUT: [u8; 2] = [0, 1];

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    /// Neither of the others.
    Other,
    Null,
    Bool,
    Number,
    String,
}

/// The key of a field without a scalar value.
pub(crate) fn bare_key() -> Vec<u8> {
    vec![BARE]
}

/// The key of a JSON value; none for arrays and objects.
pub(crate) fn key_of(json: &str) -> Option<Vec<u8>> {
    Scalar::read(json).map(|scalar| key_of_scalar(&scalar))
}

fn key_of_scalar(scalar: &Scalar<'_>) -> Vec<u8> {
    match scalar {
        Scalar::Null => vec![NULL],
        Scalar::Bool(value) => vec![if *value { TRUE } else { FALSE }],
        Scalar::Number(token) => {
            let mut key = vec![NUMBER];
            number::sort_key(token, KEY_BYTES_MAX, &mut key);
            key
        }
        Scalar::String(text) => {
            let mut key = text_key(text);
            key.extend(if text.len() > KEY_BYTES_MAX { CUT } else { END });
            key
        }
    }
}

/// The beginning of the keys of all strings that begin with `text`; of no others unless it is cut.
fn text_key(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len().min(KEY_BYTES_MAX) + 3);
    key.push(STRING);
    for byte in text.bytes().take(KEY_BYTES_MAX) {
        key.push(byte);
        if byte == 0 {
            key.push(ESCAPED);
        }
    }
    key
}

/// The beginning of the keys of all strings that begin with `text`.
pub(crate) fn prefix_key(text: &str) -> Vec<u8> {
    text_key(text)
}

fn key_of_literal(literal: &Literal) -> Option<Vec<u8>> {
    let scalar = match literal {
        Literal::Null => Scalar::Null,
        Literal::Bool(value) => Scalar::Bool(*value),
        Literal::Number(number) => Scalar::Number(number.token()),
        Literal::String(text) => Scalar::String(Cow::Borrowed(text)),
        Literal::Date(_) => return None,
    };
    Some(key_of_scalar(&scalar))
}

/// The type of a key's value.
pub(crate) fn type_of(key: &[u8]) -> Type {
    match key.first() {
        Some(&NULL) => Type::Null,
        Some(&(FALSE | TRUE)) => Type::Bool,
        Some(&NUMBER) => Type::Number,
        Some(&STRING) => Type::String,
        _ => Type::Other,
    }
}

/// Where the keys of the values of the same type as `literal` begin, and where those after them do. Dates are strings.
pub(crate) fn type_range(literal: &Literal) -> ([u8; 1], [u8; 1]) {
    match literal {
        Literal::Null => ([NULL], [FALSE]),
        Literal::Bool(_) => ([FALSE], [NUMBER]),
        Literal::Number(_) => ([NUMBER], [STRING]),
        Literal::String(_) | Literal::Date(_) => ([STRING], [TYPE_END]),
    }
}

/// Whether different values may share the key.
pub(crate) fn is_cut(key: &[u8]) -> bool {
    match key.split_first() {
        Some((&NUMBER, rest)) => number::is_cut(rest),
        Some((&STRING, rest)) => rest.ends_with(&CUT),
        _ => false,
    }
}

/// The value of a key; none for one that was cut, for a bare one, and for bytes that are no key.
fn scalar(key: &[u8]) -> Option<Owned> {
    let (&kind, rest) = key.split_first()?;
    match kind {
        NULL => Some(Owned::Null),
        FALSE | TRUE => Some(Owned::Bool(kind == TRUE)),
        NUMBER => number::from_sort_key(rest).map(Owned::Number),
        STRING => {
            let escaped = rest.strip_suffix(&END)?;
            let mut bytes = Vec::with_capacity(escaped.len());
            let mut iter = escaped.iter();
            while let Some(&byte) = iter.next() {
                bytes.push(byte);
                if byte == 0 && iter.next() != Some(&ESCAPED) {
                    return None;
                }
            }
            String::from_utf8(bytes).ok().map(Owned::String)
        }
        _ => None,
    }
}

enum Owned {
    Null,
    Bool(bool),
    Number(String),
    String(String),
}

impl Owned {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Owned::Null => Scalar::Null,
            Owned::Bool(value) => Scalar::Bool(*value),
            Owned::Number(token) => Scalar::Number(token),
            Owned::String(text) => Scalar::String(Cow::Borrowed(text)),
        }
    }
}

/// An operand that keys are compared to.
pub(crate) struct Wanted<'a> {
    literal: &'a Literal,
    key: Option<Vec<u8>>,
}

impl<'a> Wanted<'a> {
    /// Takes an operand.
    pub(crate) fn new(literal: &'a Literal) -> Self {
        Wanted { literal, key: key_of_literal(literal) }
    }

    /// The operand.
    pub(crate) fn literal(&self) -> &'a Literal {
        self.literal
    }

    /// The key of the values that equal it; none for dates, which many strings equal.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// How the value of a key compares to the operand; `Err` if only the document can tell.
    pub(crate) fn compare(&self, key: &[u8]) -> Result<Option<Ordering>, ()> {
        match self.key() {
            Some(_) if !same_type(key, self.literal) => Ok(None),
            Some(wanted) => match key.cmp(wanted) {
                Ordering::Equal if is_cut(key) => Err(()),
                order => Ok(Some(order)),
            },
            None if is_cut(key) && type_of(key) == Type::String => Err(()),
            None => Ok(scalar(key).and_then(|value| value.scalar().compare(self.literal))),
        }
    }
}

/// Whether the value of a key is one of `set`; `Err` if only the document can tell.
pub(crate) fn is_in(key: &[u8], set: &Set) -> Result<bool, ()> {
    match scalar(key) {
        Some(value) => Ok(set.contains(&value.scalar())),
        None if is_cut(key) => Err(()),
        None => Ok(false),
    }
}

fn same_type(key: &[u8], literal: &Literal) -> bool {
    let (from, to) = type_range(literal);
    key >= &from[..] && key < &to[..]
}

/// The text of a key; `Err` if only the document can tell, none for other types.
pub(crate) fn text(key: &[u8]) -> Result<Option<String>, ()> {
    match (type_of(key), is_cut(key)) {
        (Type::String, true) => Err(()),
        (Type::String, false) => match scalar(key) {
            Some(Owned::String(text)) => Ok(Some(text)),
            _ => Err(()),
        },
        _ => Ok(None),
    }
}

/// The value of a key as JSON; none if the key was cut, or is bare.
pub(crate) fn to_json(key: &[u8]) -> Option<String> {
    Some(match scalar(key)? {
        Owned::Null => "null".to_owned(),
        Owned::Bool(value) => value.to_string(),
        Owned::Number(token) => token,
        Owned::String(text) => json::quote(&text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn literal(json: &str) -> Literal {
        Literal::read(json).unwrap()
    }

    /// Values of all types, the longest of which differ past what a key holds.
    fn value() -> impl Strategy<Value = String> {
        let near = (select(vec![255_usize, 256, 257, 400]), "[ab\u{0}]{0,2}").prop_map(|(len, end)| {
            json::quote(&format!("{}{end}", "가".repeat(len / 3) + &"x".repeat(len % 3)))
        });
        let numbers = (
            select(vec![3_usize, 255, 256, 257]),
            0..40_u8,
            select(vec!["", "e2", "e-300", "e99999999999999999999"]),
        )
            .prop_map(|(len, end, exponent)| format!("{}{end}{exponent}", "7".repeat(len)));
        prop_oneof![
            select(vec!["null", "true", "false", "0", "-0", "1.0", "1", "10e-1", "\"\"", "\"1\""])
                .prop_map(str::to_owned),
            any::<i64>().prop_map(|n| n.to_string()),
            "[ab\u{0}\u{1}\u{ff}가]{0,4}".prop_map(|text| json::quote(&text)),
            near,
            numbers,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn keys_agree_with_the_comparison_of_filters(a in value(), b in value()) {
            let (key, other) = (key_of(&a).unwrap(), key_of(&b).unwrap());
            let wanted = literal(&b);
            prop_assert_eq!(key_of_literal(&wanted).unwrap(), other.clone());
            let expected = Scalar::read(&a).unwrap().compare(&wanted);
            match Wanted::new(&wanted).compare(&key) {
                Ok(found) => prop_assert_eq!(found, expected),
                Err(()) => prop_assert!(is_cut(&key) && expected.is_some()),
            }
            if key != other {
                prop_assert!(!key.starts_with(&other));
                prop_assert_eq!(key.cmp(&other), literal(&a).cmp(&wanted));
            } else if !is_cut(&key) {
                prop_assert_eq!(literal(&a), wanted);
            }
            match to_json(&key) {
                Some(again) => prop_assert_eq!(literal(&again), literal(&a)),
                None => prop_assert!(is_cut(&key)),
            }
        }

        #[test]
        fn a_prefix_begins_the_keys(text in "[ab\u{0}가]{0,5}", start in "[ab\u{0}가]{0,3}") {
            let key = key_of(&json::quote(&text)).unwrap();
            prop_assert_eq!(key.starts_with(&prefix_key(&start)), text.starts_with(&start));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = (to_json(&bytes), Wanted::new(&Literal::Null).compare(&bytes), is_cut(&bytes), text(&bytes));
        }
    }
}
