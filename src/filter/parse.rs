//! From the JSON of a filter to its syntax tree.

use std::ops::Range;

use super::date::Date;
use super::fault::{FilterFault, Path};
use super::literal::{Literal, Number, Set};
use super::node::{Bound, Node, Subject, Test};
use super::pattern::{Case, Pattern};
use crate::json::{self, Kind, Member, Value};

const LOGICAL: [&str; 4] = ["$and", "$or", "$nor", "$not"];
const PSEUDO_FIELDS: [&str; 2] = ["$id", "$text"];
const OPERATORS: [&str; 17] = [
    "$eq",
    "$ne",
    "$neq",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$contains",
    "$not_contains",
    "$all",
    "$prefix",
    "$regex",
    "$options",
    "$not",
];

/// Parses and checks the filter that `text` is. Cost: linear in `text`, and O(n log n) in the lists.
pub(super) fn filter(text: &str) -> Result<Node, FilterFault> {
    let parser = Parser { text };
    match json::parse(text) {
        Ok(value) => parser.filter(&value, Path::Root),
        Err(json::Fault { span, reason }) => Err(parser.fault(span, Path::Root, reason)),
    }
}

/// Every name of the language that starts with `$`, except `$date`.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    LOGICAL.into_iter().chain(PSEUDO_FIELDS).chain(OPERATORS)
}

struct Parser<'t> {
    text: &'t str,
}

type Parsed<T> = Result<T, FilterFault>;

impl Parser<'_> {
    fn fault(&self, span: Range<usize>, path: Path<'_>, reason: impl Into<String>) -> FilterFault {
        FilterFault { text: self.text.to_owned(), span, path: path.to_string(), reason: reason.into() }
    }

    fn expected<T>(&self, wanted: &str, found: &Value<'_>, path: Path<'_>) -> Parsed<T> {
        Err(self.fault(found.span(), path, format!("expected {wanted}, found {}", found.noun())))
    }

    fn filter(&self, value: &Value<'_>, path: Path<'_>) -> Parsed<Node> {
        let Kind::Object(members) = &value.kind else {
            return self.expected("a filter (an object)", value, path);
        };
        let nodes: Parsed<Vec<_>> =
            members.iter().map(|member| self.member(member, path.key(&member.name))).collect();
        Ok(Node::and(nodes?))
    }

    fn member(&self, member: &Member<'_>, path: Path<'_>) -> Parsed<Node> {
        let value = &member.value;
        match member.name.as_ref() {
            "$and" => Ok(Node::and(self.filters(value, path)?)),
            "$or" => Ok(Node::or(self.filters(value, path)?)),
            "$nor" => Ok(Node::negated(Node::or(self.filters(value, path)?))),
            "$not" => Ok(Node::negated(self.filter(value, path)?)),
            "$id" => self.condition(&Subject::Id, value, path),
            "$text" => self.condition(&Subject::Text, value, path),
            name if OPERATORS.contains(&name) => {
                let reason = format!("{name} belongs to a field, as in {{\"field\": {{\"{name}\": ...}}}}");
                Err(self.fault(member.key_span(), path, reason))
            }
            name if name.starts_with('$') => {
                let reason = unknown(name, LOGICAL.iter().chain(&PSEUDO_FIELDS));
                Err(self.fault(member.key_span(), path, reason))
            }
            name => self.condition(&Subject::Metadata(name.to_owned()), value, path),
        }
    }

    fn filters(&self, value: &Value<'_>, path: Path<'_>) -> Parsed<Vec<Node>> {
        let Kind::Array(elements) = &value.kind else {
            return self.expected("a list of filters", value, path);
        };
        elements.iter().enumerate().map(|(index, element)| self.filter(element, path.index(index))).collect()
    }

    /// What stands under a field: a value, a list of values, or operators.
    fn condition(&self, subject: &Subject, value: &Value<'_>, path: Path<'_>) -> Parsed<Node> {
        let test = match &value.kind {
            Kind::Object(members) if members.iter().any(|member| member.name == "$date") => {
                Test::Eq(self.literal(subject, value, path)?)
            }
            Kind::Object(_) => return self.operators(subject, value, path),
            Kind::Array(_) => Test::In(Set::new(self.literals(subject, value, path, Emptiness::Refused)?)),
            _ => Test::Eq(self.literal(subject, value, path)?),
        };
        Ok(Node::Field(subject.clone(), test))
    }

    fn operators(&self, subject: &Subject, value: &Value<'_>, path: Path<'_>) -> Parsed<Node> {
        let members = match &value.kind {
            Kind::Object(members) if !members.is_empty() => members,
            Kind::Object(_) => {
                return Err(self.fault(value.span(), path, "expected an operator, found none"));
            }
            _ => return self.expected("an object of operators", value, path),
        };
        let case = self.options(members, path)?;
        let operators = members.iter().filter(|member| member.name != "$options");
        let nodes: Parsed<Vec<_>> =
            operators.map(|member| self.operator(subject, member, case, path.key(&member.name))).collect();
        Ok(Node::and(nodes?))
    }

    fn operator(&self, subject: &Subject, member: &Member<'_>, case: Case, path: Path<'_>) -> Parsed<Node> {
        let value = &member.value;
        let field = |test| Node::Field(subject.clone(), test);
        let range = |bound| Ok(field(Test::Range(bound, self.range_end(subject, value, path)?)));
        match member.name.as_ref() {
            "$eq" => Ok(field(Test::Eq(self.literal(subject, value, path)?))),
            "$ne" | "$neq" => Ok(Node::negated(field(Test::Eq(self.literal(subject, value, path)?)))),
            "$gt" => range(Bound::Greater),
            "$gte" => range(Bound::GreaterOrEqual),
            "$lt" => range(Bound::Less),
            "$lte" => range(Bound::LessOrEqual),
            "$in" => {
                let literals = self.literals(subject, value, path, Emptiness::Refused)?;
                Ok(field(Test::In(Set::new(literals))))
            }
            "$nin" => {
                let literals = self.literals(subject, value, path, Emptiness::Allowed)?;
                // Equal to none of nothing: true, and no test, as its negation could not be written.
                if literals.is_empty() {
                    return Ok(Node::and([]));
                }
                Ok(Node::negated(field(Test::In(Set::new(literals)))))
            }
            "$exists" => match value.kind {
                Kind::Bool(true) => Ok(field(Test::Exists)),
                Kind::Bool(false) => Ok(Node::negated(field(Test::Exists))),
                _ => self.expected("true or false", value, path),
            },
            "$contains" => Ok(field(Test::Contains(self.literal(subject, value, path)?))),
            "$not_contains" => Ok(Node::negated(field(Test::Contains(self.literal(subject, value, path)?)))),
            "$all" if matches!(subject, Subject::Metadata(_)) => {
                Ok(field(Test::All(self.literals(subject, value, path, Emptiness::Refused)?)))
            }
            "$all" => {
                let reason = format!("$all asks for elements of an array, {} is a string", subject.name());
                Err(self.fault(member.key_span(), path, reason))
            }
            "$prefix" => Ok(field(Test::Prefix(self.string(value, path)?.to_owned()))),
            "$regex" => {
                let pattern = Pattern::new(self.string(value, path)?, case);
                pattern
                    .map(|pattern| field(Test::Regex(pattern)))
                    .map_err(|reason| self.fault(value.span(), path, reason))
            }
            "$not" => Ok(Node::negated(self.operators(subject, value, path)?)),
            name => Err(self.fault(member.key_span(), path, not_an_operator(name))),
        }
    }

    /// The `$options` among `members`, which belong to a `$regex` there.
    fn options(&self, members: &[Member<'_>], path: Path<'_>) -> Parsed<Case> {
        let mut options = members.iter().filter(|member| member.name == "$options");
        let Some(member) = options.next() else { return Ok(Case::Sensitive) };
        let path = path.key("$options");
        if let Some(second) = options.next() {
            return Err(self.fault(second.key_span(), path, "$options is given twice"));
        }
        if !members.iter().any(|member| member.name == "$regex") {
            return Err(self.fault(member.key_span(), path, "$options needs a $regex beside it"));
        }
        match self.string(&member.value, path)? {
            "" => Ok(Case::Sensitive),
            "i" => Ok(Case::Ignored),
            other => {
                let reason = format!("unknown option {other:?}, expected \"i\"");
                Err(self.fault(member.value.span(), path, reason))
            }
        }
    }

    fn string<'v>(&self, value: &'v Value<'_>, path: Path<'_>) -> Parsed<&'v str> {
        match &value.kind {
            Kind::String(text) => Ok(text),
            _ => self.expected("a string", value, path),
        }
    }

    fn range_end(&self, subject: &Subject, value: &Value<'_>, path: Path<'_>) -> Parsed<Literal> {
        match value.kind {
            Kind::Null | Kind::Bool(_) => {
                self.expected("a number, a string or {\"$date\": ...}", value, path)
            }
            _ => self.literal(subject, value, path),
        }
    }

    fn literals(
        &self,
        subject: &Subject,
        value: &Value<'_>,
        path: Path<'_>,
        emptiness: Emptiness,
    ) -> Parsed<Vec<Literal>> {
        let Kind::Array(elements) = &value.kind else {
            return self.expected("a list of values", value, path);
        };
        if elements.is_empty() && emptiness == Emptiness::Refused {
            return Err(self.fault(value.span(), path, "expected a list of values, found an empty one"));
        }
        let each = |(index, element)| self.literal(subject, element, path.index(index));
        elements.iter().enumerate().map(each).collect()
    }

    fn literal(&self, subject: &Subject, value: &Value<'_>, path: Path<'_>) -> Parsed<Literal> {
        match (&value.kind, subject) {
            (Kind::String(text), _) => Ok(Literal::String(text.clone().into_owned())),
            (Kind::Null, Subject::Metadata(_) | Subject::Text) => Ok(Literal::Null),
            (_, Subject::Id) => self.expected("a string, as $id is one", value, path),
            (_, Subject::Text) => self.expected("a string or null, as $text is one", value, path),
            (Kind::Bool(flag), _) => Ok(Literal::Bool(*flag)),
            (Kind::Number(token), _) => Ok(Literal::Number(Number::from_token(token))),
            (Kind::Object(members), _) if members.iter().any(|member| member.name == "$date") => {
                self.date(members, path)
            }
            _ => self.expected("a string, number, true, false, null or {\"$date\": ...}", value, path),
        }
    }

    /// The operand `{"$date": "..."}`.
    fn date(&self, members: &[Member<'_>], path: Path<'_>) -> Parsed<Literal> {
        if let Some(other) = members.iter().find(|member| member.name != "$date").or(members.get(1)) {
            return Err(self.fault(other.key_span(), path.key(&other.name), "$date must stand alone"));
        }
        let value = &members[0].value;
        let path = path.key("$date");
        Date::parse(self.string(value, path)?).map(Literal::Date).ok_or_else(|| {
            let reason = "not a date, expected one like \"2026-11-23\" or \"2026-11-23T04:00:00+09:00\"";
            self.fault(value.span(), path, reason)
        })
    }
}

/// Whether a list may be empty.
#[derive(Clone, Copy, PartialEq)]
enum Emptiness {
    Allowed,
    Refused,
}

/// Why `name` cannot stand among the operators of a field.
fn not_an_operator(name: &str) -> String {
    if LOGICAL.contains(&name) {
        format!("{name} joins filters and cannot stand under a field")
    } else if name.starts_with('$') {
        unknown(name, OPERATORS.iter())
    } else {
        format!(
            "expected an operator such as $eq, found {name:?}; a nested field is written \"field.{name}\""
        )
    }
}

/// The message for an operator that does not exist, with the nearest of `known` if one is near.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a &'a str>) -> String {
    let distance = |known: &str| strsim::osa_distance(&name.to_lowercase(), known);
    match known.map(|known| (distance(known), known)).min() {
        Some((0..=2, near)) => format!("unknown operator {name:?}, did you mean {near}?"),
        _ => format!("unknown operator {name:?}"),
    }
}
