//! Several stores, searched as one.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use vdb::embed::LoadOptions;
use vdb::{Error, Hit, ModelIdentity, Query, Snapshot, Together};

use crate::args::Globals;
use crate::failure::Result;
use crate::model::Model;
use crate::open;

/// One commit of each of some stores of one metric and one model.
pub(crate) struct Stores {
    snapshots: Vec<Snapshot>,
    /// Their names, if there are several.
    names: Vec<String>,
    identity: Option<ModelIdentity>,
    model: OnceCell<Model>,
    /// The memory budget of each.
    budget: u64,
}

impl Stores {
    /// Opens them.
    ///
    /// # Errors
    /// `Model`, `Invalid` when scores of one are not comparable with those of another.
    pub(crate) fn open(first: &Path, others: &[PathBuf], globals: &Globals) -> Result<Self> {
        let store = open::to_read(first, globals)?;
        let stats = store.stats()?;
        let (snapshots, identity, budget) =
            (vec![store.snapshot()?], stats.model.clone(), store.memory().budget);
        let mut stores = Stores { snapshots, names: Vec::new(), identity, model: OnceCell::new(), budget };
        if others.is_empty() {
            return Ok(stores);
        }
        let name = |path: &Path| path.to_string_lossy().into_owned();
        stores.names.push(name(first));
        for path in others {
            let store = open::to_read(path, globals)?;
            let other = store.stats()?;
            if other.metric != stats.metric {
                let reason = format!(
                    "its metric is {}, that of {} is {}",
                    other.metric,
                    first.display(),
                    stats.metric
                );
                return Err(Error::Invalid { what: format!("--with {}", path.display()), reason }.into());
            }
            if other.model != stats.model {
                let said =
                    |model: Option<ModelIdentity>| model.map_or("none".into(), |model| model.to_string());
                return Err(Error::Model { expected: said(stats.model), found: said(other.model) }.into());
            }
            stores.snapshots.push(store.snapshot()?);
            stores.names.push(name(path));
        }
        Ok(stores)
    }

    /// The memory budget of each.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// All of them, as one.
    pub(crate) fn together(&self) -> Result<Together<'_>> {
        Ok(Together::new(&self.snapshots)?)
    }

    /// Where the text of a hit of one of them has words of a query.
    pub(crate) fn highlights(&self, source: usize, query: &Query, hit: &Hit) -> Result<Vec<Range<usize>>> {
        match (self.snapshots.get(source), &hit.text) {
            (Some(snapshot), Some(text)) => Ok(snapshot.highlights(query, text)?),
            _ => Ok(Vec::new()),
        }
    }

    /// Gives texts their vectors, as far as the mode needs them: words alone are searched for in stores that never had a model.
    ///
    /// # Errors
    /// `Unavailable` where a vector is needed and there is no model, or it is not on this machine.
    pub(crate) fn embed(&self, queries: &mut [Query], needs_vectors: bool) -> Result<()> {
        let together = self.together()?;
        let model = self.model()?;
        model.require()?;
        match model.embedder() {
            Some(embedder) => Ok(together.embed(queries, &*embedder)?),
            None if together.has_text_index() && !needs_vectors => Ok(()),
            None => {
                let words = if together.has_text_index() { ", or search for words, --mode text" } else { "" };
                let reason = format!("the store has no embedding model; give --vector or --like{words}");
                Err(Error::Unavailable { feature: "searching by text", reason }.into())
            }
        }
    }

    /// The model of all, the same at each call, so that it is loaded once.
    fn model(&self) -> Result<Model> {
        if let Some(model) = self.model.get() {
            return Ok(model.clone());
        }
        let model = Model::of(self.identity.as_ref(), LoadOptions::new())?;
        Ok(self.model.get_or_init(|| model).clone())
    }

    /// The name of a store, if there are several.
    pub(crate) fn name(&self, store: usize) -> Option<&str> {
        self.names.get(store).map(String::as_str)
    }
}
