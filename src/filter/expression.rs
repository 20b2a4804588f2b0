//! A filter as users hold it: parsed or built, matched, combined, written.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};
use std::str::FromStr;

use super::eval::Evaluator;
use super::fault::FilterFault;
use super::node::Node;
use super::{builder, parse, write};
use crate::error::{Error, Result};
use crate::json;
use crate::limits::DEPTH_MAX;

/// A condition on documents, from JSON or built in Rust.
///
/// Two filters are equal if their conditions are: operands are compared by value, lists without their order. A filter
/// that was built wrongly (a bad regular expression, NaN, `true` as the end of a range) says so when it is first used.
///
/// # Examples
/// ```
/// # fn main() -> vdb::Result<()> {
/// use vdb::Filter;
///
/// let built = Filter::field("year").gte(2020) & !Filter::field("lang").eq("ko");
/// let parsed = Filter::from_json(r#"{"year": {"$gte": 2020}, "lang": {"$ne": "ko"}}"#)?;
/// assert_eq!(built, parsed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    root: Result<Node, FilterFault>,
    /// `Node::depth` of the root or more.
    depth: usize,
}

/// What a filter is matched against: one document.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The id, seen by `$id`.
    pub id: &'a str,
    /// The text, seen by `$text`; missing if there is none.
    pub text: Option<&'a str>,
    /// The metadata: a JSON object. Read only as far as the filter asks for fields.
    pub metadata: &'a str,
}

impl Filter {
    /// The filter that every document satisfies, `{}`.
    pub fn all() -> Self {
        Filter { root: Ok(Node::And(Vec::new())), depth: 1 }
    }

    /// Reads a filter in JSON.
    ///
    /// # Errors
    /// `Filter` with the place: no JSON, an unknown operator, an operand of the wrong type, an empty `$in`, a bad
    /// regular expression, nesting deeper than `DEPTH_MAX`.
    pub fn from_json(json: &str) -> Result<Self> {
        let node = parse::filter(json)?;
        Ok(Filter { depth: node.depth(), root: Ok(node) })
    }

    /// Starts a condition on a field of the metadata: `name` is a literal key, else a path such as `a.b`.
    pub fn field(name: impl Into<String>) -> builder::Field {
        builder::Field::new(name.into())
    }

    /// Starts a condition on the id of the document.
    pub fn id() -> builder::Field {
        Filter::field("$id")
    }

    /// Starts a condition on the text of the document.
    pub fn text() -> builder::Field {
        Filter::field("$text")
    }

    /// Whether `candidate` satisfies the filter.
    ///
    /// # Errors
    /// `Filter` if the filter was built wrongly; `Corrupt` if the metadata that the filter looks at is no JSON object.
    pub fn matches(&self, candidate: &Candidate<'_>) -> Result<bool> {
        Evaluator::new(candidate).holds(self.node()?).map_err(|fault| {
            let offset = u64::try_from(fault.span.start).unwrap_or(u64::MAX);
            Error::corrupt(format!("metadata of document {:?}", candidate.id), offset, fault.reason)
        })
    }

    /// Checks that the filter was built rightly; a parsed one always is.
    ///
    /// # Errors
    /// `Filter` with the first fault.
    pub fn check(&self) -> Result<()> {
        self.node().map(|_| ())
    }

    /// Whether the filter sets no condition, so that every document satisfies it.
    pub fn is_empty(&self) -> bool {
        matches!(&self.root, Ok(Node::And(nodes)) if nodes.is_empty())
    }

    /// The filter as JSON that [`Filter::from_json`] reads. One that was built wrongly comes as the text at fault.
    pub fn to_json(&self) -> String {
        match &self.root {
            Ok(node) => write::filter(node),
            Err(fault) => fault.text.clone(),
        }
    }

    /// The syntax tree.
    ///
    /// # Errors
    /// `Filter` if the filter was built wrongly.
    pub(crate) fn node(&self) -> Result<&Node> {
        self.root.as_ref().map_err(|fault| fault.clone().into())
    }

    /// The filter of a condition written as JSON by the builder.
    pub(super) fn built(json: &str) -> Self {
        let root = parse::filter(json);
        Filter { depth: root.as_ref().map_or(0, Node::depth), root }
    }

    /// The filter of a combined node, at fault if its JSON would nest too deep.
    fn combined(node: Node, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            let text = write::filter(&node);
            if let Err(json::Fault { span, reason }) = json::compact(&text) {
                return Filter { root: Err(FilterFault { text, span, path: "$".into(), reason }), depth };
            }
        }
        Filter { root: Ok(node), depth }
    }
}

/// The filter that every document satisfies.
impl Default for Filter {
    fn default() -> Self {
        Filter::all()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for Filter {}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(json: &str) -> Result<Self> {
        Filter::from_json(json)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// Both hold.
impl BitAnd for Filter {
    type Output = Filter;

    fn bitand(self, other: Filter) -> Filter {
        let nesting = |filter: &Filter| match &filter.root {
            Ok(Node::And(_)) => filter.depth,
            _ => filter.depth + 2,
        };
        let depth = nesting(&self).max(nesting(&other));
        match (self.root, other.root) {
            (Ok(left), Ok(right)) => Filter::combined(Node::and([left, right]), depth),
            (Err(fault), _) | (_, Err(fault)) => Filter { root: Err(fault), depth },
        }
    }
}

/// One holds or both do.
impl BitOr for Filter {
    type Output = Filter;

    fn bitor(self, other: Filter) -> Filter {
        let nesting = |filter: &Filter| match &filter.root {
            Ok(Node::Or(_)) => filter.depth,
            _ => filter.depth + 2,
        };
        let depth = nesting(&self).max(nesting(&other));
        match (self.root, other.root) {
            (Ok(left), Ok(right)) => Filter::combined(Node::or([left, right]), depth),
            (Err(fault), _) | (_, Err(fault)) => Filter { root: Err(fault), depth },
        }
    }
}

/// The filter does not hold.
impl Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        let depth = self.depth + 1;
        match self.root {
            Ok(node) => Filter::combined(Node::negated(node), depth),
            Err(fault) => Filter { root: Err(fault), depth },
        }
    }
}
