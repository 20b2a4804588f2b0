//! Several stores, searched as one.

use std::path::{Path, PathBuf};

use vdb::{Error, ModelIdentity, Snapshot};

use crate::args::Globals;
use crate::cmd;
use crate::failure::Result;
use crate::model::Model;

/// One commit of each of some stores of one metric and one model.
pub(crate) struct Stores {
    snapshots: Vec<Snapshot>,
    /// Their names, if there are several.
    names: Vec<String>,
    model: Option<ModelIdentity>,
}

impl Stores {
    /// Opens them.
    ///
    /// # Errors
    /// `Model`, `Invalid` when scores of one are not comparable with those of another.
    pub(crate) fn open(first: &Path, others: &[PathBuf], globals: &Globals) -> Result<Self> {
        let store = cmd::open_to_read(first, globals)?;
        let stats = store.stats()?;
        let mut stores =
            Stores { snapshots: vec![store.snapshot()?], names: Vec::new(), model: stats.model.clone() };
        if others.is_empty() {
            return Ok(stores);
        }
        let name = |path: &Path| path.to_string_lossy().into_owned();
        stores.names.push(name(first));
        for path in others {
            let store = cmd::open_to_read(path, globals)?;
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

    /// What is searched.
    pub(crate) fn snapshots(&self) -> Vec<&Snapshot> {
        self.snapshots.iter().collect()
    }

    /// The model of all.
    pub(crate) fn model(&self) -> Result<Model> {
        Model::of(self.model.as_ref())
    }

    /// The name of a store, if there are several.
    pub(crate) fn name(&self, store: usize) -> Option<&str> {
        self.names.get(store).map(String::as_str)
    }
}
