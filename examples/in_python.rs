//! A store and an index as a shared library, which the tests load into Python beside other native libraries.
//!
//! Every function takes and gives numbers, so that Python's `ctypes` calls it without a header: `number` names a vector
//! that both sides know how to make. A negative result is an error, whose text is on stderr.

#![expect(unsafe_code, reason = "names that another language calls are exported")]
#![expect(clippy::cast_precision_loss, reason = "numbers below 2^24 are exact")]

use std::num::NonZero;
use std::sync::OnceLock;

use vdb::lab::Lab;
use vdb::{Document, Error, Metric, Query, Store};

const DIM: u64 = 32;
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
    let store = Store::in_memory()?;
    store.add((0..rows).map(document))?;
    let two = NonZero::<usize>::MIN.saturating_add(1);
    let vectors = (0..rows).flat_map(vector).collect();
    let index = Lab::build(vectors, usize::try_from(DIM).unwrap_or(0), Metric::Cosine, "sq8", two)?;
    Ok(Loaded { store, index })
}

/// Makes a store and an index of the numbers below `rows`.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_load(rows: u64) -> i64 {
    told(load(rows).map(|loaded| if LOADED.set(loaded).is_ok() { DONE } else { FAILED }))
}

/// Adds a number to the store.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_add(number: u64) -> i64 {
    with(|loaded| loaded.store.add([document(number)]).map(|_| DONE))
}

/// The number in the store whose vector is nearest to that of `number`.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_find(number: u64) -> i64 {
    with(|loaded| {
        let hits = loaded.store.search(&Query::vector(vector(number)).k(1))?;
        Ok(hits.first().and_then(|hit| hit.id.parse().ok()).unwrap_or(FAILED))
    })
}

/// The same in the index.
#[unsafe(no_mangle)]
pub extern "C" fn vdb_find_indexed(number: u64) -> i64 {
    with(|loaded| {
        let rows = loaded.index.search(&vector(number), 1, 64)?;
        Ok(rows.first().and_then(|&row| i64::try_from(row).ok()).unwrap_or(FAILED))
    })
}
