//! What searches, writers, and the thread that merges and builds indexes leave to each other of the time.
//!
//! A search scans the rows that have no index yet: if rows come faster than indexes are built, each search takes longer than the
//! one before, without bound. And where three threads have two processors, each has to wait for some milliseconds now and then,
//! the time of many searches. So while there are searches, writers wait the longer the more rows have no index, and the
//! thread that builds steps aside for them. Without searches all go on as fast as they can.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::turns::{Share, Work};
use super::{Store, indexing, merge};

/// The time between two looks at what waits for an index.
const LOOK: Duration = Duration::from_millis(50);
/// Searches go on as long as the last was not longer ago.
const RECENT: Duration = Duration::from_secs(10);
/// With fewer processors one who searches, one who writes, and one who builds are in each other's way.
const PROCESSORS: usize = 3;
/// So many times as long as a writer took, at most, others wait.
const TIMES_MAX: u64 = 16;

/// When the last search was.
#[derive(Debug)]
pub(super) struct Searches {
    opened: Instant,
    /// In milliseconds since then, from one on; zero for none.
    last: AtomicU64,
}

impl Searches {
    pub(super) fn new() -> Self {
        Searches { opened: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Notes a search.
    pub(super) fn note(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Whether somebody searches, now and then at least.
    pub(super) fn go_on(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && u128::from(self.now().saturating_sub(last)) <= RECENT.as_millis()
    }
}

/// What the thread that merges does at each of its steps.
#[derive(Debug)]
pub(super) struct Pace {
    store: Store,
    work: Work,
    looked: Mutex<Option<Instant>>,
    steps_aside: bool,
}

impl Pace {
    pub(super) fn new(store: &Store) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let (work, looked) = (store.inner.turns.work(), Mutex::default());
        Pace { store: store.clone(), work, looked, steps_aside: processors < PROCESSORS }
    }

    /// Steps aside for writers, after a look at what waits for an index, if it is time for that.
    pub(super) fn step(&self) {
        // Another thread that looks, looks for all.
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.is_none_or(|looked| looked.elapsed() >= LOOK)
        {
            self.work.set_share(self.share());
            *looked = Some(Instant::now());
        }
        self.work.step_aside();
    }

    pub(super) fn share(&self) -> Share {
        if !self.store.inner.searches.go_on() {
            return Share::default();
        }
        // What cannot be read is told elsewhere.
        let hundredths = waiting(&self.store).map_or(0, |(rows, few)| hundredths(rows, few));
        Share { hundredths, steps_aside: self.steps_aside }
    }
}

/// The rows that searches scan until they have an index, and how many are few; nothing where none gets one.
fn waiting(store: &Store) -> Option<(u64, u64)> {
    let snapshot = store.snapshot().ok()?;
    let (view, options) = (snapshot.view(), store.options());
    let few = indexing::rows_min(indexing::kind(snapshot.txn()).ok()?, view, options)?;
    let full = merge::bounds(view, options)?.rows_min;
    let scanned = view.segments.iter().filter(|segment| !view.indexes.contains_key(&segment.id()));
    let rows = scanned.map(|segment| segment.count()).sum::<u64>() + view.counters.tail_rows;
    Some((rows, few.max(full)))
}

/// What the thread that builds has of the time of a writer: as the square of the rows, so that what waits stays bounded
/// however often each row is built into an index, and writers hardly notice where it is little.
fn hundredths(rows: u64, few: u64) -> u32 {
    let twentieths = rows.saturating_mul(20) / few.max(1);
    u32::try_from(twentieths.saturating_mul(twentieths).min(100 * TIMES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_rows_wait_the_more_of_the_time_is_for_those_who_build() {
        let few = 5_000;
        let shares: Vec<_> =
            [0, 100, 1_000, 2_500, 5_000, 7_500, 10_000, 1 << 40].map(|rows| hundredths(rows, few)).into();
        assert_eq!(shares, [0, 0, 16, 100, 400, 900, 1_600, 1_600]);
        assert_eq!(hundredths(1, 0), 400, "no division by nothing");
        assert_eq!(hundredths(u64::MAX, 1), 1_600);
    }

    #[test]
    fn searches_go_on_after_the_first() {
        let searches = Searches::new();
        assert!(!searches.go_on());
        searches.note();
        assert!(searches.go_on());
    }
}
