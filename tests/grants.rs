//! Grants for the building and searching of every kind of index cover what is allocated, in Rust and in C++.
//!
//! Other tests allocate in the same process, so each kind runs in a process of its own.

use std::num::NonZero;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vdb::{
    Background, Control, Document, Durability, Filter, IndexKind, MemoryUse, OpenOptions, Query, SearchPath,
    Store,
};

use crate::allocator;
use crate::util::Random;

const KIND: &str = "VDB_TEST_GRANTS_KIND";
const DIM: usize = 128;
const ROWS: u64 = 12_000;

fn options() -> OpenOptions {
    OpenOptions::new()
        .durability(Durability::Process)
        .background(Background::None)
        .threads(NonZero::new(2).unwrap())
        .memory_budget(64 << 20)
}

/// The most that was granted for something.
fn peak(memory: &MemoryUse, component: &str) -> u64 {
    memory.components.iter().find(|share| share.component == component).unwrap().peak
}

/// The most bytes that compaction allocates while it builds an index.
fn built(store: &Store) -> u64 {
    let (start, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, seen) = (Arc::clone(&start), Arc::clone(&most));
    let control = Control::new().on_progress(move |progress| {
        if progress.stage != "index" {
            return;
        }
        if begun.load(Ordering::Relaxed) == 0 {
            begun.store(allocator::begin(), Ordering::Relaxed);
        }
        seen.fetch_max(allocator::peak_since(begun.load(Ordering::Relaxed)), Ordering::Relaxed);
    });
    assert_eq!(store.compact(&control).unwrap().indexes_built, 1);
    u64::try_from(most.load(Ordering::Relaxed)).unwrap()
}

fn one(kind: IndexKind) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.vdb");
    let store = options().index(kind).create(&path).unwrap();
    let mut random = Random(1);
    store.add((0..ROWS).map(|n| Document::from_vector(random.vector(DIM)).id(n.to_string()))).unwrap();
    let built = built(&store);
    let memory = store.memory();
    let granted = peak(&memory, "indexing");
    assert!(
        built > granted / 8 && built <= granted,
        "{kind}: {built} bytes allocated to build, {granted} granted"
    );
    assert!(memory.peak <= memory.budget, "{kind}: {memory:?}");
    assert_eq!(store.stats().unwrap().segments[0].index, kind.name());
    store.close().unwrap();

    let start = allocator::begin();
    let store = options().read_only(true).open(&path).unwrap();
    for n in 0..60 {
        let query = Query::vector(random.vector(DIM)).k(if n % 10 == 0 { 1000 } else { 10 });
        let query = if n % 2 == 0 { query.filter(Filter::id().ne(n.to_string())) } else { query };
        let path = [SearchPath::Graph, SearchPath::Codes, SearchPath::Exact][n % 3];
        assert!(store.search(&query.path(path)).unwrap().len() >= 10);
    }
    let (actual, memory) = (u64::try_from(allocator::peak_since(start)).unwrap(), store.memory());
    assert!(actual <= memory.peak, "{kind}: {actual} bytes allocated to search, {memory:?}");
    assert!(memory.peak <= memory.budget, "{kind}: {memory:?}");
}

/// Started by the parent with the name of a kind.
#[test]
fn one_kind() {
    if let Ok(name) = std::env::var(KIND) {
        one(name.parse().unwrap());
    }
}

#[test]
fn what_every_kind_of_index_allocates_was_granted() {
    for kind in [IndexKind::Sq8, IndexKind::Sq4, IndexKind::Hnsw, IndexKind::HnswSq8, IndexKind::HnswF32] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "grants::one_kind", "--nocapture"]).env(KIND, kind.name());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}
