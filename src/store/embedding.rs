//! Vectors for texts, within the memory budget.

use super::Store;
use crate::embed::{Embedder, Embeddings};
use crate::error::{Error, Result};
use crate::storage::hold;

impl Store {
    /// Computes one vector for each text. Where memory is short, so many texts at a time as there is memory for.
    ///
    /// What the model takes stays granted: it keeps its sessions.
    /// # Errors
    /// `Memory` when the budget has no room for one text; `Shape` when the model gives other vectors than it says; its own.
    pub(super) fn embed(&self, embedder: &dyn Embedder, texts: &[&str]) -> Result<Embeddings> {
        let (dim, name) = (embedder.identity().dim, &embedder.identity().name);
        let mut at_once = texts.len();
        loop {
            let needs = embedder.memory_bytes(at_once);
            let granted =
                hold(&self.inner.embedding).ensure(format_args!("the embedding model {name}"), needs);
            match granted {
                Ok(()) => break,
                Err(_) if at_once > 1 => at_once = at_once.div_ceil(2),
                Err(error) => return Err(error),
            }
        }
        let mut all = Embeddings::default();
        for texts in texts.chunks(at_once.max(1)) {
            let some = embedder.embed(texts)?;
            let (expected, found) = (texts.len() * dim, some.vectors.len());
            if expected != found || dim == 0 {
                let what = format!("embedding of {} texts by {name}", texts.len());
                return Err(Error::Shape { what, expected, found });
            }
            all.vectors.extend(some.vectors);
            all.truncated += some.truncated;
        }
        Ok(all)
    }
}
