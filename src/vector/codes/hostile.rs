//! Indexes of codes with wrong contents, made of random words: for a fuzz target and for tests.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringTreemap;

use super::sections::Sections;
use super::{CodeIndex, Width, build};
use crate::codec::to_u64;
use crate::error::Result;
use crate::metric::Metric;
use crate::vector::exact::{Block, Query, Selection};
use crate::vector::hnsw::hostile::{METRICS, Words, mapped, near_bound, number, put, special, vectors};
use crate::vector::rows::Rows;

const DIMS: [usize; 6] = [1, 2, 7, 16, 33, 64];
/// More than are compared at a time are among them.
const ROWS: [usize; 5] = [0, 1, 17, 64, 150];
/// Changes of one index, at most.
const EDITS: u32 = 12;

/// Bytes as a fuzzer gives them: makes an index, damages it, and scans it.
#[cfg(fuzzing)]
pub(crate) fn fuzz_codes(bytes: &[u8]) {
    use crate::vector::hnsw::hostile::{is_refusal, words_of};

    if let Err(error) = attempt(&mut words_of(bytes)) {
        assert!(is_refusal(&error), "{error:?}");
    }
}

/// Makes an index, damages it, and scans it for the best of all and of some rows; returns how many were found of all. An
/// answer has as many rows as there are, different ones, of those that were allowed.
///
/// # Errors
/// What opening or searching said.
pub(super) fn attempt(words: Words<'_>) -> Result<usize> {
    let mut pick = |count: usize| usize::try_from(words()).unwrap_or(0) % count;
    let (width, metric) = (Width::ALL[pick(Width::ALL.len())], METRICS[pick(METRICS.len())]);
    let (dim, rows) = (DIMS[pick(DIMS.len())], ROWS[pick(ROWS.len())]);
    let mut blob = sound(width, metric, dim, rows)?.to_vec();
    damage(&mut blob, words);
    let index = CodeIndex::open(mapped(&blob))?;
    let shape = index.shape();
    let vector: Vec<f32> = (0..shape.dim).map(|_| number(words())).collect();
    // A vector that no query can be is not the index's fault.
    let Ok(query) = Query::new(shape.metric, &vector) else { return Ok(0) };
    let count = usize::try_from(words()).unwrap_or(0) % 200;
    let (first, one) = (1000, NonZero::<usize>::MIN);
    let scanned = |selection: &Selection<'_>| -> Result<Vec<usize>> {
        let mut found = index.nearest(&query, Rows::From(first), selection, count, one)?.positions;
        let len = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), len);
        Ok(found)
    };
    let all = scanned(&Selection::All)?;
    assert!(all.len() == count.min(shape.rows) && all.iter().all(|&position| position < shape.rows));
    let step = 1 + usize::try_from(words()).unwrap_or(0) % 9;
    let allowed: RoaringTreemap =
        (0..shape.rows).step_by(step).map(|position| first + to_u64(position)).collect();
    let some = scanned(&Selection::Only(&allowed))?;
    assert_eq!(to_u64(some.len()), allowed.len().min(to_u64(count)));
    assert!(some.iter().all(|&position| allowed.contains(first + to_u64(position))));
    Ok(all.len())
}

type Key = (u32, usize, usize, usize);

/// An index as it should be; each is built once.
fn sound(width: Width, metric: Metric, dim: usize, rows: usize) -> Result<Arc<Vec<u8>>> {
    static BUILT: Mutex<BTreeMap<Key, Arc<Vec<u8>>>> = Mutex::new(BTreeMap::new());
    let key = (width.number(), METRICS.iter().position(|&one| one == metric).unwrap_or(0), dim, rows);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = built.get(&key) {
        return Ok(Arc::clone(known));
    }
    let (vectors, norms) = vectors(rows, dim);
    let block = Block::new(&vectors, dim, Some(&norms), Rows::From(0))?;
    let mut blob = Vec::new();
    build(&block, metric, width, &|_| Ok(()), &mut |bytes: &[u8]| {
        blob.extend_from_slice(bytes);
        Ok(())
    })?;
    let blob = Arc::new(blob);
    built.insert(key, Arc::clone(&blob));
    Ok(blob)
}

/// Changes an index that is sound: single bytes, and what each section is made of.
fn damage(blob: &mut Vec<u8>, words: Words<'_>) {
    let Ok(sections) = Sections::open(blob) else { return };
    let place = |section: Result<&[u8]>| -> Range<usize> {
        let section = section.unwrap_or_default();
        let start = section.as_ptr().addr().saturating_sub(blob.as_ptr().addr());
        start..start + section.len()
    };
    let ranges = place(sections.ranges(blob).map(bytemuck::cast_slice));
    let squares = place(sections.squares(blob).map(bytemuck::cast_slice));
    let (codes, curve) = (place(sections.codes(blob)), place(sections.curve(blob)));
    let (header, all) = (0..ranges.start, 0..blob.len());
    let rows = u32::try_from(sections.shape().rows).unwrap_or(0);
    for _ in 0..words() % EDITS {
        let (kind, at, word) = (words() % 7, usize::try_from(words()).unwrap_or(0), words());
        match kind {
            0 => put(blob, &all, at, &word.to_le_bytes()[..1]),
            1 => put(blob, &header, at / 4 * 4, &near_bound(word, rows).to_le_bytes()),
            2 => put(blob, &codes, at, &word.to_le_bytes()),
            3 => put(blob, &ranges, at / 4 * 4, &special(word).to_le_bytes()),
            4 => put(blob, &squares, at / 4 * 4, &special(word).to_le_bytes()),
            5 => put(blob, &curve, at / 4 * 4, &special(word).to_le_bytes()),
            _ => blob.truncate(at % (blob.len() + 1)),
        }
    }
}
