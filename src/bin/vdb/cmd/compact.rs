//! `vdb compact`: merges segments and returns space to the file system.

use std::path::PathBuf;
use std::time::Instant;

use bytesize::ByteSize;
use serde_json::json;

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::Output;

/// Merge segments and return space to the file system; others may read meanwhile
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
}

/// Compacts, and prints what came of it.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let started = Instant::now();
    let store = open::to_write(&args.file, globals, output)?;
    let control = output.control_of(&store);
    let report = store.compact(&control)?;
    drop(control);
    store.close()?;
    if report.bytes_held > 0 {
        let held = ByteSize::b(report.bytes_held).display().iec();
        output.warning(format_args!("{held} are still seen by readers; compact again when they have ended"));
    }
    let data = json!({
        "bytes_before": report.bytes_before, "bytes_after": report.bytes_after,
        "segments_before": report.segments_before, "segments_after": report.segments_after,
        "indexes_built": report.indexes_built, "bytes_held": report.bytes_held, "catalog_packed": report.catalog_packed,
        "seconds": started.elapsed().as_secs_f64(),
    });
    let size = |bytes| ByteSize::b(bytes).display().iec();
    let text = format!(
        "compacted {}: {} to {}, segments {} to {}",
        args.file.display(),
        size(report.bytes_before),
        size(report.bytes_after),
        report.segments_before,
        report.segments_after
    );
    output.result("summary", &data, text)?;
    Ok(Exit::Done)
}
