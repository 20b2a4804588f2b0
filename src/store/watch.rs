//! What is done now and then while an index is built.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::merge::{self, Allowance, Goal, MergeLimits, MergeReport, Sparse};
use super::{Control, Store};
use crate::error::{Error, Result};
use crate::storage::hold;
use crate::vector::segment::Segment;

/// The time between two looks.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// Looks whether a segment is still worth its index, and gives back what others take of which most has died: while an index of many
/// rows is built, much may be added and deleted.
pub(super) struct Watch<'a> {
    store: &'a Store,
    segment: &'a Segment,
    control: &'a Control,
    looked: Mutex<Instant>,
    is_sparse: AtomicBool,
    merged: Mutex<MergeReport>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(store: &'a Store, segment: &'a Segment, control: &'a Control) -> Self {
        let (looked, is_sparse) = (Mutex::new(Instant::now()), AtomicBool::new(false));
        Watch { store, segment, control, looked, is_sparse, merged: Mutex::default() }
    }

    /// `Cancelled` when the segment is not worth its index any more.
    pub(super) fn step(&self) -> Result<()> {
        // Another thread that looks, looks for all.
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.elapsed() >= WATCH
        {
            match merge::sparse(self.store, self.segment)? {
                Sparse::This => self.is_sparse.store(true, Ordering::Relaxed),
                Sparse::Other => self.give_back()?,
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

    /// Whether the segment was found not to be worth its index any more.
    pub(super) fn is_sparse(&self) -> bool {
        self.is_sparse.load(Ordering::Relaxed)
    }

    /// Adds what was merged.
    pub(super) fn add_to(&self, report: &mut MergeReport) {
        let merged = std::mem::take(&mut *hold(&self.merged));
        report.merges += merged.merges;
        report.rows += merged.rows;
    }
}
