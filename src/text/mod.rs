//! Full text: what words a text has, and what a query asks of them.

#![allow(dead_code, reason = "stores do not use it yet")]

pub(crate) mod analyzer;
mod fold;
mod language;
pub(crate) mod query;

pub use language::Language;
