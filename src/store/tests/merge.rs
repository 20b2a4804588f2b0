//! Merges that fail, or come too late.

use std::time::Duration;

use super::*;
use crate::store::merge::{self, Allowance, Goal};

const DIM: u16 = 4;
/// The vectors of so many rows fill the tail.
const TAIL_ROWS: u16 = 400;

fn options(background: Background) -> OpenOptions {
    OpenOptions::new()
        .background(background)
        .tail_bytes_max(usize::from(TAIL_ROWS) * usize::from(DIM) * size_of::<f32>())
}

fn document(n: u16) -> Document {
    let vector = (0..DIM).map(|m| f32::from(n) + f32::from(m * m)).collect();
    Document::new("text").id(n.to_string()).vector(vector)
}

/// Adds so many segments.
fn add(store: &Store, segments: u16) {
    let from = u16::try_from(store.count().unwrap()).unwrap();
    for n in 0..segments {
        let first = from + n * TAIL_ROWS;
        store.add((first..first + TAIL_ROWS).map(document)).unwrap();
    }
}

fn merge_all(store: &Store, control: &Control) -> Result<MergeReport> {
    store.merge(&MergeLimits::default(), control)
}

fn assert_sound(store: &Store, count: u16) {
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
    let free = || store.stats().unwrap().occupancy;
    let before = free();
    let disk = file.clone();
    let full_disk = Control::new().on_progress(move |_| disk.recording().fail_after = Some(0));
    let failed = merge_all(&store, &full_disk);
    assert!(matches!(failed, Err(Error::Io { op: "write", .. })), "{failed:?}");
    file.recording().fail_after = None;
    assert_eq!(free(), before, "pages were lost");
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
    let snapshot = store.snapshot().unwrap();
    let sources = snapshot.view().segments.to_vec();
    let rows_max = 4 * u64::from(TAIL_ROWS);
    let (other, report) = (store.clone(), Mutex::new(None));
    let overtake = |_| {
        let all = Allowance::new(&MergeLimits::default());
        *report.lock().unwrap() = Some(merge::run(&other, Goal::Packed, all, &Control::new())?);
        Ok(())
    };
    let late = merge::merge_some(&store, snapshot, &sources, rows_max, &Control::new(), &overtake);
    assert!(!late.unwrap(), "it replaced segments that were gone");
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
