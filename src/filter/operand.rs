//! Values that conditions built in Rust compare with.

use crate::json;

/// A value to compare a field with: a string, a number, a boolean, null (`None`) or a date.
///
/// Integers are exact. A float stands for the shortest decimal that reads back as it: `0.1` is 0.1. NaN and the
/// infinities are no numbers in JSON, so a filter with one is an error at first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The operand as JSON.
    json: String,
}

impl Operand {
    /// A date: RFC 3339 with an offset, or a plain date, which is its midnight in UTC. Another text is an error at
    /// first use.
    pub fn date(text: &str) -> Self {
        Operand { json: format!("{{\"$date\":{}}}", json::quote(text)) }
    }

    pub(super) fn list<T: Into<Operand>>(values: impl IntoIterator<Item = T>) -> Self {
        let mut json = String::from("[");
        for value in values {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&value.into().json);
        }
        json.push(']');
        Operand { json }
    }

    pub(super) fn json(&self) -> &str {
        &self.json
    }
}

impl From<&str> for Operand {
    fn from(value: &str) -> Self {
        Operand { json: json::quote(value) }
    }
}

impl From<String> for Operand {
    fn from(value: String) -> Self {
        value.as_str().into()
    }
}

impl From<&String> for Operand {
    fn from(value: &String) -> Self {
        value.as_str().into()
    }
}

impl<T: Into<Operand>> From<Option<T>> for Operand {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Operand { json: "null".into() }, Into::into)
    }
}

macro_rules! from_displayed {
    ($($type:ty),*) => {
        $(impl From<$type> for Operand {
            fn from(value: $type) -> Self {
                Operand { json: value.to_string() }
            }
        })*
    };
}

from_displayed!(bool, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

macro_rules! from_float {
    ($($type:ty),*) => {
        $(impl From<$type> for Operand {
            fn from(value: $type) -> Self {
                // Debug writes the shortest decimal, with an exponent where Display would write 300 digits.
                Operand { json: format!("{value:?}") }
            }
        })*
    };
}

from_float!(f32, f64);
