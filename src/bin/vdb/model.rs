//! The embedding model of a store, as far as this machine has it.

use std::path::Path;
use std::sync::Arc;

use vdb::{Embedder, Error, ModelIdentity, OpenOptions};

use crate::args::Globals;
use crate::failure::{Failure, Result};
use crate::open;

/// What turns the texts for a store into vectors.
pub(crate) enum Model {
    /// Vectors come with the texts, or not at all.
    None,
    /// This model.
    Here(Arc<dyn Embedder>),
    /// A model that is not on this machine, and why; it matters once a text has to be embedded.
    Missing(String),
}

impl Model {
    /// The model of the store at `path`; of `wanted` if there is no store yet.
    pub(crate) fn of_file(path: &Path, wanted: Option<&ModelIdentity>, globals: &Globals) -> Result<Self> {
        match open::to_read(path, globals) {
            Ok(store) => Model::of(store.stats()?.model.as_ref()),
            Err(Failure::Store(Error::NotFound { .. })) => Model::of(wanted),
            Err(failure) => Err(failure),
        }
    }

    /// Its embedder, if it is here.
    pub(crate) fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        match self {
            Model::Here(embedder) => Some(Arc::clone(embedder)),
            Model::None | Model::Missing(_) => None,
        }
    }

    /// Options with which it embeds texts.
    pub(crate) fn used_by(&self, options: OpenOptions) -> OpenOptions {
        self.embedder().into_iter().fold(options, OpenOptions::embedder)
    }

    /// Fails if there is a model and it is not here.
    pub(crate) fn require(&self) -> Result<()> {
        match self {
            Model::Missing(reason) => {
                Err(Error::Unavailable { feature: "embedding", reason: reason.clone() }.into())
            }
            Model::None | Model::Here(_) => Ok(()),
        }
    }

    /// The model of this identity.
    pub(crate) fn of(identity: Option<&ModelIdentity>) -> Result<Self> {
        match embedder_for(identity) {
            Ok(None) => Ok(Model::None),
            Ok(Some(embedder)) => Ok(Model::Here(embedder)),
            Err(Error::Unavailable { reason, .. }) => Ok(Model::Missing(reason)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The embedder of a store's model; none for a store without one and for vectors that come from outside. A caller
/// may not need it after all: what is slow to load is best loaded at its first text.
///
/// # Errors
/// `Unavailable` when the model is not on this machine.
fn embedder_for(identity: Option<&ModelIdentity>) -> vdb::Result<Option<Arc<dyn Embedder>>> {
    match identity {
        Some(model) if !model.name.starts_with("external:") => Err(Error::Unavailable {
            feature: "embedding",
            reason: format!("there is no model {:?} on this machine", model.name),
        }),
        _ => Ok(None),
    }
}
