//! Merges that fail, or come too late.

use std::time::Duration;

use super::*;
use crate::store::merge::{self, Allowance, Goal};

pub(super) const DIM: u16 = 4;
/// The vectors of so many rows fill the tail.
pub(super) const TAIL_ROWS: u16 = 400;

pub(super) fn options(background: Background) -> OpenOptions {
    OpenOptions::new()
        .background(background)
        .tail_bytes_max(usize::from(TAIL_ROWS) * usize::from(DIM) * size_of::<f32>())
}

fn document(n: u16) -> Document {
    let vector = (0..DIM).map(|m| f32::from(n) + f32::from(m * m)).collect();
    Document::new("text").id(n.to_string()).vector(vector)
}

/// Adds so many segments.
pub(super) fn add(store: &Store, segments: u16) {
    let from = u16::try_from(store.count().unwrap()).unwrap();
    for n in 0..segments {
        let first = from + n * TAIL_ROWS;
        store.add((first..first + TAIL_ROWS).map(document)).unwrap();
    }
}

pub(super) fn merge_all(store: &Store, control: &Control) -> Result<MergeReport> {
    store.merge(&MergeLimits::default(), control)
}

pub(super) fn assert_sound(store: &Store, count: u16) {
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    assert_eq!(store.count().unwrap(), u64::from(count));
    let hits = store.search(&Query::vector(vec![1.0; usize::from(DIM)]).k(10_000)).unwrap();
    assert_eq!(hits.len(), usize::from(count));
}

#[test]
fn a_merge_whose_blob_cannot_be_written_harms_nothing() {
    let file = RecordingFile::new(Vec::new());
    let store = create_on(&file, options(Background::None));
    add(&store, 5);
    // Free pages past the end of the file may be forgotten.
    let used = || {
        let occupancy = store.stats().unwrap().occupancy;
        let end = occupancy.file / crate::storage::PAGE_BYTES;
        let free = store.file().unwrap().container.free_runs();
        let free: u64 = free.iter().map(|run| run.end().min(end).saturating_sub(run.start)).sum();
        (end - free, occupancy.stream, occupancy.pending)
    };
    let before = used();
    let disk = file.clone();
    let full_disk = Control::new().on_progress(move |_| disk.recording().fail_after = Some(0));
    let failed = merge_all(&store, &full_disk);
    assert!(matches!(failed, Err(Error::Io { op: "write", .. })), "{failed:?}");
    file.recording().fail_after = None;
    assert_eq!(used(), before, "pages were lost");
    assert_sound(&store, 5 * TAIL_ROWS);
    add(&store, 1);
    assert_eq!(merge_all(&store, &Control::new()).unwrap().merges, 1);
    assert_sound(&store, 6 * TAIL_ROWS);
    drop(store);
    assert_sound(&open_on(&file, options(Background::None)).unwrap(), 6 * TAIL_ROWS);
}

#[test]
fn a_merge_of_segments_that_are_gone_gives_up_its_pages() {
    let file = RecordingFile::new(Vec::new());
    let store = create_on(&file, options(Background::None));
    add(&store, 4);
    let blobs = store.snapshot().unwrap().into_blobs();
    let sources = blobs.view().segments.to_vec();
    let rows_max = 4 * u64::from(TAIL_ROWS);
    let (other, report) = (store.clone(), Mutex::new(None));
    let overtake = |_| {
        let all = Allowance::new(&MergeLimits::default());
        *report.lock().unwrap() =
            Some(merge::run(&other, Goal::Packed, all, MergeReport::default(), &Control::new())?);
        Ok(())
    };
    let late = merge::merge_some(&store, blobs, &sources, (rows_max, false), &Control::new(), &overtake);
    assert!(late.unwrap().is_none(), "it replaced segments that were gone");
    assert_eq!(report.into_inner().unwrap().map(|report| report.merges), Some(1));
    let stats = store.stats().unwrap();
    assert_eq!(stats.segments.len(), 1);
    assert_sound(&store, 4 * TAIL_ROWS);
    // Whatever is not named is free: as much as if nobody had been late.
    let occupancy = stats.occupancy;
    let used = occupancy.file - occupancy.free - occupancy.pending - occupancy.stream;
    let blobs = stats.blob_bytes.next_multiple_of(crate::storage::PAGE_BYTES);
    assert_eq!(used, blobs + crate::storage::DATA_PAGE * crate::storage::PAGE_BYTES);
}

#[test]
fn the_thread_keeps_why_it_failed_and_tries_again() {
    let file = RecordingFile::new(Vec::new());
    let store = create_on(&file, options(Background::Thread));
    file.recording().fail_in = Some("vdb-merge");
    add(&store, 4);
    let wait = |until: &dyn Fn(&Stats) -> bool| {
        while !until(&store.stats().unwrap()) {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait(&|stats| stats.merge_failure.is_some());
    let failure = store.stats().unwrap().merge_failure.unwrap();
    assert!(failure.starts_with("cannot write :test:: "), "{failure}");
    assert_eq!(store.stats().unwrap().merges_due, 1);
    file.recording().fail_in = None;
    let mut count = 4;
    while store.stats().unwrap().merges_due > 0 {
        add(&store, 1);
        count += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    wait(&|stats| stats.merge_failure.is_none());
    assert_sound(&store, count * TAIL_ROWS);
}

/// The pages that a commit frees are used again while work in the background holds blobs, and not while a snapshot reads.
#[test]
fn who_holds_blobs_lets_the_catalog_use_its_pages_again() {
    let store = create_on(&RecordingFile::new(Vec::new()), options(Background::None));
    add(&store, 1);
    let growth = || {
        let stream = || store.stats().unwrap().occupancy.stream;
        let before = stream();
        for n in 0..30 {
            // Too much for the log.
            let metadata = format!(r#"{{"n":{n},"long":"{}"}}"#, "x".repeat(300_000));
            store.update_metadata("1", &Metadata::from_json(&metadata).unwrap()).unwrap();
        }
        stream() - before
    };
    growth();
    let blobs = store.snapshot().unwrap().into_blobs();
    assert_eq!(growth(), 0);
    drop(blobs);
    let snapshot = store.snapshot().unwrap();
    assert!(growth() > 30 * crate::storage::PAGE_BYTES);
    drop(snapshot);
}

#[test]
fn blobs_that_are_held_stay_as_they_are() {
    let store = create_on(&RecordingFile::new(Vec::new()), options(Background::None));
    add(&store, 4);
    let blobs = store.snapshot().unwrap().into_blobs();
    let read = || {
        let mut rows = Vec::new();
        for segment in blobs.view().segments.iter() {
            let keep = &mut |row, vector: &[f32]| {
                rows.push((row, vector.to_vec()));
                Ok(())
            };
            segment.for_each(keep).unwrap();
        }
        rows
    };
    let before = read();
    assert_eq!(before.len(), usize::from(4 * TAIL_ROWS));
    store.delete((0..3 * TAIL_ROWS).map(|n| n.to_string())).unwrap();
    store.compact(&Control::new()).unwrap();
    let pending = || store.stats().unwrap().occupancy.pending;
    assert!(pending() > 0, "the segments that were merged are held");
    let other = |n| Document::new("other").id(format!("other {n}")).vector(vec![-1.0; usize::from(DIM)]);
    for n in 0..6 {
        store.add((n * TAIL_ROWS..(n + 1) * TAIL_ROWS).map(other)).unwrap();
    }
    assert!(read() == before, "vectors were written over");
    drop(blobs);
    store.add([other(u16::MAX)]).unwrap();
    assert_eq!(pending(), 0);
}

#[test]
fn an_index_is_given_up_for_a_merge_when_most_of_its_segment_has_died() {
    let few = options(Background::None).index(IndexKind::Sq8).index_rows_min(100);
    let store = create_on(&RecordingFile::new(Vec::new()), few);
    add(&store, 3);
    let (other, is_done) = (store.clone(), Mutex::new(false));
    let control = Control::new().on_progress(move |progress| {
        let is_done = std::mem::replace(&mut *is_done.lock().unwrap(), progress.stage == "index");
        if progress.stage == "index" && !is_done {
            other.delete((0..TAIL_ROWS * 3 / 4).map(|n| n.to_string())).unwrap();
            std::thread::sleep(crate::store::watch::WATCH);
        }
    });
    let report = merge_all(&store, &control).unwrap();
    assert_eq!((report.merges, report.indexes, report.indexes_waiting), (1, 3, 0));
    assert_eq!(store.stats().unwrap().segments[0].rows, u64::from(TAIL_ROWS / 4));
    assert_sound(&store, 3 * TAIL_ROWS - TAIL_ROWS * 3 / 4);
}

/// Building takes long: the space of what is deleted meanwhile is free before it ends.
#[test]
fn what_dies_while_an_index_is_built_gives_its_space_back() {
    let few = options(Background::None).index(IndexKind::Sq8).index_rows_min(100);
    let store = create_on(&RecordingFile::new(Vec::new()), few);
    add(&store, 3);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (other, looks) = (store.clone(), Arc::clone(&seen));
    let control = Control::new().on_progress(move |progress| {
        if progress.stage != "index" {
            return;
        }
        let stats = other.stats().unwrap();
        let mut looks = looks.lock().unwrap();
        looks.push((stats.segments.len(), stats.occupancy.pending, stats.index_bytes));
        if looks.len() == 1 {
            other.delete((2 * TAIL_ROWS..3 * TAIL_ROWS).map(|n| n.to_string())).unwrap();
            std::thread::sleep(crate::store::watch::WATCH);
        }
    });
    let report = merge_all(&store, &control).unwrap();
    assert_eq!((report.merges, report.indexes, report.indexes_waiting), (1, 2, 0));
    assert_eq!(seen.lock().unwrap()[..2], [(3, 0, 0), (2, 0, 0)]);
    assert_sound(&store, 2 * TAIL_ROWS);
}

#[test]
fn a_tail_is_sealed_into_the_place_of_what_died() {
    let store = create_on(&RecordingFile::new(Vec::new()), options(Background::None));
    let gone = TAIL_ROWS * 3 / 2;
    store.add((0..gone).map(document)).unwrap();
    for first in [gone, gone + TAIL_ROWS] {
        store.add((first..first + TAIL_ROWS).map(document)).unwrap();
    }
    let places = || -> Vec<u64> {
        store.snapshot().unwrap().view().segments.iter().map(|segment| segment.run().start).collect()
    };
    let before = places();
    store.delete((0..gone).map(|n| n.to_string())).unwrap();
    assert_eq!(merge_all(&store, &Control::new()).unwrap().merges, 1);
    // The second reaches the bound, and a few more rows follow than the gap has room for.
    let first = gone + 2 * TAIL_ROWS;
    let full = first + TAIL_ROWS;
    store.add((first..full - 10).map(document)).unwrap();
    store.add((full - 10..full + 45).map(document)).unwrap();
    let stats = store.stats().unwrap();
    let rows: Vec<u64> = stats.segments.iter().map(|segment| segment.rows).collect();
    assert_eq!((rows, stats.tail_rows), (vec![u64::from(TAIL_ROWS); 3], 45));
    assert_eq!(places(), [before[1], before[2], before[0]]);
    assert_sound(&store, 3 * TAIL_ROWS + 45);
}
