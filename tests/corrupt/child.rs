//! The process that opens damaged files and compares their answers.

use std::fs::File;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use vdb::{CheckLevel, Control, Durability, Error, OpenOptions, Store};

use super::cases::{self, Case};
use super::{AMOUNT_VARIABLE, FILE_VARIABLE, PART_VARIABLE};
use crate::allocator;
use crate::sample::{self, Answer};

/// What a case may allocate beside twice the file.
const MEMORY_MAX: usize = 64 << 20;

/// Given, so that no case has to ask the system how much there is.
const BUDGET: u64 = 256 << 20;

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.write_all(b"\n")).unwrap();
}

fn open(path: &Path, writer: bool) -> vdb::Result<Store> {
    OpenOptions::new().read_only(!writer).durability(Durability::Process).memory_budget(BUDGET).open(path)
}

/// What every call has to answer.
struct Expected(Vec<Vec<String>>);

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unharmed,
    Errors,
}

impl Expected {
    fn of(path: &Path) -> Self {
        let answers = sample::ask(&open(path, false).unwrap());
        Expected(
            answers
                .into_iter()
                .map(|answer| {
                    assert!(answer.error.is_none(), "{answer:?}");
                    answer.rows
                })
                .collect(),
        )
    }

    /// Compares; the message says which call was wrong.
    fn compare(&self, answers: &[Answer]) -> Result<Outcome, String> {
        if let [Answer { call, error: Some(_), .. }] = answers
            && call == "snapshot"
        {
            return Ok(Outcome::Errors);
        }
        assert_eq!(answers.len(), self.0.len());
        let mut outcome = Outcome::Unharmed;
        for (answer, expected) in answers.iter().zip(&self.0) {
            if !answer.agrees(expected) {
                return Err(format!("{answer:?} is wrong: expected {expected:?}"));
            }
            if answer.error.is_some() {
                outcome = Outcome::Errors;
            }
        }
        Ok(outcome)
    }

    fn run(&self, path: &Path, case: Case) -> Result<Outcome, String> {
        let store = match open(path, case.writer) {
            Ok(store) => store,
            Err(Error::Locked { .. }) => return Err("nobody else writes, and it says so".into()),
            Err(_) => return Ok(Outcome::Errors),
        };
        let outcome = self.compare(&sample::ask(&store))?;
        if case.writer {
            let report = store.check(CheckLevel::Deep, &Control::new());
            if outcome == Outcome::Errors && report.is_ok_and(|report| report.is_ok()) {
                return Err("calls fail, and the check finds nothing".into());
            }
        }
        Ok(outcome)
    }
}

/// Replaces the content of a file in place. To cut it to nothing first makes some file systems write to the disk.
fn overwrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.set_len(u64::try_from(bytes.len()).unwrap())?;
    file.write_all(bytes)
}

fn run_part(whole: &[u8], expected: &Expected, path: &Path, (part, every): (usize, usize)) {
    let all = std::env::var(AMOUNT_VARIABLE).is_ok_and(|amount| amount == "all");
    let (mut cases, mut unharmed, mut peak) = (0, 0, 0);
    for case in cases::list(whole, all).into_iter().skip(part).step_by(every) {
        say(&format!("case {case}"));
        // Opening may write, as when it recovers: each case has a file of its own.
        overwrite(path, &case.damage.apply(whole)).unwrap();
        let start = allocator::begin();
        let outcome = catch_unwind(AssertUnwindSafe(|| expected.run(path, case)));
        let used = allocator::peak_since(start);
        peak = peak.max(used);
        cases += 1;
        match outcome {
            Ok(Ok(Outcome::Unharmed)) => unharmed += 1,
            Ok(Ok(Outcome::Errors)) if case.damage.is_harmless(whole) => {
                say(&format!("failure {case}: no answer depends on this, and there are errors"));
            }
            Ok(Ok(Outcome::Errors)) => {}
            Ok(Err(message)) => {
                let message: String = message.replace('\n', " ").chars().take(600).collect();
                say(&format!("failure {case}: {message}"));
            }
            Err(_) => say(&format!("failure {case}: it panics")),
        }
        if used > MEMORY_MAX + 2 * whole.len() {
            say(&format!("failure {case}: it allocates {used} bytes"));
        }
    }
    say(&format!("done {cases} {unharmed} {peak}"));
}

/// Started by the parent with a file and a part, it goes on with the damaged ones.
#[test]
fn an_undamaged_file_answers_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.vdb");
    let given = std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
    match &given {
        Some(file) => drop(std::fs::copy(file, &path).unwrap()),
        None => sample::build(&path),
    }
    let expected = Expected::of(&path);
    for writer in [false, true] {
        let store = open(&path, writer).unwrap();
        assert!(expected.compare(&sample::ask(&store)) == Ok(Outcome::Unharmed));
        assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
        let stats = store.stats().unwrap();
        assert!(stats.segments.len() == 3 && stats.tail_rows > 0 && stats.dead > 0, "{stats:?}");
        let words = stats.text.as_ref().unwrap();
        assert!(words.segments > 1 && words.tail_bytes > 0, "{stats:?}");
        assert!(stats.segments.iter().any(|segment| segment.index_bytes > 0), "{stats:?}");
    }
    if let Some(file) = given {
        let given = std::env::var(PART_VARIABLE).unwrap();
        let (part, every) = given.split_once('/').unwrap();
        let part = (part.parse().unwrap(), every.parse().unwrap());
        run_part(&std::fs::read(file).unwrap(), &expected, &path, part);
    }
}
