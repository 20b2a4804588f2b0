//! Typed operands, and how the values of a document compare to them.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::date::{self, Date};
use crate::json;
use crate::json::number;

/// An operand. Equal by value: `1` equals `1.0`. The order is by type, then by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Date(Date),
}

impl Literal {
    /// Takes a value of checked JSON; none if it is an array or an object.
    pub(crate) fn read(json: &str) -> Option<Self> {
        Some(match Scalar::read(json)? {
            Scalar::Null => Literal::Null,
            Scalar::Bool(value) => Literal::Bool(value),
            Scalar::Number(token) => Literal::Number(Number::from_token(token)),
            Scalar::String(text) => Literal::String(text.into_owned()),
        })
    }
}

/// A JSON number token, compared exactly by value.
#[derive(Clone, Debug)]
pub(crate) struct Number(String);

impl Number {
    /// Takes a token of checked JSON.
    pub(crate) fn from_token(token: &str) -> Self {
        Number(token.to_owned())
    }

    /// The token as given.
    pub(crate) fn token(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        number::compare(&self.0, &other.0)
    }
}

/// A value of a document that is neither an array nor an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// Reads a value of checked JSON; none if it is an array or an object.
    pub(super) fn read(raw: &'a str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b'"' => Some(Scalar::String(json::unquote(raw))),
            b'n' => Some(Scalar::Null),
            b't' => Some(Scalar::Bool(true)),
            b'f' => Some(Scalar::Bool(false)),
            b'[' | b'{' => None,
            _ => Some(Scalar::Number(raw)),
        }
    }

    /// How the value compares to `literal`; none if they are of different types or the value is no date where one is
    /// wanted.
    pub(super) fn compare(&self, literal: &Literal) -> Option<Ordering> {
        match (self, literal) {
            (Scalar::Null, Literal::Null) => Some(Ordering::Equal),
            (Scalar::Bool(value), Literal::Bool(wanted)) => Some(value.cmp(wanted)),
            (Scalar::Number(value), Literal::Number(wanted)) => Some(number::compare(value, wanted.token())),
            (Scalar::String(value), Literal::String(wanted)) => Some(value.as_ref().cmp(wanted)),
            (Scalar::String(value), Literal::Date(wanted)) => {
                Some(date::instant(value)?.cmp(&wanted.instant()))
            }
            _ => None,
        }
    }

    /// Whether the value equals `literal`.
    pub(super) fn equals(&self, literal: &Literal) -> bool {
        self.compare(literal) == Some(Ordering::Equal)
    }

    /// The place of the type in the order of [`Literal`].
    fn rank(&self) -> u8 {
        match self {
            Scalar::Null => 0,
            Scalar::Bool(_) => 1,
            Scalar::Number(_) => 2,
            Scalar::String(_) => 3,
        }
    }
}

/// A set of operands, of any types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// Ascending, no two equal, dates last.
    literals: Vec<Literal>,
    /// How many are no dates.
    plain: usize,
}

impl Set {
    /// Takes the operands in any order. Cost: O(n log n).
    pub(crate) fn new(mut literals: Vec<Literal>) -> Self {
        literals.sort();
        literals.dedup();
        let plain = literals.partition_point(|literal| !matches!(literal, Literal::Date(_)));
        Set { literals, plain }
    }

    /// The operands, ascending by type and value, no two equal.
    pub(crate) fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// Whether null is one of them.
    pub(crate) fn has_null(&self) -> bool {
        self.literals.first() == Some(&Literal::Null)
    }

    /// Whether `value` equals one of them. Cost: O(log n).
    pub(super) fn contains(&self, value: &Scalar<'_>) -> bool {
        let (plain, dates) = self.literals.split_at(self.plain);
        let order = |literal: &Literal| match value.compare(literal) {
            Some(order) => order.reverse(),
            None => rank(literal).cmp(&value.rank()),
        };
        if plain.binary_search_by(order).is_ok() {
            return true;
        }
        let (Scalar::String(text), false) = (value, dates.is_empty()) else { return false };
        Date::parse(text).is_some_and(|date| dates.binary_search(&Literal::Date(date)).is_ok())
    }
}

fn rank(literal: &Literal) -> u8 {
    match literal {
        Literal::Null => 0,
        Literal::Bool(_) => 1,
        Literal::Number(_) => 2,
        Literal::String(_) => 3,
        Literal::Date(_) => 4,
    }
}
