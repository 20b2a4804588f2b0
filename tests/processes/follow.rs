//! Readers in other processes that follow a writer through growth, merges, compaction and trimming.

use std::sync::atomic::Ordering;
use std::time::Duration;

use vdb::{Control, Document, OpenOptions, Query, Snapshot, Store};

use super::child::{self, Child};
use super::workload::assert_sound;
use crate::util::Random;

const DIM: usize = 128;
const READERS: usize = 3;
/// Each version is one commit; so many of them grow the store, then it shrinks again.
const WAVE: u64 = 16;
const TAIL_BYTES: usize = 64 << 10;
const COMPACT_EVERY: u64 = 5;
/// Documents asked for in a search.
const K: usize = 20;

/// Between two reads, and between two commits, so that writer and readers find a processor on a small machine.
const PAUSE: Duration = Duration::from_millis(50);

/// For how long, in seconds; more finds more.
fn seconds() -> u64 {
    std::env::var("VDB_TEST_SECONDS").map_or(30, |seconds| seconds.parse().unwrap())
}

/// The number of documents of a version.
fn count(version: u64) -> u64 {
    200 + 100 * (version % WAVE)
}

fn vector(version: u64, n: u64) -> Vec<f32> {
    Random(version << 24 | n).vector(DIM)
}

fn document(version: u64, n: u64) -> Document {
    Document::new(format!("document {n} of version {version}"))
        .id(format!("{n}"))
        .metadata_json(&format!("{{\"version\":{version}}}"))
        .unwrap()
        .vector(vector(version, n))
}

fn put(store: &Store, version: u64) {
    let mut txn = store.write().unwrap();
    txn.add((0..count(version)).map(|n| document(version, n))).unwrap();
    txn.delete((count(version)..count(version - 1)).map(|n| n.to_string())).unwrap();
    txn.commit().unwrap();
}

/// Child: every commit replaces every document by one of the next version.
pub(super) fn write() {
    // Every commit makes segments, and merges of what the one before made.
    let store = OpenOptions::new().tail_bytes_max(TAIL_BYTES).open(child::store_path()).unwrap();
    let stop = child::stop_flag();
    let (mut version, mut trims) = (1, 0);
    while !stop.load(Ordering::Acquire) {
        version += 1;
        put(&store, version);
        if version % COMPACT_EVERY == 0 {
            let report = store.compact(&Control::new()).unwrap();
            trims += u64::from(report.bytes_after < report.bytes_before);
        }
        std::thread::sleep(PAUSE);
    }
    store.close().unwrap();
    child::say(&format!("{version} {trims}"));
}

#[derive(serde::Deserialize)]
struct Versioned {
    version: u64,
}

/// Reads a snapshot in every way; everything must belong to one version, which is returned.
fn verify(snapshot: &Snapshot, random: &mut Random) -> u64 {
    let first = snapshot.get("0").unwrap().unwrap();
    let version = first.metadata_as::<Versioned>().unwrap().version;
    let count = count(version);
    assert_eq!(snapshot.count(), count, "version {version}");
    assert_eq!(snapshot.get(&count.to_string()).unwrap(), None);
    let n = random.below(count);
    let hits = snapshot.search(&Query::vector(vector(version, n)).k(K)).unwrap();
    assert_eq!(hits.len(), K);
    assert_eq!(hits[0].id, n.to_string(), "version {version}");
    for hit in hits {
        assert_eq!(hit.text.unwrap(), format!("document {} of version {version}", hit.id));
        assert_eq!(hit.metadata.as_json(), format!("{{\"version\":{version}}}"));
    }
    for (n, found) in snapshot.documents().with_vectors().enumerate() {
        let n = u64::try_from(n).unwrap();
        assert_eq!(found.unwrap(), document(version, n), "of {count}");
    }
    assert_eq!(snapshot.documents().count(), usize::try_from(count).unwrap());
    version
}

/// Child: reads until it is stopped; says how often, and how many versions it saw.
pub(super) fn read() {
    let open = || OpenOptions::new().read_only(true).open(child::store_path()).unwrap();
    let stop = child::stop_flag();
    let mut random = Random(u64::from(std::process::id()));
    let (mut reads, mut versions, mut last, mut last_commit) = (0, 0, 0, 0);
    let mut store = open();
    let mut kept: Option<(Snapshot, u64)> = None;
    while !stop.load(Ordering::Acquire) {
        let snapshot = store.snapshot().unwrap();
        let version = verify(&snapshot, &mut random);
        assert!(version >= last && snapshot.commit() >= last_commit, "{version} after {last}");
        (reads, versions) = (reads + 1, versions + u64::from(version > last));
        (last, last_commit) = (version, snapshot.commit());
        match reads % 32 {
            1 => kept = Some((snapshot, version)),
            4 => {
                let (snapshot, version) = kept.take().unwrap();
                assert_eq!(verify(&snapshot, &mut random), version, "a snapshot has changed");
            }
            16 => store = open(),
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
    child::say(&format!("{reads} {versions}"));
}

/// The two numbers that a child ends with.
fn numbers(said: &[String]) -> (u64, u64) {
    let (first, second) = said.last().unwrap().split_once(' ').unwrap();
    (first.parse().unwrap(), second.parse().unwrap())
}

#[test]
fn readers_see_whole_commits_and_see_them_come() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("followed.vdb");
    let store = Store::create(&path).unwrap();
    put(&store, 1);
    store.close().unwrap();
    let writer = Child::new("follow: write", &path);
    let readers: Vec<Child> = (0..READERS).map(|_| Child::new("follow: read", &path)).collect();
    std::thread::sleep(Duration::from_secs(seconds()));
    let seen: Vec<(u64, u64)> = readers.into_iter().map(|reader| numbers(&reader.finish())).collect();
    let (version, trims) = numbers(&writer.finish());
    println!("{version} versions, the file became shorter {trims} times; (reads, versions seen): {seen:?}");
    assert!(seen.iter().all(|(_, versions)| *versions > 1), "a reader saw no progress");
    assert!(version > WAVE && trims > 0, "the store did not grow and shrink");
    let store = Store::open(&path).unwrap();
    assert_eq!(verify(&store.snapshot().unwrap(), &mut Random(0)), version);
    assert_sound(&store);
}
