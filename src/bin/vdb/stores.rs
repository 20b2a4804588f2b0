//! Several stores, searched as one.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use vdb::embed::LoadOptions;
use vdb::{Error, Hit, ModelIdentity, Query, Snapshot};

use crate::args::Globals;
use crate::ask::Target;
use crate::failure::Result;
use crate::hits::Plans;
use crate::model::Model;
use crate::open;

/// One commit of each of some stores of one metric and one model.
pub(crate) struct Stores {
    snapshots: Vec<Snapshot>,
    /// Their names, if there are several.
    names: Vec<String>,
    identity: Option<ModelIdentity>,
    model: OnceCell<Model>,
}

/// What was found in some stores.
#[derive(Default)]
pub(crate) struct Answer {
    /// The hits, best first, each with the place of its store.
    pub(crate) hits: Vec<(usize, Hit)>,
    pub(crate) plans: Plans,
}

impl Stores {
    /// Opens them.
    ///
    /// # Errors
    /// `Model`, `Invalid` when scores of one are not comparable with those of another.
    pub(crate) fn open(first: &Path, others: &[PathBuf], globals: &Globals) -> Result<Self> {
        let store = open::to_read(first, globals)?;
        let stats = store.stats()?;
        let (snapshots, identity) = (vec![store.snapshot()?], stats.model.clone());
        let mut stores = Stores { snapshots, names: Vec::new(), identity, model: OnceCell::new() };
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

    /// Searches all of them; `shape` completes the query of each.
    pub(crate) fn search(&self, target: &Target, shape: &dyn Fn(Query) -> Query) -> Result<Answer> {
        let mut answer = Answer::default();
        let queries = target.queries(&self.snapshots)?.unwrap_or_default();
        for (store, (query, snapshot)) in queries.into_iter().zip(&self.snapshots).enumerate() {
            let found = snapshot.explain(&shape(query))?;
            answer.plans.0.push(found.plan);
            answer.hits.extend(found.hits.into_iter().map(|hit| (store, hit)));
        }
        // Stable: of equal hits those of the first store come first.
        answer.hits.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
        Ok(answer)
    }

    /// The model of all, the same at each call, so that it is loaded once.
    pub(crate) fn model(&self) -> Result<Model> {
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
