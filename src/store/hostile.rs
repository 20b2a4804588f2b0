//! Files whose index has wrong contents under checksums that are right, made of random words: for a fuzz target and for a test.

use std::num::NonZero;
use std::sync::Arc;

use super::indexing::publish;
use super::{Background, Control, OpenOptions, Query, Store};
use crate::codec::to_u64;
use crate::document::Document;
use crate::error::Result;
use crate::storage::{BlobDraft, Bytes, Naming};
use crate::vector::hnsw::hostile::{Words, damage, number, words_from};
use crate::vector::hnsw::in_memory::build_in_memory;
use crate::vector::hnsw::{Codes, Params};
use crate::vector::segment::Segment;

/// So many that the planner takes the graph.
pub(super) const ROWS: usize = 6000;
const DIM: usize = 16;

/// A store in a file in memory, and what its index should be.
pub(crate) struct Hostile {
    store: Store,
    segment: Arc<Segment>,
    sound: Bytes,
}

/// What came of an index that lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was searched, or nothing was wrong that a search would see.
    Used,
    /// The planner has not asked for it.
    Scanned,
    /// It was found out, and the search was exact.
    Refused,
}

/// Bytes as a fuzzer gives them: puts an index damaged by them into a file, and searches that.
#[cfg(fuzzing)]
pub(crate) fn fuzz_file(bytes: &[u8]) {
    static MADE: std::sync::OnceLock<Hostile> = std::sync::OnceLock::new();
    let hostile = MADE.get_or_init(|| Hostile::new().expect("the store is sound"));
    let mut words = crate::vector::hnsw::hostile::words_of(bytes);
    hostile.attempt(&mut words).expect("an index can be wrong, no search fails for it");
}

pub(super) fn vector(words: Words<'_>) -> Vec<f32> {
    (0..DIM).map(|_| number(words() >> 16)).collect()
}

/// Makes these bytes the index of a segment, with checksums that are right.
pub(super) fn put(store: &Store, segment: &Segment, bytes: &[u8]) -> Result<()> {
    let container = Arc::clone(&store.file()?.container);
    let draft = BlobDraft::new(&container, to_u64(bytes.len()), Naming::AfterSync)?;
    draft.write_at(bytes, 0)?;
    assert!(publish(store, &container, segment, draft)?, "nobody merges");
    Ok(())
}

impl Hostile {
    pub(crate) fn new() -> Result<Self> {
        let mut words = words_from(29);
        let store = OpenOptions::new().background(Background::None).tail_bytes_max(64 << 10).in_memory()?;
        store.add((0..ROWS).map(|n| Document::from_vector(vector(&mut words)).id(n.to_string())))?;
        store.compact(&Control::new())?;
        let snapshot = store.snapshot()?;
        let view = snapshot.view();
        let segment = Arc::clone(&view.segments[0]);
        let params = Params { ef_construction: 16, m: 4, ..Params::new(Codes::Sq8) };
        let sound =
            build_in_memory(&segment.block()?, view.metric, params, NonZero::<usize>::MIN, &|_| Ok(()))?;
        drop(snapshot);
        Ok(Hostile { store, segment, sound })
    }

    /// Puts a damaged index into the file, with its checksums, and searches it. There are as many hits as are wanted, and those of the exact
    /// search where the index was found out; the check of the file sees nothing wrong with it.
    ///
    /// # Errors
    /// None for what is wrong with the index.
    pub(crate) fn attempt(&self, words: Words<'_>) -> Result<Outcome> {
        let Hostile { store, segment, sound } = self;
        let mut bytes = sound.to_vec();
        damage(&mut bytes, words);
        put(store, segment, &bytes)?;
        let query = Query::vector(vector(words)).recall(0.5);
        let exact = store.search(&query.clone().exact())?;
        let found = store.snapshot()?.explain(&query)?;
        assert_eq!(found.hits.len(), 10);
        if let Some(note) = found.plan.notes.first() {
            assert!(note.contains("index"), "{note}");
            assert_eq!(found.hits, exact);
            return Ok(Outcome::Refused);
        }
        Ok(if found.plan.path == "hnsw" { Outcome::Used } else { Outcome::Scanned })
    }
}
