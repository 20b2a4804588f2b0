//! The store that documents are added to: one that is there, or one to be made for them.

use std::path::Path;

use vdb::embed::{Chunking, LoadOptions};
use vdb::{Error, OpenOptions, Store};

use crate::args::Globals;
use crate::failure::{Failure, Result};
use crate::making::{Made, Making};
use crate::model::Model;
use crate::open::{options, to_read, with_options};
use crate::output::Output;

/// How texts become parts.
#[derive(Debug, clap::Args)]
pub(crate) struct Cutting {
    /// How texts longer than the model reads are cut into parts: `auto` at ends of sentences, `off` not at all, or into
    /// parts of at most TOKENS tokens of which OVERLAP are in the next part as well
    #[arg(long, default_value = "auto", value_name = "auto|off|TOKENS[,OVERLAP]")]
    chunk: Chunking,
}

/// A store to add to.
pub(crate) struct Destination<'a> {
    path: &'a Path,
    making: &'a Making,
    globals: &'a Globals,
    /// How to make it, if it was not there.
    new: Option<(OpenOptions, Made)>,
    /// The memory budget, if it was there.
    budget: u64,
    /// What embeds its texts.
    pub(crate) model: Model,
}

impl<'a> Destination<'a> {
    /// Finds out what is at `path` or is to be made there; makes nothing yet.
    ///
    /// # Errors
    /// `NotFound` when it is not there and `create` is false; `Unavailable` when its model is not on this machine and it
    /// is not there; those of a store that is not as asked for.
    pub(crate) fn find(
        path: &'a Path,
        create: bool,
        making: &'a Making,
        cutting: &Cutting,
        globals: &'a Globals,
    ) -> Result<Self> {
        let (mut new, mut budget) = (None, 0);
        let identity = match to_read(path, globals) {
            Ok(store) => {
                let stats = store.stats()?;
                making.fits(&stats)?;
                budget = store.memory().budget;
                stats.model
            }
            Err(Failure::Store(Error::NotFound { .. })) if create => {
                let identity = making.model()?;
                new = Some((making.options(identity.clone(), globals), making.made(path, identity.as_ref())));
                identity
            }
            Err(failure) => return Err(failure),
        };
        let load = LoadOptions::new().chunking(cutting.chunk);
        let load = globals.threads.into_iter().fold(load, |load, threads| load.threads(threads.get()));
        let model = Model::of(identity.as_ref(), load)?;
        // How parts are cut is checked against the model before anything is read.
        if cutting.chunk != Chunking::Auto && !model.load()? {
            return Err(Failure::usage("`--chunk` cuts texts for a model, and the store has none"));
        }
        Ok(Destination { path, making, globals, new, budget, model })
    }

    /// The memory budget of the store.
    pub(crate) fn budget(&self) -> Result<u64> {
        match &self.new {
            None => Ok(self.budget),
            Some((new, _)) => Ok(new.clone().in_memory()?.memory().budget),
        }
    }

    /// Tries `work` on a store in memory where one is to be made, so that no empty file is left behind when it fails.
    pub(crate) fn rehearse(&self, work: impl FnOnce(&Store) -> Result<()>) -> Result<()> {
        let Some((new, _)) = &self.new else { return Ok(()) };
        work(&self.model.rehearsed_by(new.clone()).in_memory()?)
    }

    /// Opens it to write it; makes it first where there is none, and says so.
    pub(crate) fn open(&self, output: &mut Output) -> Result<Store> {
        let there = self.model.used_by(options(self.globals));
        let open = |output: &Output| {
            let store = with_options(&there, self.path, self.globals, output)?;
            self.making.fits(&store.stats()?)?;
            Ok(store)
        };
        let Some((new, made)) = &self.new else { return open(output) };
        match self.model.used_by(new.clone()).create(self.path) {
            // Another process was quicker.
            Err(Error::Exists { .. }) => open(output),
            Err(error) => Err(error.into()),
            Ok(store) => {
                output.status("created", &made.data, &made.text);
                Ok(store)
            }
        }
    }
}
