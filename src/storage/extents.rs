//! The free-space allocator: which pages may be written; pure, it touches no file.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Consecutive pages of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    /// The first page.
    pub(crate) start: u64,
    /// How many.
    pub(crate) pages: u64,
}

impl Run {
    /// The page after the last.
    pub(crate) fn end(self) -> u64 {
        self.start + self.pages
    }
}

/// Sorts the runs and refuses any two that share a page, or one that ends past the addressable file.
pub(crate) fn sort_disjoint(runs: &mut [(Run, &'static str)]) -> Result<()> {
    runs.sort_unstable();
    for (run, what) in &*runs {
        let end = run.start.checked_add(run.pages);
        if run.pages == 0 || end.is_none_or(|end| end > u64::from(u32::MAX)) {
            let detail = format!("run of {} pages at page {} is out of bounds", run.pages, run.start);
            return Err(Error::corrupt(*what, run.start.saturating_mul(super::PAGE_BYTES), detail));
        }
    }
    for pair in runs.windows(2) {
        let [(left, left_what), (right, right_what)] = pair else { continue };
        if left.end() > right.start {
            let detail = format!(
                "pages {}..{} overlap {left_what} at {}..{}",
                right.start,
                right.end(),
                left.start,
                left.end()
            );
            return Err(Error::corrupt(*right_what, right.start * super::PAGE_BYTES, detail));
        }
    }
    Ok(())
}

/// The free pages of a file, and those that become free when no older state is read any more.
///
/// Until [`FreeSpace::attach`] tells what is occupied, everything below the end counts as occupied.
#[derive(Debug)]
pub(crate) struct FreeSpace {
    /// The first page past everything that is or may be in use.
    end: u64,
    /// Start -> pages; neighbours are joined.
    free: BTreeMap<u64, u64>,
    /// Runs that readers of states before the number may still see; ascending by number.
    pending: Vec<(u64, Run)>,
    /// Runs that are not to become free, once for each who holds them.
    held: Vec<Run>,
}

impl FreeSpace {
    /// A file of which only the `end` is known.
    pub(crate) fn new(end: u64) -> Self {
        FreeSpace { end, free: BTreeMap::new(), pending: Vec::new(), held: Vec::new() }
    }

    /// The free runs, ascending.
    pub(crate) fn free_runs(&self) -> impl Iterator<Item = Run> {
        self.free.iter().map(|(&start, &pages)| Run { start, pages })
    }

    /// The pages that could be allocated below the end.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free.values().sum()
    }

    /// The pages that wait for readers.
    pub(crate) fn pending_pages(&self) -> u64 {
        self.pending.iter().map(|(_, run)| run.pages).sum()
    }

    /// Learns what is occupied (ascending and disjoint); the rest below the end is quarantined until no state before
    /// `generation` is read: a reader of an earlier writer's commit may still use it.
    pub(crate) fn attach(&mut self, occupied: &[Run], from: u64, generation: u64) {
        let mut next = from;
        for run in occupied {
            if run.start > next {
                self.pending.push((generation, Run { start: next, pages: run.start - next }));
            }
            next = next.max(run.end());
        }
        if self.end > next {
            self.pending.push((generation, Run { start: next, pages: self.end - next }));
        }
        self.end = self.end.max(next);
    }

    /// Takes `pages` pages: the first free run that fits, else the end of the file.
    pub(crate) fn allocate(&mut self, pages: u64) -> Result<Run> {
        self.allocate_within(pages, pages)
    }

    /// Takes `most` pages, or fewer: the first free run that has as many, else the first that has `least`, else the end of the file.
    pub(crate) fn allocate_within(&mut self, least: u64, most: u64) -> Result<Run> {
        let first = |pages| self.free.iter().find(|&(_, &free)| free >= pages);
        match first(most).or_else(|| first(least)).map(|(&start, &free)| (start, free)) {
            Some((start, free)) => Ok(self.take(start, free.min(most))),
            None => self.allocate_at_end(most),
        }
    }

    /// Takes `pages` pages that lie wholly below `limit`, if there are any.
    pub(crate) fn allocate_below(&mut self, pages: u64, limit: u64) -> Option<Run> {
        let start = self
            .free
            .iter()
            .find(|&(&start, &free)| free >= pages && start + pages <= limit)
            .map(|(&start, _)| start)?;
        Some(self.take(start, pages))
    }

    fn take(&mut self, start: u64, pages: u64) -> Run {
        if let Some(free) = self.free.remove(&start)
            && free > pages
        {
            self.free.insert(start + pages, free - pages);
        }
        Run { start, pages }
    }

    /// Takes `pages` pages past everything else, and free ones that lie right before the end.
    pub(crate) fn allocate_at_end(&mut self, pages: u64) -> Result<Run> {
        let tail = self.free.last_key_value().map(|(&start, &free)| Run { start, pages: free });
        let start = tail.filter(|tail| tail.end() == self.end).map_or(self.end, |tail| tail.start);
        let max = u64::from(u32::MAX);
        let end = start.checked_add(pages).filter(|&end| end <= max).ok_or_else(|| Error::Limit {
            what: "file length in pages".into(),
            found: start.saturating_add(pages),
            max,
        })?;
        let free = self.free.remove(&start).unwrap_or(0);
        if free > pages {
            self.free.insert(end, free - pages);
        }
        self.end = self.end.max(end);
        Ok(Run { start, pages })
    }

    /// Gives pages back that nobody can be reading: they were never named by a commit.
    pub(crate) fn release(&mut self, run: Run) {
        if run.pages == 0 {
            return;
        }
        let (mut start, mut pages) = (run.start, run.pages);
        if let Some((&left, &left_pages)) = self.free.range(..start).next_back()
            && left + left_pages == start
        {
            self.free.remove(&left);
            (start, pages) = (left, left_pages + pages);
        }
        if let Some(right_pages) = self.free.remove(&run.end()) {
            pages += right_pages;
        }
        self.free.insert(start, pages);
    }

    /// Gives pages back once no state before `generation` is read.
    pub(crate) fn release_after(&mut self, run: Run, generation: u64) {
        if run.pages > 0 {
            self.pending.push((generation, run));
            self.pending.sort_by_key(|&(generation, _)| generation);
        }
    }

    /// Keeps a run that is in use or waits from becoming free, until it is let go as often.
    pub(crate) fn hold(&mut self, run: Run) {
        self.held.push(run);
    }

    /// Lets go of a run; if it waits, the next [`FreeSpace::ripen`] may free it.
    pub(crate) fn let_go(&mut self, run: Run) {
        if let Some(at) = self.held.iter().position(|held| *held == run) {
            self.held.swap_remove(at);
        }
    }

    /// Frees what waited for states that nobody reads, and nobody holds; `unread(g)` says that no state before `g` is read.
    pub(crate) fn ripen(&mut self, mut unread: impl FnMut(u64) -> Result<bool>) -> Result<()> {
        let mut ripe = 0;
        while let Some(&(generation, _)) = self.pending.get(ripe) {
            if !unread(generation)? {
                break;
            }
            ripe += self.pending.iter().skip(ripe).take_while(|&&(g, _)| g == generation).count();
        }
        let (held, free): (Vec<_>, Vec<_>) =
            self.pending.drain(..ripe).partition(|(_, run)| self.held.contains(run));
        self.pending.splice(..0, held);
        for (_, run) in free {
            self.release(run);
        }
        Ok(())
    }

    /// Drops free pages at the end of the file and returns the new end.
    pub(crate) fn trim(&mut self) -> u64 {
        if let Some((&start, &pages)) = self.free.last_key_value()
            && start + pages == self.end
        {
            self.free.remove(&start);
            self.end = start;
        }
        self.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overlaps_and_out_of_bounds_runs_are_corruption() {
        let run = |start, pages| (Run { start, pages }, "blob");
        assert!(sort_disjoint(&mut [run(40, 4), run(36, 4)]).is_ok());
        assert!(sort_disjoint(&mut [run(40, 4), run(36, 5)]).is_err());
        assert!(sort_disjoint(&mut [run(40, 0)]).is_err());
        assert!(sort_disjoint(&mut [run(u64::MAX, 2)]).is_err());
    }

    #[test]
    fn quarantined_space_waits_for_readers() {
        let mut space = FreeSpace::new(100);
        space.attach(&[Run { start: 40, pages: 10 }], 36, 5);
        assert_eq!(space.allocate(2).unwrap().start, 100);
        space.ripen(|generation| Ok(generation <= 4)).unwrap();
        assert_eq!(space.allocate(2).unwrap().start, 102);
        space.ripen(|generation| Ok(generation <= 5)).unwrap();
        assert_eq!(space.allocate(2).unwrap().start, 36);
        assert_eq!(space.allocate_below(50, 100).unwrap().start, 50);
        assert_eq!(space.allocate_below(50, 100), None);
    }

    #[test]
    fn fewer_pages_are_taken_only_where_as_many_as_wanted_are_not_free() {
        let mut space = FreeSpace::new(100);
        for run in [Run { start: 40, pages: 5 }, Run { start: 50, pages: 3 }, Run { start: 60, pages: 8 }] {
            space.release(run);
        }
        assert_eq!(space.allocate_within(4, 8).unwrap(), Run { start: 60, pages: 8 });
        assert_eq!(space.allocate_within(4, 8).unwrap(), Run { start: 40, pages: 5 });
        assert_eq!(space.allocate_within(4, 8).unwrap(), Run { start: 100, pages: 8 });
        assert_eq!(space.allocate_within(1, 2).unwrap(), Run { start: 50, pages: 2 });
    }

    #[test]
    fn what_is_held_waits_until_it_is_let_go_as_often() {
        let mut space = FreeSpace::new(100);
        let (held, other) = (Run { start: 40, pages: 4 }, Run { start: 50, pages: 2 });
        space.hold(held);
        space.hold(held);
        space.release_after(held, 1);
        space.release_after(other, 2);
        let pending = |space: &mut FreeSpace| {
            space.ripen(|_| Ok(true)).unwrap();
            (space.pending_pages(), space.free_pages())
        };
        assert_eq!(pending(&mut space), (4, 2));
        space.let_go(held);
        assert_eq!(pending(&mut space), (4, 2));
        space.let_go(held);
        assert_eq!(pending(&mut space), (0, 6));
    }

    proptest! {
        /// Allocated runs never overlap, and what is given back is found again.
        #[test]
        fn never_hands_out_a_page_twice(ops in prop::collection::vec((0u8..4, 1u64..20), 1..200)) {
            let mut space = FreeSpace::new(36);
            let mut held: Vec<Run> = Vec::new();
            let mut generation = 0;
            for (op, n) in ops {
                match op {
                    0 | 1 => held.push(space.allocate(n).unwrap()),
                    2 if !held.is_empty() => {
                        generation += 1;
                        let run = held.swap_remove(crate::codec::to_usize(n) % held.len());
                        space.release_after(run, generation);
                    }
                    _ => space.ripen(|g| Ok(g + 3 <= generation)).unwrap(),
                }
                let mut seen = BTreeSet::new();
                for run in &held {
                    for page in run.start..run.end() {
                        prop_assert!(seen.insert(page));
                    }
                }
                let held_pages: u64 = held.iter().map(|run| run.pages).sum();
                prop_assert_eq!(held_pages + space.free_pages() + space.pending_pages(), space.end - 36);
            }
            for run in held.drain(..) {
                space.release(run);
            }
            space.ripen(|_| Ok(true)).unwrap();
            prop_assert_eq!(space.trim(), 36);
        }
    }
}
