//! Embedding: what turns texts into vectors, and how such a model is told from another.

#[cfg(feature = "embed")]
mod bert_graph;
#[cfg(feature = "embed")]
mod chunking;
#[cfg(feature = "embed")]
mod digest;
#[cfg(feature = "embed")]
mod folder;
#[cfg(feature = "embed")]
mod local;
#[cfg(feature = "embed")]
mod models;
#[cfg(feature = "embed")]
mod onnx;
#[cfg(feature = "embed")]
mod runtime;
#[cfg(feature = "embed")]
mod session;
#[cfg(feature = "embed")]
mod source;
#[cfg(feature = "embed")]
mod weights;

use std::fmt;
use std::ops::Range;

#[cfg(feature = "embed")]
pub use chunking::Chunking;
#[cfg(feature = "embed")]
pub use local::{LoadOptions, LocalModel, SHREDDED_TOKENS_PER_CHAR};
#[cfg(feature = "embed")]
pub use models::{DEFAULT_MODEL, InstalledModel, Models};

use crate::error::Result;

/// What makes two models give the same vectors. A store remembers it, and refuses another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelIdentity {
    /// Such as `all-MiniLM-L6-v2`.
    pub name: String,
    /// The number of values of a vector.
    pub dim: usize,
    /// How token vectors become one: `mean`, `cls`.
    pub pooling: String,
    /// Whether vectors are made one long.
    pub normalised: bool,
    /// SHA-256 of the weights, in hex; empty if unknown.
    pub weights_sha256: String,
    /// SHA-256 of the tokenizer, in hex; empty if unknown.
    pub tokenizer_sha256: String,
}

impl fmt::Display for ModelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let normalised = if self.normalised { "normalised" } else { "as computed" };
        write!(f, "{} ({} dimensions, {} pooling, {normalised}", self.name, self.dim, self.pooling)?;
        for (what, digest) in [("weights", &self.weights_sha256), ("tokenizer", &self.tokenizer_sha256)] {
            if let Some(start) = digest.get(..8) {
                write!(f, ", {what} {start}")?;
            }
        }
        f.write_str(")")
    }
}

/// The vectors of some texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// Row-major, one row of `dim` values a text.
    pub vectors: Vec<f32>,
    /// How many texts were longer than the model reads, and were cut.
    pub truncated: usize,
}

/// How a model reads a text: what tells whether it was made for its language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// The letters of the words of more than one letter.
    pub letters: usize,
    /// Those that the model reads one by one, or not at all.
    pub lost: usize,
}

impl Fit {
    /// The part of the letters that are lost, in `[0, 1]`.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of two counts")]
    pub fn lost_share(self) -> f64 {
        if self.letters == 0 { 0.0 } else { self.lost as f64 / self.letters as f64 }
    }
}

/// A source of vectors for texts. The vector of a text must not depend on the texts beside it.
pub trait Embedder: Send + Sync {
    /// Which model this is.
    fn identity(&self) -> &ModelIdentity;

    /// Computes one vector for each text.
    ///
    /// # Errors
    /// `Embed` with the model's own error.
    fn embed(&self, texts: &[&str]) -> Result<Embeddings>;

    /// The most anonymous memory that the model takes and keeps to embed so many texts at once, in bytes, which a store counts
    /// against its budget: it gives fewer at once where that is less, and memory is short. By default none is counted.
    fn memory_bytes(&self, _texts: usize) -> u64 {
        0
    }

    /// Cuts a text into parts that the model reads whole: spans in bytes on borders of characters, in order. By default
    /// one part, the whole text.
    fn split(&self, text: &str) -> Vec<Range<usize>> {
        std::iter::once(0..text.len()).collect()
    }

    /// How well the model knows the words of a text, if that can be told without computing vectors. By default it cannot.
    fn fit(&self, _text: &str) -> Option<Fit> {
        None
    }
}
