//! Opening stores as the command line says: to read or to write.

use std::path::Path;
use std::time::{Duration, Instant};

use vdb::{Background, Error, OpenOptions, Store};

use crate::args::Globals;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// How long to sleep before the writer lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// The options that the global flags ask for.
pub(crate) fn options(globals: &Globals) -> OpenOptions {
    // A command merges before it ends, not while it runs.
    let mut options = OpenOptions::new().background(Background::None);
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
    options(globals).read_only(true).open(path).map_err(|error| Failure::opening(path, error))
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
            result => return result.map_err(|error| Failure::opening(path, error)),
        }
    }
}
