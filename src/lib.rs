//! SQLite for documents and vectors.

pub mod error;
pub mod ids;
pub mod limits;
pub mod metric;

pub use error::{Error, ErrorKind, Result};
pub use metric::Metric;
