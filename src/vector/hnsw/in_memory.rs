//! Builds an index in memory, for tests and for fuzzing.

use std::num::NonZero;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rkyv::util::AlignedVec;

use super::Params;
use super::build::{Draft, Step, build};
use crate::codec::to_usize;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{Bytes, hold};
use crate::vector::exact::Block;

/// As [`build`], but the blob is in memory.
pub(crate) fn build_in_memory(
    block: &Block<'_>,
    metric: Metric,
    params: Params,
    threads: NonZero<usize>,
    step: Step<'_>,
) -> Result<Bytes> {
    build(block, metric, params, threads, InMemory::new, step).map(InMemory::into_bytes)
}

/// An index that is written to memory.
#[derive(Debug)]
struct InMemory(Mutex<AlignedVec<64>>);

impl InMemory {
    /// Of so many bytes.
    #[expect(clippy::unnecessary_wraps, reason = "as a draft in a file, whose making can fail")]
    fn new(len: u64) -> Result<Self> {
        let mut bytes = AlignedVec::with_capacity(to_usize(len));
        bytes.resize(to_usize(len), 0);
        Ok(InMemory(Mutex::new(bytes)))
    }

    /// What was written.
    fn into_bytes(self) -> Bytes {
        Bytes::Owned(self.0.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Draft for InMemory {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut all = hold(&self.0);
        let range = to_usize(offset)..to_usize(offset).saturating_add(bytes.len());
        let place =
            all.get_mut(range).ok_or_else(|| Error::invalid("place in an index", "it is past the end"))?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn map(&self, range: Range<u64>) -> Result<Bytes> {
        let mut copy = AlignedVec::new();
        copy.extend_from_slice(
            hold(&self.0).get(to_usize(range.start)..to_usize(range.end)).unwrap_or_default(),
        );
        Ok(Bytes::Owned(copy))
    }
}
