//! `kill -9` of a writer at random moments, over and over on one file.

use std::path::Path;
use std::time::Duration;

use vdb::{Control, Durability, OpenOptions, Snapshot, Store};

use super::child::{self, Child};
use super::workload::{Model, assert_sound, commit, number_of};
use crate::util::Random;

const ROUNDS: u64 = 100;
/// The writer lives at most so long after it has opened the store or committed once, in microseconds.
const LIFE_MAX: u64 = 250_000;
/// No writer commits more often; it is killed long before.
const COMMITS_MAX: u64 = 10_000;

/// Whether the writer waits for the disk: much fewer commits, killed mostly while they wait.
const SYNC: &str = "VDB_TEST_SYNC";

/// Starts a writer that waits for the disk, or does not if `sync` is 0.
pub(super) fn writer(path: &Path, sync: u64) -> Child {
    let mut command = child::command("write until killed", path);
    command.env(SYNC, sync.to_string());
    Child::start(command)
}

/// Child: goes on where the file stands; says the number of each commit once it has returned.
pub(super) fn write_until_killed() {
    let durability = match child::number(SYNC) {
        0 => Durability::Process,
        _ => Durability::Power,
    };
    let store = OpenOptions::new().durability(durability).open(child::store_path()).unwrap();
    let stop = child::stop_flag();
    let mut number = number_of(&store.snapshot().unwrap()).unwrap();
    child::say("ready");
    for _ in 0..COMMITS_MAX {
        if stop.load(std::sync::atomic::Ordering::Acquire) {
            return;
        }
        number += 1;
        commit(&store, number).unwrap();
        child::say(&number.to_string());
        if number % 9 == 4 {
            store.compact(&Control::new()).unwrap();
        }
    }
}

/// What must hold of the file between two kills.
struct Record {
    /// The last number that a child has said, or that was found in the file.
    known: u64,
    model: Model,
}

impl Record {
    /// The file holds the last commit that was acknowledged or the one that was in flight, wholly.
    fn verify(&mut self, snapshot: &Snapshot, round: u64) {
        let number = number_of(snapshot).unwrap();
        let known = self.known;
        assert!((known..=known + 1).contains(&number), "round {round}: {number} found, {known} acknowledged");
        self.known = number;
        self.model.advance(number);
        self.model.compare(snapshot);
    }
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("killed.vdb");
    Store::create(&path).unwrap().close().unwrap();
    let mut random = Random(100);
    let mut record = Record { known: 0, model: Model::default() };
    let mut held: Option<(Snapshot, Model)> = None;
    let (mut early, mut segments) = (0, 0);
    for round in 0..ROUNDS {
        let mut writer = writer(&path, round % 4 / 2);
        // One kill in ten comes at any moment of opening and recovering; every second after a commit, however slow the machine is.
        let mut said = Vec::new();
        if round % 10 == 7 {
            early += 1;
        } else {
            writer.expect("ready");
            if round.is_multiple_of(2) {
                said.extend(writer.hear());
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(LIFE_MAX)));
        said.extend(writer.kill());
        if let Some(last) = said.iter().rfind(|line| *line != "ready") {
            record.known = last.parse().unwrap();
        }
        if let Some((snapshot, model)) = held.take() {
            // What a reader saw before the writers of this round and the last, it still sees.
            model.compare(&snapshot);
        }
        let reader = || OpenOptions::new().read_only(true).open(&path).unwrap();
        let first = (round % 2 == 0).then(reader);
        if let Some(first) = &first {
            record.verify(&first.snapshot().unwrap(), round);
            assert_sound(first);
        }
        let writer = Store::open(&path).unwrap();
        record.verify(&writer.snapshot().unwrap(), round);
        if first.is_none() {
            assert_sound(&writer);
        }
        segments = segments.max(writer.stats().unwrap().segments.len());
        if round % 5 == 2 {
            let beside = reader();
            held = Some((beside.snapshot().unwrap(), record.model.clone()));
        }
        match round % 3 {
            0 => writer.close().unwrap(),
            _ => drop(writer),
        }
    }
    println!(
        "{ROUNDS} kills ({early} at any moment of opening), {} commits, up to {segments} segments: nothing lost",
        record.known,
    );
    assert!(record.known >= ROUNDS / 2, "only {} commits", record.known);
    assert!(segments > 0, "no segment was ever sealed");
    let names: Vec<_> =
        directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["killed.vdb"]);
}
