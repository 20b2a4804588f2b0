//! The filter language: which documents a search, delete, count, list or export is about.
//!
//! `docs/filter.md` is the reference. A filter is JSON in the manner of `MongoDB`, or is built in Rust; both go through
//! one parser into one syntax tree of typed operands, which [`Filter::matches`] evaluates and a planner may inspect.

mod builder;
mod date;
mod entries;
mod eval;
mod expression;
mod fault;
mod literal;
mod lookup;
mod node;
mod operand;
mod parse;
mod pattern;
pub(crate) mod value;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use builder::Field;
pub use expression::{Candidate, Filter};
pub use operand::Operand;

pub(crate) use entries::{Entry, all_entries, entries, values};
pub(crate) use literal::{Literal, Set};
pub(crate) use node::{Bound, Node, Subject, Test};
