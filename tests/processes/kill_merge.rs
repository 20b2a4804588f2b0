//! `kill -9` while segments are merged and while an index is built: nothing is lost, and the next call does it.

use std::path::Path;
use std::time::Duration;

use vdb::{Background, Control, Document, IndexKind, OpenOptions, Query, Store};

use super::child::{self, Child};
use super::workload::assert_sound;
use crate::util::Random;

const ROUNDS: u64 = 12;
const ROWS: u64 = 6_000;
const COMMITS: u64 = 6;
const DIM: usize = 32;
/// Each piece of work takes the child at least so long, in microseconds, so that a kill comes in the midst of it.
const PIECE: u64 = 150;
/// The kill comes so long after a piece of the work, at most.
const LATER_MAX: u64 = 30_000;

fn options() -> OpenOptions {
    OpenOptions::new().background(Background::None).index(IndexKind::HnswSq8).tail_bytes_max(32 << 10)
}

fn document(n: u64) -> Document {
    Document::new(format!("text {n}")).id(n.to_string()).vector(Random(n).vector(DIM))
}

/// Child: merges and builds, and says which of both it does whenever that changes.
pub(super) fn compact() {
    let store = options().open(child::store_path()).unwrap();
    let stage = std::sync::Mutex::new("");
    store
        .compact(&Control::new().on_progress(move |progress| {
            let mut stage = stage.lock().unwrap();
            if *stage != progress.stage && progress.done > 0 {
                *stage = progress.stage;
                child::say(progress.stage);
            }
            drop(stage);
            std::thread::sleep(Duration::from_micros(PIECE));
        }))
        .unwrap();
    store.close().unwrap();
}

/// The documents are there, wholly, and the best are found.
fn verify(store: &Store, queries: &[(Query, Vec<String>)]) {
    assert_eq!(store.count().unwrap(), ROWS);
    assert_sound(store);
    for n in [0, 1, ROWS / 2, ROWS - 1] {
        let found = store.get(&n.to_string()).unwrap().unwrap();
        assert_eq!(found.text(), Some(format!("text {n}").as_str()));
    }
    for (query, expected) in queries {
        assert_eq!(&ids(store, query), expected);
    }
}

fn ids(store: &Store, query: &Query) -> Vec<String> {
    store.search(query).unwrap().into_iter().map(|hit| hit.id).collect()
}

/// Kills a child so long after it began a stage. Returns whether it was killed before it was done.
fn kill_in(stage: &str, later: u64, path: &Path) -> bool {
    let mut child = Child::new("compact", path);
    while let Some(said) = child.hear() {
        if said == stage {
            std::thread::sleep(Duration::from_micros(later));
            return !child.kill().iter().any(|line| line == "done");
        }
        assert_ne!(said, "done", "there was nothing to do in {stage}");
    }
    panic!("the child ended early");
}

#[test]
fn a_kill_during_a_merge_or_the_building_of_an_index_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (first, path) = (directory.path().join("first.vdb"), directory.path().join("killed.vdb"));
    let store = options().create(&first).unwrap();
    for commit in 0..COMMITS {
        let rows = ROWS / COMMITS;
        store.add((commit * rows..(commit + 1) * rows).map(document)).unwrap();
    }
    let mut random = Random(4);
    let queries: Vec<_> = (0..3)
        .map(|_| {
            let query = Query::vector(random.vector(DIM)).exact();
            let expected = ids(&store, &query);
            (query, expected)
        })
        .collect();
    let segments = store.stats().unwrap().segments.len();
    assert!(segments >= 4, "{segments}");
    store.close().unwrap();
    let mut in_time = 0;
    for round in 0..ROUNDS {
        std::fs::copy(&first, &path).unwrap();
        let stage = if round % 2 == 0 { "merge" } else { "index" };
        in_time += u64::from(kill_in(stage, random.below(LATER_MAX), &path));
        if round % 3 == 0 {
            verify(&OpenOptions::new().read_only(true).open(&path).unwrap(), &queries);
        }
        let store = options().open(&path).unwrap();
        verify(&store, &queries);
        // What was begun is done by the next call, and what the kill left behind is free again.
        store.compact(&Control::new()).unwrap();
        verify(&store, &queries);
        let stats = store.stats().unwrap();
        assert!(stats.segments.len() < segments, "{}", stats.segments.len());
        assert!(stats.segments.iter().all(|segment| segment.index == "hnsw-sq8"), "{:?}", stats.segments);
        store.close().unwrap();
    }
    println!("{ROUNDS} kills, {in_time} of them before the work was done: nothing lost");
    assert!(in_time >= ROUNDS / 2, "only {in_time} kills came in time");
}
