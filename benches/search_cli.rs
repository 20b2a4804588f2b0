//! Measures what a search from the command line takes, from the start of the process to its last line: with the model,
//! against the call that loads the model, in a process that does nothing else; with a given vector, against `--version`.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Outcome, Random, Report, USUAL, child, directory, median, percentile, task, tell, time};
use vdb::OpenOptions;
use vdb::embed::{DEFAULT_MODEL, LoadOptions, Models};

const STORED: u64 = 5_000;
/// What a search finds by default.
const HITS: usize = 10;
const ROUNDS: usize = 31;
/// The most times longer that a search takes than loading the model.
const RATIO_MAX: f64 = 1.3;
/// The most milliseconds more that a search by a vector takes than `--version`.
const MORE_MAX: f64 = 50.0;

fn main() -> Outcome {
    let models = Models::of_user()?;
    if task().is_some() {
        let (seconds, _model) = time(|| LoadOptions::new().load(&models, DEFAULT_MODEL))?;
        tell("load", seconds)?;
        return Ok(std::process::ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    let directory = directory()?;
    let (file, vector) = (directory.path().join("search.vdb"), directory.path().join("vector.json"));
    let store = OpenOptions::new().model(models.identity(DEFAULT_MODEL)?).create(&file)?;
    store.add(USUAL.documents(0..STORED))?;
    store.compact(&vdb::Control::new())?;
    store.close()?;
    std::fs::write(&vector, format!("{:?}", Random::new(1).vector(USUAL.dim)))?;

    let by_vector = format!("@{}", vector.display());
    let names = ["load the model", "load the model, process", "search, text", "--version", "search, vector"];
    let mut times = names.map(|_| Vec::new());
    // The first round warms the caches of the system.
    for round in 0..=ROUNDS {
        let (process, told) = time(|| child(&["load"]))?;
        let figures = [
            told.get("load").copied().unwrap_or(f64::NAN),
            process,
            vdb(&file, Some(&["harbour island, amber and basalt"]))?,
            vdb(&file, None)?,
            vdb(&file, Some(&["--vector", &by_vector]))?,
        ];
        for (times, figure) in times.iter_mut().zip(figures).filter(|_| round > 0) {
            times.push(figure * 1e3);
        }
    }
    report.line(format!("{STORED} documents of {} values, {ROUNDS} rounds, milliseconds", USUAL.dim))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "p10", "median", "p90"))?;
    for (name, times) in names.iter().zip(&times) {
        let at = |part| percentile(times.iter().copied(), part);
        report.line(format!("{name:<32}{:>10.1}{:>10.1}{:>10.1}", at(0.1), at(0.5), at(0.9)))?;
    }
    let [load, process, text, version, vector] = times.map(median);
    report.line(format!("search by text / a process that loads the model: {:.2}", text / process))?;
    report.at_most("search by text / loading the model", text / load, RATIO_MAX);
    report.at_most("search by vector - `vdb --version`, ms", vector - version, MORE_MAX);
    report.finish()
}

/// Seconds of one run of the program, from its start to its last line.
fn vdb(file: &Path, search: Option<&[&str]>) -> Result<f64, Box<dyn std::error::Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
    match search {
        None => command.arg("--version"),
        Some(words) => command.arg("search").arg(file).args(words),
    };
    let start = Instant::now();
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let (mut lines, mut seconds) = (0, 0.0);
    for line in BufReader::new(process.stdout.take().ok_or("it has no standard output")?).lines() {
        line?;
        (lines, seconds) = (lines + 1, start.elapsed().as_secs_f64());
    }
    let status = process.wait()?;
    if !status.success() || lines < if search.is_some() { HITS } else { 1 } {
        return Err(format!("{command:?} ended with {status} after {lines} lines").into());
    }
    Ok(seconds)
}
