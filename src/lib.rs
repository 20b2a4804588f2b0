//! SQLite for documents and vectors.

pub mod error;
pub mod ids;
pub mod limits;
pub mod metric;
mod vector;

pub use error::{Error, ErrorKind, Result};
pub use metric::Metric;
pub use vector::faiss::FaissBuild;
