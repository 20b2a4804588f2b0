//! Merging segments through the public API: beside writers and readers, stopped, and the space that it gives back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vdb::{
    Background, CancelToken, CheckLevel, Control, Document, Durability, Error, MergeLimits, OpenOptions,
    Query, Store,
};

use crate::util::Random;

const DIM: usize = 16;
/// The vectors of so many rows fill the tail.
const TAIL_ROWS: usize = 500;

/// Without a text index, whose merges would count, too.
fn options(background: Background) -> OpenOptions {
    OpenOptions::new()
        .text(false)
        .background(background)
        .durability(Durability::Process)
        .tail_bytes_max(TAIL_ROWS * DIM * size_of::<f32>())
}

fn document(n: u64) -> Document {
    Document::new(format!("text {n}")).id(n.to_string()).vector(Random(n).vector(DIM))
}

/// Adds documents in commits of a full tail each.
fn add(store: &Store, range: std::ops::Range<u64>) {
    let step = u64::try_from(TAIL_ROWS).unwrap();
    for from in range.clone().step_by(TAIL_ROWS) {
        store.add((from..range.end.min(from + step)).map(document)).unwrap();
    }
}

fn merge(store: &Store) -> vdb::MergeReport {
    store.merge(&MergeLimits::default(), &Control::new()).unwrap()
}

/// Exactly these documents are there, and found by their vectors.
fn assert_holds(store: &Store, expected: &[u64]) {
    let snapshot = store.snapshot().unwrap();
    let found: Vec<Document> = snapshot.documents().with_vectors().map(Result::unwrap).collect();
    assert!(found.iter().eq(&expected.iter().map(|&n| document(n)).collect::<Vec<_>>()));
    for &n in expected.iter().step_by(97) {
        let hits = snapshot.search(&Query::vector(Random(n).vector(DIM)).k(1)).unwrap();
        assert_eq!(hits[0].id, n.to_string());
    }
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

/// A control whose callback runs `work` once, in the midst of a merge.
fn during(work: impl Fn() + Send + Sync + 'static) -> Control {
    let done = AtomicBool::new(false);
    Control::new().on_progress(move |progress| {
        if progress.stage == "merge" && progress.done > 0 && !done.swap(true, Ordering::Relaxed) {
            work();
        }
    })
}

#[test]
fn what_is_due_is_merged_and_reported() {
    let store = options(Background::None).in_memory().unwrap();
    add(&store, 0..6000);
    let stats = store.stats().unwrap();
    assert_eq!((stats.segments.len(), stats.merges_due, stats.merge_rows), (12, 1, 6000));
    let none = MergeLimits { rows: 5999, time: Duration::ZERO };
    let report = store.merge(&none, &Control::new()).unwrap();
    assert_eq!((report.merges, report.rows, report.waiting), (0, 0, 1));
    let report = store.merge(&MergeLimits { rows: 6000, ..none }, &Control::new()).unwrap();
    assert_eq!((report.merges, report.rows, report.waiting), (1, 6000, 0));
    let stats = store.stats().unwrap();
    assert_eq!((stats.segments.len(), stats.merges_due), (1, 0));
    store.delete((0..3001).map(|n| n.to_string())).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.segments[0].dead, stats.merges_due, stats.merge_rows), (3001, 1, 2999));
    assert_eq!(merge(&store).rows, 2999);
    let stats = store.stats().unwrap();
    assert_eq!((stats.segments[0].rows, stats.segments[0].dead), (2999, 0));
    assert_holds(&store, &(3001..6000).collect::<Vec<_>>());
}

#[test]
fn text_segments_stay_few() {
    let options = OpenOptions::new().background(Background::None).text_tail_bytes_max(1000);
    let store = options.in_memory().unwrap();
    let (mut most, mut merges) = (0, 0);
    for n in 0..600 {
        let text =
            |m: u64| Document::new(format!("word{m} of {n} is in the text")).id((100 * n + m).to_string());
        store.add((0..40).map(text)).unwrap();
        if n % 5 == 4 {
            merges += merge(&store).merges;
            assert_eq!(store.stats().unwrap().merges_due, 0);
        }
        if n % 50 == 49 {
            store.delete((100 * n - 4000..100 * n).step_by(3).map(|id| id.to_string())).unwrap();
        }
        most = most.max(store.stats().unwrap().text.unwrap().segments);
    }
    assert!(merges > 50 && most <= 20, "{merges} merges, {most} segments at once");
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    let report = store.compact(&Control::new()).unwrap();
    assert_eq!(report.segments_after, 0);
    let text = store.stats().unwrap().text.unwrap();
    assert_eq!((text.segments, text.rows, text.dead), (1, store.count().unwrap(), 0));
}

#[test]
fn a_segment_of_scattered_rows_counts_its_own_dead_ones_alone() {
    let store = options(Background::None).in_memory().unwrap();
    add(&store, 0..2000);
    store.delete((0..2000).filter(|n| n % 4 > 0).map(|n| n.to_string())).unwrap();
    assert!(merge(&store).merges > 0);
    let stats = store.stats().unwrap();
    assert_eq!(stats.segments.iter().map(|s| (s.rows, s.dead)).collect::<Vec<_>>(), [(500, 0)]);
    assert_eq!(merge(&store).merges, 0);
    store.delete((0..400).step_by(4).map(|n| n.to_string())).unwrap();
    assert_eq!(store.stats().unwrap().segments[0].dead, 100);
    assert_holds(&store, &(400..2000).step_by(4).collect::<Vec<_>>());
}

#[test]
fn what_is_written_while_a_merge_builds_stays() {
    let store = options(Background::None).in_memory().unwrap();
    add(&store, 0..6000);
    let other = store.clone();
    let control = during(move || {
        other.delete((10..5000).step_by(3).map(|n| n.to_string())).unwrap();
        add(&other, 6000..8000);
    });
    assert!(store.merge(&MergeLimits::default(), &control).unwrap().merges > 0);
    let expected: Vec<u64> = (0..8000).filter(|n| !((10..5000).contains(n) && n % 3 == 1)).collect();
    assert_holds(&store, &expected);
    merge(&store);
    assert_holds(&store, &expected);
}

#[test]
fn a_merge_that_is_stopped_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stopped.vdb");
    let store = options(Background::None).create(&path).unwrap();
    add(&store, 0..6000);
    let (before, length) = (store.stats().unwrap(), std::fs::metadata(&path).unwrap().len());
    let token = CancelToken::new();
    let (asked, stop) = (Arc::new(AtomicBool::new(false)), token.clone());
    let noted = Arc::clone(&asked);
    let control = during(move || {
        noted.store(true, Ordering::Relaxed);
        stop.cancel();
    });
    let stopped = store.merge(&MergeLimits::default(), &control.cancel(&token));
    assert!(matches!(stopped, Err(Error::Cancelled)) && asked.load(Ordering::Relaxed), "{stopped:?}");
    let after = store.stats().unwrap();
    assert_eq!((after.commit, after.segments), (before.commit, before.segments));
    assert!(std::fs::metadata(&path).unwrap().len() <= length, "its pages are still in the file");
    assert_holds(&store, &(0..6000).collect::<Vec<_>>());
    assert_eq!(merge(&store).rows, 6000);
    assert_holds(&store, &(0..6000).collect::<Vec<_>>());
}

#[test]
fn the_thread_of_a_store_merges_while_searches_find_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("beside.vdb");
    let store = options(Background::Thread).create(&path).unwrap();
    // Those that stay look one way, those that come and go another.
    let kept = |n: u64| Document::new("kept").id(format!("kept {n}")).vector(turned(n, 1.0));
    let passing = |n: u64| Document::new("passing").id(format!("passing {n}")).vector(turned(n, -1.0));
    store.add((0..1000).map(kept)).unwrap();
    let query = Query::vector(turned(7777, 1.0)).k(50);
    let ids = |store: &Store| -> Vec<String> {
        store.search(&query).unwrap().into_iter().map(|hit| hit.id).collect()
    };
    let expected = ids(&store);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..60 {
                store.add((round * 300..(round + 1) * 300).map(passing)).unwrap();
                store.delete((round * 250..(round + 1) * 250).map(|n| format!("passing {n}"))).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) {
            assert_eq!(ids(&store), expected);
        }
    });
    while store.stats().unwrap().merges_due > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = store.stats().unwrap();
    assert!(stats.segments.len() < 12, "{:?}", stats.segments);
    assert_eq!(stats.merge_failure, None);
    assert_eq!(ids(&store), expected);
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

/// A vector that looks one way or the other.
fn turned(n: u64, way: f32) -> Vec<f32> {
    let mut vector = Random(n).vector(DIM);
    vector[0] = way * 200_000.0;
    vector
}

#[test]
fn the_thread_ends_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ends.vdb");
    options(Background::Thread).create(&path).unwrap().close().unwrap();
    for round in 0..20 {
        let store = options(Background::Thread).open(&path).unwrap();
        add(&store, round * 2000..(round + 1) * 2000);
        if round % 2 == 0 {
            let clone = store.clone();
            store.close().unwrap();
            assert!(clone.snapshot().is_err());
        } else {
            let snapshot = store.snapshot().unwrap();
            drop(store);
            drop(snapshot);
        }
    }
    let store = options(Background::None).open(&path).unwrap();
    assert_holds(&store, &(0..40_000).collect::<Vec<_>>());
}

#[test]
fn closing_does_not_wait_for_a_merge_that_waits_for_a_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("waits.vdb");
    let store = options(Background::Thread).create(&path).unwrap();
    add(&store, 0..2000);
    let mut txn = store.write().unwrap();
    txn.add([document(9999)]).unwrap();
    let closed = store.clone().close();
    assert!(matches!(closed, Err(Error::Unavailable { .. })), "{closed:?}");
    drop((txn, store));
    let store = options(Background::None).open(&path).unwrap();
    assert_holds(&store, &(0..2000).collect::<Vec<_>>());
}

#[test]
fn deleted_rows_leave_the_tail_at_once() {
    let store = options(Background::None).in_memory().unwrap();
    for round in 0..40 {
        store.add((round * 100..(round + 1) * 100).map(document)).unwrap();
        store.delete((round * 100..round * 100 + 99).map(|n| n.to_string())).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!((stats.tail_rows, stats.segments.len()), (round + 1, 0));
        assert_holds(&store, &(0..=round).map(|round| round * 100 + 99).collect::<Vec<_>>());
        assert!(stats.tail_bytes < 2000 * 100, "{} bytes of the tail in memory", stats.tail_bytes);
    }
    let mut txn = store.write().unwrap();
    txn.add((4000..4900).map(document)).unwrap();
    txn.delete((4000..4900).filter(|n| n % 2 == 0).map(|n| n.to_string())).unwrap();
    txn.commit().unwrap();
    let expected = (0..40).map(|round| round * 100 + 99).chain((4001..4900).step_by(2));
    assert_holds(&store, &expected.collect::<Vec<_>>());
}

/// Adds and deletes for a while: the file stays near what lives in it.
#[test]
fn deleted_documents_give_their_space_back() {
    const STORED: u64 = 5000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cycles.vdb");
    let store = options(Background::None).create(&path).unwrap();
    let length = || std::fs::metadata(&path).unwrap().len();
    add(&store, 0..STORED);
    store.compact(&Control::new()).unwrap();
    let (fresh, mut largest) = (length(), 0);
    for cycle in 0..150 {
        let from = STORED + cycle * 100;
        store.add((from..from + 100).map(document)).unwrap();
        store.delete((cycle * 100..(cycle + 1) * 100).map(|n| n.to_string())).unwrap();
        merge(&store);
        largest = largest.max(length());
    }
    store.compact(&Control::new()).unwrap();
    let catalog = store.check(CheckLevel::Quick, &Control::new()).unwrap().catalog_bytes;
    let (live, compacted) = (catalog + store.stats().unwrap().blob_bytes, length());
    assert!(live < compacted && largest <= 4 * live, "{largest} bytes at most, {live} live");
    // As long as if nothing had ever been deleted.
    assert!(compacted <= fresh + fresh / 10, "{compacted} bytes compacted, {fresh} at first");
    assert_holds(&store, &(15_000..20_000).collect::<Vec<_>>());
}
