//! Conditions on one field, built in Rust: each method writes JSON and has it parsed, so both ways agree.

use super::expression::Filter;
use super::operand::Operand;
use crate::json;

/// A field that a condition is built on. See [`Filter::field`].
#[derive(Clone, Debug)]
#[must_use = "a field alone is no condition: call one of its operators"]
pub struct Field {
    name: String,
}

impl Field {
    pub(super) fn new(name: String) -> Self {
        Field { name }
    }

    /// Equal to `value`, `$eq`; `None` matches a missing field too.
    pub fn eq(self, value: impl Into<Operand>) -> Filter {
        self.test("$eq", &value.into())
    }

    /// Not equal to `value`, `$ne`; true on a missing field.
    pub fn ne(self, value: impl Into<Operand>) -> Filter {
        self.test("$ne", &value.into())
    }

    /// Greater than `value`, `$gt`.
    pub fn gt(self, value: impl Into<Operand>) -> Filter {
        self.test("$gt", &value.into())
    }

    /// Greater than `value` or equal to it, `$gte`.
    pub fn gte(self, value: impl Into<Operand>) -> Filter {
        self.test("$gte", &value.into())
    }

    /// Less than `value`, `$lt`.
    pub fn lt(self, value: impl Into<Operand>) -> Filter {
        self.test("$lt", &value.into())
    }

    /// Less than `value` or equal to it, `$lte`.
    pub fn lte(self, value: impl Into<Operand>) -> Filter {
        self.test("$lte", &value.into())
    }

    /// Equal to one of `values`, `$in`; an error at first use if there are none.
    pub fn one_of<T: Into<Operand>>(self, values: impl IntoIterator<Item = T>) -> Filter {
        self.test("$in", &Operand::list(values))
    }

    /// Equal to none of `values`, `$nin`; true on a missing field.
    pub fn none_of<T: Into<Operand>>(self, values: impl IntoIterator<Item = T>) -> Filter {
        self.test("$nin", &Operand::list(values))
    }

    /// Present, be it null, `$exists`.
    pub fn exists(self) -> Filter {
        self.test("$exists", &true.into())
    }

    /// An array with the element `value`, or a string with the substring `value`; `$contains`.
    pub fn contains(self, value: impl Into<Operand>) -> Filter {
        self.test("$contains", &value.into())
    }

    /// The negation of [`Field::contains`], `$not_contains`; true on a missing field.
    pub fn not_contains(self, value: impl Into<Operand>) -> Filter {
        self.test("$not_contains", &value.into())
    }

    /// An array with each of `values` among its elements, `$all`; an error at first use if there are none.
    pub fn all<T: Into<Operand>>(self, values: impl IntoIterator<Item = T>) -> Filter {
        self.test("$all", &Operand::list(values))
    }

    /// A string that starts with `prefix`, `$prefix`.
    pub fn prefix(self, prefix: &str) -> Filter {
        self.test("$prefix", &prefix.into())
    }

    /// A string in which `pattern` is found, `$regex`, in the syntax of the crate `regex`. For upper and lower case
    /// alike begin it with `(?i)`. A bad pattern is an error at first use.
    pub fn regex(self, pattern: &str) -> Filter {
        self.test("$regex", &pattern.into())
    }

    fn test(&self, operator: &str, operand: &Operand) -> Filter {
        Filter::built(&format!("{{{}:{{\"{operator}\":{}}}}}", json::quote(&self.name), operand.json()))
    }
}
