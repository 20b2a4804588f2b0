//! From the syntax tree of a filter to JSON that parses to the same tree.

use super::literal::Literal;
use super::node::{Node, Test};
use super::pattern::Case;
use crate::json;

/// Writes `node` as a filter, in the shortest form and nowhere deeper than a JSON that it can be parsed from.
pub(super) fn filter(node: &Node) -> String {
    match node {
        Node::And(nodes) => match merged(nodes) {
            Some(entries) => object(&entries),
            None => format!("{{\"$and\":{}}}", list(nodes.iter().map(filter))),
        },
        other => object(&[entry(other)]),
    }
}

/// A key of a filter and what stands under it.
struct Entry {
    key: String,
    body: Body,
}

enum Body {
    /// Under a logical operator: the JSON.
    Logical(String),
    /// Under a field: operators and the JSON of their operands.
    Operators(Vec<(&'static str, String)>),
}

/// The entries of `nodes` in one object; none if a key or an operator of a field would stand in it twice.
fn merged(nodes: &[Node]) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for node in nodes {
        let Entry { key, body } = entry(node);
        // Operators of one field mostly stand together; searching all would be quadratic.
        match (entries.last_mut(), body) {
            (Some(Entry { key: last, body: Body::Operators(known) }), Body::Operators(more))
                if *last == key =>
            {
                if more.iter().any(|(name, _)| known.iter().any(|(known, _)| known == name)) {
                    return None;
                }
                known.extend(more);
            }
            (_, body) => entries.push(Entry { key, body }),
        }
    }
    let mut keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    (keys.len() == entries.len()).then_some(entries)
}

fn entry(node: &Node) -> Entry {
    let logical = |key: &str, json| Entry { key: key.to_owned(), body: Body::Logical(json) };
    match node {
        Node::And(nodes) => logical("$and", list(nodes.iter().map(filter))),
        Node::Or(nodes) => logical("$or", list(nodes.iter().map(filter))),
        Node::Field(subject, test) => {
            Entry { key: subject.name().to_owned(), body: Body::Operators(operators(test)) }
        }
        Node::Not(inner) => match &**inner {
            Node::Or(nodes) => logical("$nor", list(nodes.iter().map(filter))),
            Node::Field(subject, test) => {
                Entry { key: subject.name().to_owned(), body: Body::Operators(vec![negated(test)]) }
            }
            other => logical("$not", filter(other)),
        },
    }
}

fn operators(test: &Test) -> Vec<(&'static str, String)> {
    let (name, json) = match test {
        Test::Eq(value) => ("$eq", literal(value)),
        Test::Range(bound, value) => (bound.name(), literal(value)),
        Test::In(set) => ("$in", list(set.literals().iter().map(literal))),
        Test::Exists => ("$exists", "true".to_owned()),
        Test::Contains(value) => ("$contains", literal(value)),
        Test::All(values) => ("$all", list(values.iter().map(literal))),
        Test::Prefix(prefix) => ("$prefix", json::quote(prefix)),
        Test::Regex(pattern) => {
            let regex = ("$regex", json::quote(pattern.source()));
            return match pattern.case() {
                Case::Sensitive => vec![regex],
                Case::Ignored => vec![regex, ("$options", "\"i\"".to_owned())],
            };
        }
    };
    vec![(name, json)]
}

fn negated(test: &Test) -> (&'static str, String) {
    match test {
        Test::Eq(value) => ("$ne", literal(value)),
        Test::In(set) => ("$nin", list(set.literals().iter().map(literal))),
        Test::Exists => ("$exists", "false".to_owned()),
        Test::Contains(value) => ("$not_contains", literal(value)),
        other => ("$not", body(&operators(other))),
    }
}

fn literal(value: &Literal) -> String {
    match value {
        Literal::Null => "null".to_owned(),
        Literal::Bool(flag) => flag.to_string(),
        Literal::Number(number) => number.token().to_owned(),
        Literal::String(text) => json::quote(text),
        Literal::Date(date) => format!("{{\"$date\":{}}}", json::quote(date.text())),
    }
}

fn object(entries: &[Entry]) -> String {
    let members = entries.iter().map(|Entry { key, body: under }| {
        let under = match under {
            Body::Logical(json) => json.clone(),
            // A lone `$eq` or `$in` is its operand.
            Body::Operators(operators) => match &operators[..] {
                [("$eq" | "$in", json)] => json.clone(),
                operators => body(operators),
            },
        };
        format!("{}:{under}", json::quote(key))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn body(operators: &[(&'static str, String)]) -> String {
    let members: Vec<_> = operators.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
