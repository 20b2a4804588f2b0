//! Measures the memory of imports of every kind: texts that are embedded, arrays, lines with vectors.
//!
//! `cargo bench --bench imports`, with `VDB_MODELS`. Each import is a process of its own, whose anonymous memory is looked at
//! forty times a second. Exit status 1 means that one had more than its budget, or than every import may have, or that it
//! left documents out or without an index.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;
#[path = "common/import.rs"]
mod import;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Clusters, Outcome, Report, SENTENCES, USUAL, directory};
use import::{Imported, indexed_part, write_array};
use vdb::OpenOptions;

/// The budget, in MiB.
const BUDGET: u64 = 512;
/// The values of a vector of the model.
const DIM: usize = 384;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let place = |name: &str| directory.path().join(name);

    let texts = write_texts(place("texts.jsonl"), 2_000)?;
    measure(&mut report, "texts, embedded", &texts, (2_000, DIM), &["--model=all-MiniLM-L6-v2"])?;
    let lines = write_lines(place("lines.jsonl"), 30_000)?;
    measure(&mut report, "lines with vectors", &lines, (30_000, DIM), &["--model=none"])?;
    for (rows, dim) in [(100_000, DIM), (30_000, 3072)] {
        let array = place("vectors.npy");
        write_array(&array, rows, dim, &mut Clusters::new(dim))?;
        measure(&mut report, "array", &array, (rows, dim), &["--model=none", "--format=npy"])?;
    }
    report.finish()
}

/// Imports a source into a new store with an index of eight bits a value, and compares with the bounds.
fn measure(
    report: &mut Report,
    what: &str,
    source: &Path,
    (rows, dim): (usize, usize),
    options: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let store = source.with_extension("vdb");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
    command.arg("import").arg(&store).arg(source).args(["--index=sq8", "--json", "--quiet"]);
    command.arg(format!("--memory={BUDGET}MiB")).args(options);
    let imported = Imported::run(command)?;
    let name = format!("{what}, {rows} x {dim}");
    imported.print(report, &name)?;
    imported.bound(report, &name, (4 * rows * dim) as u64, BUDGET << 20);
    report.at_least(&format!("{name}: documents / rows"), imported.added as f64 / rows as f64, 1.0);
    let stats = OpenOptions::new().read_only(true).open(&store)?.stats()?;
    report.at_least(&format!("{name}: indexed / vectors"), indexed_part(&stats), 1.0);
    Ok(std::fs::remove_file(store)?)
}

/// Writes texts of one to twenty sentences: some are longer than the model reads at once, and are cut.
fn write_texts(path: PathBuf, count: usize) -> io::Result<PathBuf> {
    let mut out = BufWriter::new(File::create(&path)?);
    for number in 0..count {
        let sentences =
            (0..=number % 20).map(|k| SENTENCES[(number + k * (number / 20 + 1)) % SENTENCES.len()]);
        let text = sentences.collect::<Vec<_>>().join(" ");
        writeln!(out, r#"{{"id":"{number}","text":"{number}. {text}"}}"#)?;
    }
    out.flush()?;
    Ok(path)
}

/// Writes documents with texts, metadata and vectors.
fn write_lines(path: PathBuf, count: u64) -> io::Result<PathBuf> {
    let mut out = BufWriter::new(File::create(&path)?);
    for document in USUAL.documents(0..count) {
        let (id, text) = (document.id_ref().unwrap_or_default(), document.text().unwrap_or_default());
        let vector = document.parts().first().and_then(|part| part.vector.as_deref()).unwrap_or_default();
        let metadata = document.metadata_ref().as_json();
        writeln!(out, r#"{{"id":"{id}","text":"{text}","metadata":{metadata},"vector":{vector:?}}}"#)?;
    }
    out.flush()?;
    Ok(path)
}
