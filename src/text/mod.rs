//! Full text: what words a text has, what a query asks of them, and an index of them.

pub(crate) mod analyzer;
mod blocks;
mod cursor;
mod directory;
mod fold;
mod language;
pub(crate) mod memory;
mod postings;
pub(crate) mod query;
mod rank;
mod scan;
pub(crate) mod search;
pub(crate) mod segment;
mod shape;
pub(crate) mod tail;
pub(crate) mod write;

pub use language::Language;
pub(crate) use postings::Postings;
