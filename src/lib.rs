//! SQLite for documents and vectors.

mod caret;
mod document;
pub mod error;
mod filter;
pub mod ids;
mod json;
pub mod limits;
pub mod metric;
mod vector;

pub use document::{Document, Metadata, Part};
pub use error::{Error, ErrorKind, Result};
pub use filter::{Candidate, Field, Filter, Operand};
pub use metric::Metric;
