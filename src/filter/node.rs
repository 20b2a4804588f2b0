//! The syntax tree of a filter, with typed operands, for the evaluator and for planners.

use super::literal::{Literal, Set};
use super::pattern::Pattern;

/// A condition on a document. The negated operators of the language are [`Node::Not`] over their positive twins, an
/// operator on a field stands alone: `{"a": {"$gte": 1, "$ne": 5}}` is `And[a $gte 1, Not(a $eq 5)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// All hold; true when empty. No child is an `And`, and there is never just one.
    And(Vec<Node>),
    /// One holds; false when empty. No child is an `Or`, and there is never just one.
    Or(Vec<Node>),
    /// The child, which is no `Not`, does not hold.
    Not(Box<Node>),
    /// A test of one field.
    Field(Subject, Test),
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The id of the document, `$id`.
    Id,
    /// The text of the document, `$text`; missing in a document without text.
    Text,
    /// A field of the metadata: a literal key, then a path through objects and arrays. See [`super::reach`].
    Metadata(String),
}

/// An operator with its operand. On a missing field only `Eq(Null)` and an `In` with null are true; on an array a
/// test is true if one element satisfies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// Equal by value; null also matches a missing field.
    Eq(Literal),
    /// Of the operand's type and on the named side of it. The operand is a number, string or date.
    Range(Bound, Literal),
    /// Equal to one of these; never empty.
    In(Set),
    /// The field is there, be it null.
    Exists,
    /// An array with such an element, or a string with such a substring.
    Contains(Literal),
    /// Each of these is satisfied by `Eq`; never empty.
    All(Vec<Literal>),
    /// A string that starts so.
    Prefix(String),
    /// A string in which the pattern is found.
    Regex(Pattern),
}

/// The side of a range and whether its end belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Node {
    /// All of `nodes`, flattened.
    pub(crate) fn and(nodes: impl IntoIterator<Item = Node>) -> Node {
        let mut flat = Vec::new();
        for node in nodes {
            match node {
                Node::And(inner) if flat.is_empty() => flat = inner,
                Node::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.swap_remove(0) } else { Node::And(flat) }
    }

    /// One of `nodes`, flattened.
    pub(crate) fn or(nodes: impl IntoIterator<Item = Node>) -> Node {
        let mut flat = Vec::new();
        for node in nodes {
            match node {
                Node::Or(inner) if flat.is_empty() => flat = inner,
                Node::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.swap_remove(0) } else { Node::Or(flat) }
    }

    /// The negation of `node`; two negations cancel.
    pub(crate) fn negated(node: Node) -> Node {
        match node {
            Node::Not(inner) => *inner,
            other => Node::Not(Box::new(other)),
        }
    }

    /// An upper bound of the brackets that nest when the node is written as JSON. Cost: linear in the nodes.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Node::And(nodes) | Node::Or(nodes) => 2 + nodes.iter().map(Node::depth).max().unwrap_or(0),
            Node::Not(node) => 1 + node.depth(),
            // As in {"field": {"$in": [{"$date": ".."}]}}.
            Node::Field(..) => 4,
        }
    }
}

impl Subject {
    /// The key of the field in a filter.
    pub(crate) fn name(&self) -> &str {
        match self {
            Subject::Id => "$id",
            Subject::Text => "$text",
            Subject::Metadata(name) => name,
        }
    }
}

impl Bound {
    /// Whether a value that compares so to the operand is in the range.
    pub(crate) fn admits(self, order: std::cmp::Ordering) -> bool {
        match self {
            Bound::Greater => order.is_gt(),
            Bound::GreaterOrEqual => order.is_ge(),
            Bound::Less => order.is_lt(),
            Bound::LessOrEqual => order.is_le(),
        }
    }

    /// The operator.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Bound::Greater => "$gt",
            Bound::GreaterOrEqual => "$gte",
            Bound::Less => "$lt",
            Bound::LessOrEqual => "$lte",
        }
    }
}
