//! Damage: whatever happens to the bytes of a file, each answer is right or an error.
//!
//! Every case damages a copy of one small store, opens it, and asks everything. The cases run in child processes, so
//! that a signal or a hang is found and named. `VDB_CORRUPT=all` runs every byte and every length.

mod cases;
mod child;
mod discard;
mod head;

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::sample;

/// Names the file for a child, and which part of the cases is its own.
const FILE_VARIABLE: &str = "VDB_CORRUPT_FILE";
const PART_VARIABLE: &str = "VDB_CORRUPT_PART";
/// How many cases there are: `all`, or absent.
const AMOUNT_VARIABLE: &str = "VDB_CORRUPT";
/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);
const PROCESSES: usize = 2;
/// Cases that the quick run must not fall short of.
const CASES_MIN: usize = 20_000;
/// One case in so many is also done to the file of a writer that was killed.
const KILLED_EVERY: usize = 10;

/// What a child has reported.
#[derive(Default)]
struct Report {
    cases: usize,
    unharmed: usize,
    peak: usize,
    failures: Vec<String>,
}

/// Starts a process for one case in `every`, from case `part` on.
fn start(file: &Path, part: usize, every: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "corrupt::child::an_undamaged_file_answers_everything", "--nocapture"])
        .env(FILE_VARIABLE, file)
        .env(PART_VARIABLE, format!("{part}/{every}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads what a child says until it ends; kills it when it says nothing for too long.
fn watch(mut child: Child) -> Report {
    let (sender, lines) = channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut report = Report::default();
    let (last, hangs) = listen(&lines, &mut report);
    if hangs {
        child.kill().unwrap();
        report.failures.push(format!("{last}: hangs"));
    }
    let status = child.wait().unwrap();
    if !hangs && (!status.success() || report.cases == 0) {
        report.failures.push(format!("{last}: the process ended with {status}"));
    }
    report
}

/// Returns the last case that was begun, and whether it went on for too long.
fn listen(lines: &Receiver<String>, report: &mut Report) -> (String, bool) {
    let mut last = "before the first case".to_owned();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => match line.split_once(' ') {
                Some(("case", name)) => name.clone_into(&mut last),
                Some(("failure", text)) => report.failures.push(text.to_owned()),
                Some(("done", numbers)) => {
                    let numbers: Vec<usize> =
                        numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                    (report.cases, report.unharmed, report.peak) = (numbers[0], numbers[1], numbers[2]);
                }
                _ => {}
            },
            Err(RecvTimeoutError::Timeout) => return (last, true),
            Err(RecvTimeoutError::Disconnected) => return (last, false),
        }
    }
}

/// Runs one case in `every` on `file`; returns how many that were.
fn damage(file: &Path, every: usize) -> usize {
    let children: Vec<Child> =
        (0..PROCESSES).map(|part| start(file, part * every, PROCESSES * every)).collect();
    let watchers: Vec<_> =
        children.into_iter().map(|child| std::thread::spawn(move || watch(child))).collect();
    let reports: Vec<Report> = watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect();
    let sum = |number: fn(&Report) -> usize| reports.iter().map(number).sum::<usize>();
    let failures: Vec<&String> = reports.iter().flat_map(|report| &report.failures).collect();
    let (cases, unharmed) = (sum(|r| r.cases), sum(|r| r.unharmed));
    let line = format!(
        "{cases} damaged files of {} bytes: {unharmed} answered everything, the others with errors; {} failures; at most {} KiB of memory\n",
        std::fs::metadata(file).unwrap().len(),
        failures.len(),
        reports.iter().map(|r| r.peak).max().unwrap_or(0) >> 10,
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    assert!(failures.is_empty(), "{line}{:#?}", &failures[..failures.len().min(20)]);
    assert!(unharmed > 0 && unharmed < cases, "{line}");
    cases
}

#[test]
fn damage_is_an_error_or_changes_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("whole.vdb");
    sample::build(&file);
    assert!(damage(&file, 1) >= CASES_MIN);
}

/// Whoever opens it first recovers it, which reads more and writes.
#[test]
fn damage_after_a_kill_is_an_error_or_changes_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("killed.vdb");
    sample::build_killed(&file);
    assert!(damage(&file, KILLED_EVERY) >= CASES_MIN / KILLED_EVERY / 2);
}
