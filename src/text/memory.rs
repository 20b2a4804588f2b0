//! How much memory writing and merging segments takes, in bytes, at most.

use super::postings::Postings;
use crate::codec::to_usize;

/// The part of the memory budget that postings take before they become a segment.
const BUDGET_PARTS: u64 = 32;
/// Postings become a segment when they take so much, at least and at most.
const POSTINGS_MIN: u64 = 1 << 20;
const POSTINGS_MAX: u64 = 32 << 20;
/// The buffers of tantivy and of a blob.
const FIXED: u64 = 4 << 20;
/// What a merge holds for each row: its new place, its length, and a stretch of rows that stands alone.
const MERGED_ROW_BYTES: u64 = 40;

/// The memory of postings at which a segment is written, for a memory budget.
pub(crate) fn postings_max(budget: u64) -> u64 {
    (budget / BUDGET_PARTS).clamp(POSTINGS_MIN, POSTINGS_MAX)
}

/// What a writer takes that writes a segment as soon as its postings take `postings` bytes: these, the list of their terms, and
/// the files, which are smaller than the postings.
pub(crate) fn write_bytes(postings: u64) -> u64 {
    2 * postings + postings / 4 + FIXED
}

/// What a merge of segments takes: the files of the new one, which are together no larger than the old ones.
pub(crate) fn merge_bytes(rows: u64, blobs: u64) -> u64 {
    blobs + blobs / 8 + rows.saturating_mul(MERGED_ROW_BYTES) + FIXED
}

/// The largest segment that a merge may write, for a memory budget.
pub(crate) fn segment_max(budget: u64) -> u64 {
    (budget / 8).clamp(POSTINGS_MIN, 512 << 20)
}

impl Postings {
    /// Whether they are to become a segment: then there is room for one more text of the usual length.
    pub(crate) fn is_full(&self, max: u64) -> bool {
        self.bytes() >= to_usize(max - max / 8)
    }
}
