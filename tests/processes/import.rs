//! `vdb import` as a process: killed, interrupted, followed, waited for, and read by nobody.

mod beside;
mod killed;
mod stopped;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use vdb::{Document, OpenOptions, Snapshot, Store};

use super::workload::assert_sound;
use crate::scene::Scene;
use crate::util::Random;

/// What a source holds: documents that follow from their numbers.
#[derive(Clone, Copy)]
struct Rows {
    dim: usize,
    count: u64,
    /// Whether they have ids; else the import derives them.
    named: bool,
    /// After so many documents there is a commit.
    commit_every: u64,
}

/// A source of some kilobytes, that is imported in many commits.
const SMALL: Rows = Rows { dim: 16, count: 600, named: true, commit_every: 25 };

impl Rows {
    fn document(self, number: u64) -> Document {
        let mut random = Random(number);
        let words = usize::try_from(1 + random.below(60)).unwrap();
        let text = format!("{number}번째 문서: {}", "바닷가 모래 ".repeat(words));
        let vector = (0..self.dim).map(|_| f32::from(random.byte()) - 127.5).collect();
        let metadata = format!("{{\"number\":{number},\"ratio\":{}.0}}", random.below(99));
        let document = Document::new(text).metadata_json(&metadata).unwrap().vector(vector);
        if self.named { document.id(format!("doc_{number}")) } else { document }
    }

    /// The lines of some documents.
    fn lines(self, numbers: std::ops::Range<u64>) -> String {
        numbers.fold(String::new(), |mut lines, number| {
            let _ = writeln!(lines, "{}", self.document(number).to_json(true));
            lines
        })
    }

    /// A file of all of them.
    fn write(self, scene: &Scene, name: &str) {
        std::fs::write(scene.path(name), self.lines(0..self.count)).unwrap();
    }

    /// The import of a source into a store.
    fn import(self, scene: &Scene, store: &str, source: &str) -> Command {
        let every = self.commit_every.to_string();
        scene.command(&["import", store, source, "--json", "--model", "none", "--commit-every", &every])
    }

    /// Every document, text, metadata and vector of the first `count` must be there, and nothing else.
    fn compare(self, snapshot: &Snapshot, count: u64) {
        assert_eq!(snapshot.count(), count);
        let mut number = 0;
        for found in snapshot.documents().with_vectors() {
            let (found, mut wanted) = (found.unwrap(), self.document(number));
            if !self.named {
                wanted = wanted.id(found.id_ref().unwrap());
            }
            assert_eq!(found, wanted);
            number += 1;
        }
        assert_eq!(number, count);
    }

    /// How many documents the store of a running or dead import has: whole commits, which are compared.
    fn committed(self, snapshot: &Snapshot) -> u64 {
        let count = snapshot.count();
        assert!(
            count.is_multiple_of(self.commit_every) || count == self.count,
            "{count} documents are no commit"
        );
        self.compare(snapshot, count);
        count
    }
}

/// A running `vdb import --json`; it is killed when dropped.
struct Importer {
    process: Child,
    /// Its standard input, when that is its source.
    feed: Option<ChildStdin>,
    lines: Option<BufReader<ChildStdout>>,
    /// The documents that it said are committed.
    committed: u64,
}

impl Importer {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (feed, stdout) = (process.stdin.take(), process.stdout.take());
        Importer { process, feed, lines: stdout.map(BufReader::new), committed: 0 }
    }

    /// Starts an import of what [`Importer::feed`] gives.
    fn fed(scene: &Scene, store: &str, rows: Rows) -> Self {
        let mut command = rows.import(scene, store, "/dev/stdin");
        command.stdin(Stdio::piped());
        Importer::start(command)
    }

    /// Gives it lines; `false` when it reads no more.
    fn feed(&mut self, lines: &str) -> bool {
        use std::io::Write as _;
        self.feed.as_mut().unwrap().write_all(lines.as_bytes()).is_ok()
    }

    /// The next whole line; `None` at the end, after which there may be half a line of a killed process.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.as_mut()?.read_line(&mut line).unwrap();
        let value: Value = serde_json::from_str(line.strip_suffix('\n')?).unwrap();
        if value["type"] == "committed" {
            let documents = value["data"]["documents"].as_u64().unwrap();
            assert!(
                documents > self.committed && value["data"]["row"].as_u64() == Some(documents),
                "{value}"
            );
            self.committed = documents;
        }
        Some(value)
    }

    /// Reads until so many documents are committed.
    fn until(&mut self, documents: u64) {
        while self.committed < documents {
            let line = self.line().unwrap();
            assert_eq!(line["type"], "committed");
        }
    }

    /// Reads what is left and waits for the end: exit status, the last line, and standard error.
    fn end(mut self) -> (Option<i32>, Option<Value>, String, u64) {
        self.feed = None;
        let last = std::iter::from_fn(|| self.line()).last();
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut self.process.stderr.take().unwrap(), &mut stderr).unwrap();
        (self.process.wait().unwrap().code(), last, stderr, self.committed)
    }

    fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Importer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn reader(path: &PathBuf) -> Store {
    OpenOptions::new().read_only(true).open(path).unwrap()
}

/// The last line of a run, which must have ended well.
fn summary(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "summary");
    last["data"].clone()
}

/// Imports all of a source into a store that has the first `there` rows; then once more, which adds nothing.
fn assert_goes_on(scene: &Scene, rows: Rows, store: &str, source: &str, there: u64) {
    for there in [there, rows.count] {
        let summary = summary(&rows.import(scene, store, source).output().unwrap());
        let figures = ["added", "updated", "skipped", "failed"].map(|name| summary[name].as_u64().unwrap());
        assert_eq!(figures, [rows.count - there, 0, there, 0]);
        let store = Store::open(scene.path(store)).unwrap();
        rows.compare(&store.snapshot().unwrap(), rows.count);
        assert_sound(&store);
    }
}
