//! What is done beside searches: that it hinders them little, and that nothing is lost by it.

use super::merge::{self, DIM, TAIL_ROWS, add, assert_sound, merge_all};
use super::*;
use crate::store::pace::Pace;
use crate::store::turns::Share;

/// Of a store whose segments all are to have indexes.
fn options() -> OpenOptions {
    merge::options(Background::None).index(IndexKind::Sq8).index_rows_min(100)
}

fn create() -> Store {
    create_on(&RecordingFile::new(Vec::new()), options())
}

fn search(store: &Store) -> Vec<Hit> {
    store.search(&Query::vector(vec![1.0; usize::from(DIM)]).k(10_000)).unwrap()
}

/// The segments, and how many of them have an index.
fn indexed(store: &Store) -> (usize, usize) {
    let segments = store.stats().unwrap().segments;
    (segments.len(), segments.iter().filter(|segment| segment.index != "exact").count())
}

/// A store of four segments, three of which have an index.
fn four_segments() -> Store {
    four_segments_on(&RecordingFile::new(Vec::new()))
}

fn four_segments_on(file: &RecordingFile) -> Store {
    let store = create_on(file, options());
    add(&store, 3);
    assert_eq!(merge_all(&store, &Control::new()).unwrap().indexes, 3);
    add(&store, 1);
    assert_eq!(indexed(&store), (4, 3));
    store
}

#[test]
fn a_merged_segment_is_published_with_its_index() {
    let store = four_segments();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (other, looks) = (store.clone(), Arc::clone(&seen));
    let control = Control::new().on_progress(move |progress| {
        if progress.stage == "index" {
            hold(&looks).push(indexed(&other));
        }
    });
    let report = merge_all(&store, &control).unwrap();
    assert_eq!((report.merges, report.indexes, report.indexes_waiting), (1, 1, 0));
    let seen = hold(&seen);
    assert!(!seen.is_empty() && seen.iter().all(|&seen| seen == (4, 3)), "{seen:?}");
    assert_eq!(indexed(&store), (1, 1));
    assert_sound(&store, 4 * TAIL_ROWS);
}

#[test]
fn a_merge_is_kept_when_the_building_of_its_index_is_stopped() {
    let store = four_segments();
    let token = CancelToken::new();
    let cancel = token.clone();
    let control = Control::new().cancel(&token).on_progress(move |progress| {
        if progress.stage == "index" {
            cancel.cancel();
        }
    });
    assert!(matches!(merge_all(&store, &control), Err(Error::Cancelled)));
    assert_eq!(indexed(&store), (1, 0));
    assert_sound(&store, 4 * TAIL_ROWS);
    assert_eq!(merge_all(&store, &Control::new()).unwrap().indexes, 1);
    assert_sound(&store, 4 * TAIL_ROWS);
}

#[test]
fn a_merge_is_kept_when_its_index_cannot_be_written() {
    let file = RecordingFile::new(Vec::new());
    let store = four_segments_on(&file);
    let is_done = Mutex::new(false);
    let disk = file.clone();
    let control = Control::new().on_progress(move |progress| {
        if progress.stage == "index" && !std::mem::replace(&mut *hold(&is_done), true) {
            disk.recording().fail_once = true;
        }
    });
    let report = merge_all(&store, &control).unwrap();
    assert_eq!((report.merges, report.indexes, indexed(&store)), (1, 1, (1, 1)), "built after it");
    assert_sound(&store, 4 * TAIL_ROWS);
    drop(store);
    assert_sound(&open_on(&file, options()).unwrap(), 4 * TAIL_ROWS);
}

#[test]
fn a_merge_is_published_at_once_when_much_dies_while_its_index_is_built() {
    let store = four_segments();
    let (other, is_done) = (store.clone(), Mutex::new(false));
    let control = Control::new().on_progress(move |progress| {
        if progress.stage == "index" && !std::mem::replace(&mut *hold(&is_done), true) {
            other.delete((0..TAIL_ROWS).map(|n| n.to_string())).unwrap();
            std::thread::sleep(crate::store::watch::WATCH);
        }
    });
    let report = merge_all(&store, &control).unwrap();
    // The first of the four was dead, which would be merged alone; with the others it has been.
    assert_eq!((report.merges, report.indexes), (1, 1));
    assert_eq!(indexed(&store), (1, 1));
    assert_eq!(search(&store).len(), usize::from(3 * TAIL_ROWS));
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

/// Beside searches: without any, each index comes in its turn.
#[test]
fn what_is_added_while_a_large_index_is_built_has_one_before() {
    for searches in [false, true] {
        let store = four_segments();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (other, looks) = (store.clone(), Arc::clone(&seen));
        let control = Control::new().on_progress(move |progress| {
            if progress.stage != "index" {
                return;
            }
            if hold(&looks).is_empty() {
                if searches {
                    search(&other);
                }
                add(&other, 1);
                std::thread::sleep(crate::store::watch::WATCH);
            }
            hold(&looks).push(indexed(&other));
        });
        let report = merge_all(&store, &control).unwrap();
        // What is merged is scanned until then, too.
        let indexes = if searches { 3 } else { 2 };
        assert_eq!((report.merges, report.indexes, report.indexes_waiting), (1, indexes, 0));
        let before = hold(&seen).contains(&(5, 5));
        assert_eq!(before, searches, "{:?}", hold(&seen));
        assert_eq!(indexed(&store), (2, 2));
        assert_sound(&store, 5 * TAIL_ROWS);
    }
}

#[test]
fn writers_leave_time_where_searches_scan_rows_without_an_index() {
    let store = create();
    add(&store, 3);
    let pace = Pace::new(&store);
    assert_eq!(pace.share(), Share::default(), "nobody searches");
    search(&store);
    assert_eq!(pace.share().hundredths, 1_600);
    merge_all(&store, &Control::new()).unwrap();
    assert_eq!(pace.share().hundredths, 0, "all have an index");
    let exact = merge::options(Background::None).index(IndexKind::Exact);
    let exact = create_on(&RecordingFile::new(Vec::new()), exact);
    add(&exact, 1);
    search(&exact);
    assert_eq!(Pace::new(&exact).share().hundredths, 0, "none will have one");
}

#[test]
fn new_segments_are_ready_where_somebody_searches() {
    let outlines = |store: &Store| {
        let memory = store.memory().components;
        memory.iter().find(|share| share.component == "outlines").map(|share| share.bytes)
    };
    for searches in [false, true] {
        let store = create();
        add(&store, 1);
        if searches {
            search(&store);
        }
        assert_eq!(outlines(&store), Some(0));
        add(&store, 1);
        assert_eq!(outlines(&store) > Some(0), searches);
    }
}
