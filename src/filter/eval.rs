//! Evaluation: whether a document satisfies a filter.

use super::expression::Candidate;
use super::literal::{Literal, Scalar};
use super::lookup::reach;
use super::node::{Node, Subject, Test};
use crate::json::{self, Fault};

/// Evaluates nodes on one document, reading each field when it is first needed.
pub(super) struct Evaluator<'a> {
    candidate: &'a Candidate<'a>,
    /// The field read last: conditions on one field mostly stand together.
    last: Option<(&'a Subject, Values<'a>)>,
}

/// The values of a field; none if it is missing.
enum Values<'a> {
    /// Of a pseudo-field.
    Text(Option<&'a str>),
    /// Of a field of the metadata, as JSON.
    Json(Vec<&'a str>),
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(candidate: &'a Candidate<'a>) -> Self {
        Evaluator { candidate, last: None }
    }

    /// Whether `node` holds. A fault is one of the metadata.
    pub(super) fn holds(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match node {
            Node::And(nodes) => {
                for node in nodes {
                    if !self.holds(node)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(nodes) => {
                for node in nodes {
                    if self.holds(node)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Not(node) => self.holds(node).map(|held| !held),
            Node::Field(subject, test) => test.holds(self.values(subject)?),
        }
    }

    fn values(&mut self, subject: &'a Subject) -> Result<&Values<'a>, Fault> {
        let found = match self.last.take() {
            Some((known, found)) if known == subject => found,
            _ => match subject {
                Subject::Id => Values::Text(Some(self.candidate.id)),
                Subject::Text => Values::Text(self.candidate.text),
                Subject::Metadata(name) => Values::Json(reach(self.candidate.metadata, name)?),
            },
        };
        Ok(&self.last.insert((subject, found)).1)
    }
}

impl Values<'_> {
    fn are_missing(&self) -> bool {
        match self {
            Values::Text(text) => text.is_none(),
            Values::Json(values) => values.is_empty(),
        }
    }

    /// Whether `accepts` holds for a value or, where a value is an array, for an element of it.
    fn any(&self, mut accepts: impl FnMut(&Scalar<'_>) -> bool) -> Result<bool, Fault> {
        match self {
            Values::Text(text) => Ok(text.is_some_and(|text| accepts(&Scalar::String(text.into())))),
            Values::Json(values) => {
                for value in values {
                    let held = match Scalar::read(value) {
                        Some(scalar) => accepts(&scalar),
                        None => any_element(value, &mut accepts)?,
                    };
                    if held {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Whether a value is an array with an element equal to `wanted`, or a string with the substring `wanted`.
    fn contain(&self, wanted: &Literal) -> Result<bool, Fault> {
        let has_substring = |value: &Scalar<'_>| match (value, wanted) {
            (Scalar::String(text), Literal::String(wanted)) => text.contains(wanted.as_str()),
            _ => false,
        };
        match self {
            Values::Text(_) => self.any(has_substring),
            Values::Json(values) => {
                for value in values {
                    let held = match Scalar::read(value) {
                        Some(scalar) => has_substring(&scalar),
                        None => any_element(value, &mut |element| element.equals(wanted))?,
                    };
                    if held {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Whether `value` is an array with an element, neither array nor object, for which `accepts` holds.
fn any_element(value: &str, accepts: &mut impl FnMut(&Scalar<'_>) -> bool) -> Result<bool, Fault> {
    if !value.starts_with('[') {
        return Ok(false);
    }
    for element in json::elements(value)? {
        if Scalar::read(element?).is_some_and(|scalar| accepts(&scalar)) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Test {
    fn holds(&self, values: &Values<'_>) -> Result<bool, Fault> {
        if values.are_missing() {
            return Ok(match self {
                Test::Eq(literal) => *literal == Literal::Null,
                Test::In(set) => set.has_null(),
                _ => false,
            });
        }
        let is_text = |value: &Scalar<'_>, accepts: &dyn Fn(&str) -> bool| match value {
            Scalar::String(text) => accepts(text),
            _ => false,
        };
        match self {
            Test::Eq(literal) => values.any(|value| value.equals(literal)),
            Test::Range(bound, literal) => {
                values.any(|value| value.compare(literal).is_some_and(|order| bound.admits(order)))
            }
            Test::In(set) => values.any(|value| set.contains(value)),
            Test::Exists => Ok(true),
            Test::Contains(literal) => values.contain(literal),
            Test::All(literals) => {
                for literal in literals {
                    if !values.any(|value| value.equals(literal))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Prefix(prefix) => {
                values.any(|value| is_text(value, &|text| text.starts_with(prefix.as_str())))
            }
            Test::Regex(pattern) => values.any(|value| is_text(value, &|text| pattern.is_found_in(text))),
        }
    }
}
