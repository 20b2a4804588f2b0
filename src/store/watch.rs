//! What is done now and then while an index is built.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::merge::{self, Allowance, Goal, MergeLimits, MergeReport, Sparse};
use super::{Control, Store, indexing};
use crate::error::{Error, Result};
use crate::storage::hold;
use crate::vector::segment::Segment;

/// The time between two looks.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// A segment takes little time that has so many times fewer rows.
const SMALLER: u64 = 3;

/// Looks whether a segment is still worth its index, and gives back what others take of which most has died: while an index of many
/// rows is built, much may be added and deleted. Where somebody searches, what is added gets indexes meanwhile.
pub(super) struct Watch<'a> {
    store: &'a Store,
    segment: &'a Segment,
    control: &'a Control,
    /// Whether it merges what is mostly dead elsewhere; else that, too, ends the building.
    gives_back: bool,
    looked: Mutex<Instant>,
    is_sparse: AtomicBool,
    merged: Mutex<MergeReport>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(store: &'a Store, segment: &'a Segment, control: &'a Control) -> Self {
        let (looked, is_sparse) = (Mutex::new(Instant::now()), AtomicBool::new(false));
        Watch { store, segment, control, gives_back: true, looked, is_sparse, merged: Mutex::default() }
    }

    /// Over a segment that is not published yet: what others merge meanwhile may be what it was made from.
    pub(super) fn ahead(store: &'a Store, segment: &'a Segment, control: &'a Control) -> Self {
        Watch { gives_back: false, ..Watch::new(store, segment, control) }
    }

    /// `Cancelled` when the segment is not worth its index any more.
    pub(super) fn step(&self) -> Result<()> {
        // Another thread that looks, looks for all.
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.elapsed() >= WATCH
        {
            match merge::sparse(self.store, self.segment)? {
                Sparse::Other if self.gives_back => self.give_back()?,
                Sparse::This | Sparse::Other => self.is_sparse.store(true, Ordering::Relaxed),
                Sparse::None if self.store.inner.searches.go_on() => self.build_smaller()?,
                Sparse::None => {}
            }
            *looked = Instant::now();
        }
        if self.is_sparse() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Writes anew what is mostly dead, which is fewer rows than were deleted.
    fn give_back(&self) -> Result<()> {
        let all = Allowance::new(&MergeLimits::default());
        let mut merged = hold(&self.merged);
        *merged = merge::run(self.store, Goal::Alive, all, *merged, self.control)?;
        Ok(())
    }

    /// Builds the indexes of segments that take little time: searches scan them until this one is built.
    fn build_smaller(&self) -> Result<()> {
        let (all, rows_max) = (Allowance::new(&MergeLimits::default()), self.segment.count() / SMALLER);
        let mut merged = hold(&self.merged);
        indexing::build_missing(self.store, rows_max, all, &mut merged, self.control).map(drop)
    }

    /// Whether the segment was found not to be worth its index any more.
    pub(super) fn is_sparse(&self) -> bool {
        self.is_sparse.load(Ordering::Relaxed)
    }

    /// Adds what was merged.
    pub(super) fn add_to(&self, report: &mut MergeReport) {
        let merged = std::mem::take(&mut *hold(&self.merged));
        report.merges += merged.merges;
        report.rows += merged.rows;
        report.indexes += merged.indexes;
    }
}
