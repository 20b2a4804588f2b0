//! Indexes with wrong contents, made of random words: for a fuzz target and for tests.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

use super::in_memory::build_in_memory;
use super::{Codes, Index, Params, Sections, Wanted};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::Bytes;
use crate::vector::exact::{Block, Query, Selection};
use crate::vector::kernel::inverse_norm;
use crate::vector::rows::Rows;

/// Gives words: random ones, or those of a fuzzer, and zero when there are no more.
pub(crate) type Words<'w> = &'w mut dyn FnMut() -> u32;

const DIMS: [usize; 5] = [1, 4, 7, 16, 24];
const ROWS: [usize; 5] = [0, 1, 2, 17, 60];
const LINKS: [i32; 3] = [2, 3, 16];
/// One index in so many has sketches: of more rows, and longer ones.
const SKETCHED: usize = 16;
const SKETCHED_SHAPE: (Codes, usize, usize, i32) = (Codes::Sq8, 128, 1000, 3);
pub(crate) const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];
/// Changes of one index, at most.
const EDITS: u32 = 12;

/// Bytes as a fuzzer gives them: makes an index, damages it, and searches it.
#[cfg(fuzzing)]
pub(crate) fn fuzz_index(bytes: &[u8]) {
    if let Err(error) = attempt(&mut words_of(bytes)) {
        assert!(is_refusal(&error), "{error:?}");
    }
}

/// The words of a fuzzer's bytes, and zero when there are no more.
#[cfg(fuzzing)]
pub(crate) fn words_of(bytes: &[u8]) -> impl FnMut() -> u32 {
    let mut words =
        bytes.chunks(4).map(|chunk| chunk.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)));
    move || words.next().unwrap_or(0)
}

/// Makes an index, damages it, searches its graph and scans its sketches; returns how many rows the graph found. An answer has
/// the shape of one.
///
/// # Errors
/// What opening or searching said.
pub(super) fn attempt(words: Words<'_>) -> Result<usize> {
    let mut pick = |count: usize| usize::try_from(words()).unwrap_or(0) % count;
    let (codes, metric) = (Codes::ALL[pick(Codes::ALL.len())], METRICS[pick(METRICS.len())]);
    let (dim, rows, m) = (DIMS[pick(DIMS.len())], ROWS[pick(ROWS.len())], LINKS[pick(LINKS.len())]);
    let (codes, dim, rows, m) = if pick(SKETCHED) == 1 { SKETCHED_SHAPE } else { (codes, dim, rows, m) };
    let mut blob = sound(codes, metric, dim, rows, m)?.to_vec();
    damage(&mut blob, words);
    let index = Index::open(mapped(&blob))?;
    let shape = index.shape().clone();
    let vector: Vec<f32> = (0..shape.dim).map(|_| number(words())).collect();
    // A vector that no query can be is not the index's fault.
    let Ok(query) = Query::new(shape.metric, &vector) else { return Ok(0) };
    let mut pick = |count: usize| usize::try_from(words()).unwrap_or(0) % count;
    let wanted = Wanted { candidates: pick(80), effort: pick(100) };
    let (near, _) = index.near(&query, wanted)?;
    assert!(near.len() <= wanted.candidates);
    assert!(near.iter().all(|near| near.position < shape.rows && !near.score.is_nan()));
    let mut positions: Vec<usize> = near.iter().map(|near| near.position).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), near.len());
    let (rows, one) = (Rows::From(0), NonZero::<usize>::MIN);
    let scanned = index.scan(&query, rows, &Selection::All, wanted.candidates, one)?.positions;
    assert!(scanned.iter().all(|&position| position < shape.rows));
    // Whatever the sketches say, as many as were asked for are found.
    let all = if shape.sketch_dims == 0 { 0 } else { wanted.candidates.min(shape.rows) };
    assert_eq!(scanned.len(), all);
    Ok(near.len())
}

type Key = (i32, usize, usize, usize, i32);

/// An index as it should be; each is built once.
fn sound(codes: Codes, metric: Metric, dim: usize, rows: usize, m: i32) -> Result<Arc<Bytes>> {
    static BUILT: Mutex<BTreeMap<Key, Arc<Bytes>>> = Mutex::new(BTreeMap::new());
    let key = (codes.number(), METRICS.iter().position(|&one| one == metric).unwrap_or(0), dim, rows, m);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = built.get(&key) {
        return Ok(Arc::clone(known));
    }
    let (vectors, norms) = vectors(rows, dim);
    let block = Block::new(&vectors, dim, Some(&norms), Rows::From(0))?;
    let params = Params { m, ef_construction: 8, ..Params::new(codes) };
    let blob = Arc::new(build_in_memory(&block, metric, params, NonZero::<usize>::MIN, &|_| Ok(()))?);
    built.insert(key, Arc::clone(&blob));
    Ok(blob)
}

/// Words that are the same for the same seed.
pub(crate) fn words_from(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ state >> 15
    }
}

/// Vectors, the same for the same numbers, and what their norms are divided by.
pub(crate) fn vectors(rows: usize, dim: usize) -> (Vec<f32>, Vec<f32>) {
    let mut words = words_from(1);
    let vectors: Vec<f32> = (0..rows * dim).map(|_| number(words())).collect();
    let norms = vectors.chunks_exact(dim).map(inverse_norm).collect();
    (vectors, norms)
}

/// Makes many attempts as the fuzz target does, from words that are the same in every run; many must be refused, and many answered.
#[cfg(test)]
pub(crate) fn many(seed: u32, attempt: fn(Words<'_>) -> Result<usize>) {
    let (mut words, mut refused, mut answered) = (words_from(seed), 0, 0);
    for n in 0..20_000 {
        match attempt(&mut words) {
            Ok(_) => answered += 1,
            Err(error) if is_refusal(&error) => refused += 1,
            Err(error) => panic!("{n}: {error:?}"),
        }
    }
    assert!(refused > 2000 && answered > 2000, "{refused} refused, {answered} answered");
}

/// A number from -1 to 1.
pub(crate) fn number(word: u32) -> f32 {
    f32::from(u16::try_from(word & 0xffff).unwrap_or(0)) / 32_768.0 - 1.0
}

pub(crate) fn mapped(bytes: &[u8]) -> Bytes {
    // No map is empty.
    let map = MmapMut::map_anon(bytes.len().max(1)).and_then(|mut map| {
        if let Some(to) = map.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
        }
        map.make_read_only()
    });
    Bytes::Mapped(map.expect("there is memory"))
}

/// Changes an index that is sound: single bytes, and what each section is made of.
pub(crate) fn damage(blob: &mut Vec<u8>, words: Words<'_>) {
    let Ok(sections) = Sections::open(blob) else { return };
    let shape = sections.shape().clone();
    let place = |section: Result<&[u8]>| -> Range<usize> {
        let section = section.unwrap_or_default();
        let start = section.as_ptr().addr().saturating_sub(blob.as_ptr().addr());
        start..start + section.len()
    };
    let links = place(sections.links(blob).map(bytemuck::cast_slice));
    let ranges = place(sections.ranges(blob).map(bytemuck::cast_slice));
    let (levels, codes) = (place(sections.levels(blob)), place(sections.codes(blob)));
    let curve = place(sections.curve(blob));
    let (basis, sketches, biases) =
        (sections.basis_range(), sections.sketches_range(), sections.biases_range());
    let (header, all) = (0..levels.start, 0..blob.len());
    let rows = u32::try_from(shape.rows).unwrap_or(0);
    for _ in 0..words() % EDITS {
        let (kind, at, word) = (words() % 14, usize::try_from(words()).unwrap_or(0), words());
        match kind {
            0 => put(blob, &all, at, &word.to_le_bytes()[..1]),
            1 => put(blob, &links, at / 4 * 4, &near_bound(word, rows).to_le_bytes()),
            // What the check of links lets pass.
            2 => put(blob, &links, at / 4 * 4, &word.checked_rem(rows).unwrap_or(0).to_le_bytes()),
            3 => put(blob, &levels, at, &word.to_le_bytes()[..1]),
            4 => put(blob, &header, at / 4 * 4, &near_bound(word, rows).to_le_bytes()),
            5 => put(blob, &codes, at, &special(word).to_le_bytes()),
            6 => fill(blob, &codes, at, word),
            7 => put(blob, &ranges, at / 4 * 4, &special(word).to_le_bytes()),
            8 => put(blob, &curve, at / 4 * 4, &special(word).to_le_bytes()),
            9 => put(blob, &basis, at / 4 * 4, &special(word).to_le_bytes()),
            10 => put(
                blob,
                &(basis.start..basis.end.min(basis.start + 512)),
                at / 4 * 4,
                &special(word).to_le_bytes(),
            ),
            11 => put(blob, &biases, at / 4 * 4, &special(word).to_le_bytes()),
            12 => fill(blob, &sketches, at, word),
            _ => blob.truncate(at % (blob.len() + 1)),
        }
    }
}

/// Writes bytes into a part of the blob, as far as both go.
pub(crate) fn put(blob: &mut [u8], part: &Range<usize>, at: usize, bytes: &[u8]) {
    let Some(part) = blob.get_mut(part.clone()).filter(|part| !part.is_empty()) else { return };
    let start = at % part.len();
    for (to, from) in part.iter_mut().skip(start).zip(bytes) {
        *to = *from;
    }
}

/// Makes a stretch of a part one byte over and over, such as codes that are no numbers.
fn fill(blob: &mut [u8], part: &Range<usize>, at: usize, word: u32) {
    let (byte, len) = (word.to_le_bytes()[0], usize::try_from(word >> 8).unwrap_or(0) % 4096);
    put(blob, part, at, &vec![byte; len]);
}

/// A number near those at which something changes.
pub(crate) fn near_bound(word: u32, rows: u32) -> u32 {
    let bounds = [0, rows, u32::MAX, 1 << 31, 1 << 16, 64, 256, word];
    let bound = bounds[usize::try_from(word % 8).unwrap_or(0)];
    bound.wrapping_add(word >> 3 & 3).wrapping_sub(1)
}

/// The bits of a number that is none, or unlike others.
pub(crate) fn special(word: u32) -> u32 {
    let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0, f32::MIN_POSITIVE, 0.0, 1.0];
    let number = numbers[usize::try_from(word % 8).unwrap_or(0)].to_bits();
    if word & 8 == 0 { number } else { word }
}

/// Whether an error is one that wrong contents may give.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Version { .. })
}
