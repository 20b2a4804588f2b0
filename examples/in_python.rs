//! A store and an index as a shared library, which the tests load into Python beside other native libraries.
//!
//! Every function takes and gives numbers, so that Python's `ctypes` calls it without a header: `number` names a vector
//! that both sides know how to make. A negative result is an error, whose text is on stderr.

#![expect(unsafe_code, reason = "names that another language calls are exported")]
#![expect(clippy::cast_precision_loss, reason = "numbers below 2^24 are exact")]

use std::num::NonZero;
use std::sync::OnceLock;

use vdb::lab::Lab;
use vdb::{Control, Document, Error, IndexKind, MergeLimits, Metric, OpenOptions, Query, SearchPath, Store};

const DIM: u64 = 32;
/// Each addition has so many more documents, of numbers from here on, so that segments get indexes while others search.
const MORE: u64 = 7;
const MORE_FROM: u64 = 1 << 20;
/// Segments are sealed at so many rows.
const TAIL_ROWS: u64 = 1000;
/// Results: done, another error, an object of a process that is no longer this one.
const DONE: i64 = 0;
const FAILED: i64 = -1;
const FORKED: i64 = -2;

struct Loaded {
    store: Store,
    index: Lab,
}

static LOADED: OnceLock<Loaded> = OnceLock::new();

/// The vector of a number: no two are alike.
fn vector(number: u64) -> Vec<f32> {
    let value = |n: u64| {
        let mixed = (number * DIM + n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..DIM).map(value).collect()
}

fn document(number: u64) -> Document {
    Document::default().id(number.to_string()).vector(vector(number))
}

fn told(result: vdb::Result<i64>) -> i64 {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        if matches!(error, Error::Unavailable { .. }) { FORKED } else { FAILED }
    })
}

fn with(work: impl FnOnce(&Loaded) -> vdb::Result<i64>) -> i64 {
    LOADED.get().map_or(FAILED, |loaded| told(work(loaded)))
}

fn load(rows: u64) -> vdb::Result<Loaded> {
    let two = NonZero::<usize>::MIN.saturating_add(1);
    let tail_bytes = usize::try_from(TAIL_ROWS * DIM * 4).unwrap_or(0);
    let options = OpenOptions::new().index(IndexKind::HnswSq8).threads(two).tail_bytes_max(tail_bytes);
    let store = options.in_memory()?;
    store.add((0..rows).map(document))?;
    merge(&store)?;
    let vectors = (0..rows).flat_map(vector).collect();
    let index = Lab::build(vectors, usize::try_from(DIM).unwrap_or(0), Metric::Cosine, "sq8", two)?;
    Ok(Loaded { store, index })
}

fn merge(store: &Store) -> vdb::Result<i64> {
    store.merge(&MergeLimits::default(), &Control::new()).map(|_| DONE)
}

/// Makes a store and an index of the numbers below `rows`.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_load(rows: u64) -> i64 {
    told(load(rows).map(|loaded| if LOADED.set(loaded).is_ok() { DONE } else { FAILED }))
}

/// Adds a number to the store, and some others.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_add(number: u64) -> i64 {
    let others = (0..MORE).map(|n| document(MORE_FROM + MORE * number + n));
    with(|loaded| loaded.store.add([document(number)].into_iter().chain(others)).map(|_| DONE))
}

/// Merges segments and builds the indexes that are missing.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_merge(_: u64) -> i64 {
    with(|loaded| merge(&loaded.store))
}

/// One more than the number of the newest segment that has an index; 0 where none has one.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_newest_index(_: u64) -> i64 {
    with(|loaded| {
        let segments = loaded.store.stats()?.segments.into_iter();
        let newest = segments.filter(|segment| segment.index != "exact").map(|segment| segment.id + 1).max();
        Ok(newest.and_then(|id| i64::try_from(id).ok()).unwrap_or(0))
    })
}

fn find(number: u64, shaped: fn(Query) -> Query) -> i64 {
    with(|loaded| {
        let hits = loaded.store.search(&shaped(Query::vector(vector(number)).k(1)))?;
        Ok(hits.first().and_then(|hit| hit.id.parse().ok()).unwrap_or(FAILED))
    })
}

/// The number in the store whose vector is nearest to that of `number`.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_find(number: u64) -> i64 {
    find(number, Query::exact)
}

/// The same by the indexes of the store, where segments have one.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_find_near(number: u64) -> i64 {
    find(number, |query| query.path(SearchPath::Graph))
}

/// The same in an index without a store.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_find_indexed(number: u64) -> i64 {
    with(|loaded| {
        let rows = loaded.index.search(&vector(number), 1, 64)?;
        Ok(rows.first().and_then(|&row| i64::try_from(row).ok()).unwrap_or(FAILED))
    })
}
