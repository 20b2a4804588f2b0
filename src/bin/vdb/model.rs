//! The embedding model of a store, as far as this machine has it.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use vdb::embed::{LocalModel, Models};
use vdb::{Embedder, Embeddings, Error, ModelIdentity, OpenOptions};

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

/// The embedder of a store's model, loaded at its first text; none for a store without one and for vectors that come
/// from outside.
///
/// # Errors
/// `Unavailable` when the model is not on this machine.
fn embedder_for(identity: Option<&ModelIdentity>) -> vdb::Result<Option<Arc<dyn Embedder>>> {
    let Some(identity) = identity.filter(|model| !model.name.starts_with("external:")) else {
        return Ok(None);
    };
    let models = Models::of_user()?;
    let here = models.identity(&identity.name)?;
    Ok(Some(Arc::new(Late { identity: here, models, model: OnceLock::new() })))
}

/// A model that is loaded when the first text comes.
struct Late {
    identity: ModelIdentity,
    models: Models,
    model: OnceLock<LocalModel>,
}

impl Late {
    fn model(&self) -> vdb::Result<&LocalModel> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let model = LocalModel::load(&self.models, &self.identity.name)?;
        Ok(self.model.get_or_init(|| model))
    }
}

impl Embedder for Late {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn embed(&self, texts: &[&str]) -> vdb::Result<Embeddings> {
        self.model()?.embed(texts)
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        // A model that cannot be loaded says so when it is to embed.
        self.model().map_or_else(|_| std::iter::once(0..text.len()).collect(), |model| model.split(text))
    }
}
