//! Opening stores as the command line says: to read, to write, or made first.

use std::path::Path;
use std::time::{Duration, Instant};

use vdb::{Error, OpenOptions, Store};

use crate::args::Globals;
use crate::failure::{Failure, Result};
use crate::making::Making;
use crate::model::Model;
use crate::output::Output;

/// How long to sleep before the writer lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// The options that the global flags ask for.
pub(crate) fn options(globals: &Globals) -> OpenOptions {
    let mut options = OpenOptions::new();
    if let Some(memory) = globals.memory {
        options = options.memory_budget(memory.as_u64());
    }
    if let Some(threads) = globals.threads {
        options = options.threads(threads);
    }
    options
}

/// Opens a store to read it.
pub(crate) fn to_read(path: &Path, globals: &Globals) -> Result<Store> {
    Ok(options(globals).read_only(true).open(path)?)
}

/// Opens a store to write it; waits for another writer as long as `--wait` says.
pub(crate) fn to_write(path: &Path, globals: &Globals, output: &Output) -> Result<Store> {
    with_options(&options(globals), path, globals, output)
}

/// As [`to_write`], with options.
pub(crate) fn with_options(
    options: &OpenOptions,
    path: &Path,
    globals: &Globals,
    output: &Output,
) -> Result<Store> {
    let started = Instant::now();
    loop {
        match options.clone().open(path) {
            Err(Error::Locked { .. }) if started.elapsed() < globals.wait => {
                output.go_on()?;
                std::thread::sleep(RETRY);
            }
            result => return Ok(result?),
        }
    }
}

/// Opens a store to write it, or makes it first, as `making` says, and says so. Texts are embedded by `model`.
pub(crate) fn or_make(
    path: &Path,
    making: &Making,
    model: &Model,
    globals: &Globals,
    output: &mut Output,
) -> Result<Store> {
    match with_options(&model.used_by(options(globals)), path, globals, output) {
        Err(Failure::Store(Error::NotFound { .. })) => {}
        Err(failure) => return Err(failure),
        Ok(store) => {
            making.fits(&store.stats()?)?;
            return Ok(store);
        }
    }
    match model.used_by(making.options(globals)?).create(path) {
        // Another process was quicker.
        Err(Error::Exists { .. }) => {
            let store = with_options(&model.used_by(options(globals)), path, globals, output)?;
            making.fits(&store.stats()?)?;
            Ok(store)
        }
        Err(error) => Err(error.into()),
        Ok(store) => {
            let made = making.made(path)?;
            output.status("created", &made.data, made.text);
            Ok(store)
        }
    }
}
