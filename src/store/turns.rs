//! One writer at a time, in the order in which they came, with a wait that can be stopped, which the wait of redb cannot.
//!
//! Beside them the thread that merges and builds indexes: writers leave time to it, and it steps aside while they write.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Control;
use crate::error::{Error, Result};
use crate::storage::{hold, process};

/// The time between two looks at the cancel token.
const PATIENCE: Duration = Duration::from_millis(20);
/// What writers and the thread that merges wait for each other to step aside.
const ASIDE_MAX: Duration = Duration::from_millis(20);
/// The most that a writer waits after the one before, while the thread that merges works.
const OWED_MAX: Duration = Duration::from_millis(500);

/// Who of this process writes, and who waits for it.
#[derive(Debug)]
pub(super) struct Turns {
    line: Mutex<Line>,
    changed: Condvar,
    owed_max: Duration,
    aside_max: Duration,
}

/// Without an order a thread that writes again and again would take its next turn before another wakes up: merges, which write at
/// their end, waited for seconds.
#[derive(Debug, Default)]
struct Line {
    is_taken: bool,
    /// The numbers of those who wait, the first in front.
    waiting: VecDeque<u64>,
    /// How many have come.
    came: u64,
    /// Who had the last turn, or has it.
    last: u64,
    /// When the last turn ended, and how long it took.
    ended: Option<(Instant, Duration)>,
    share: Share,
    /// Whether the thread that merges is at work where a writer would be in its way.
    is_working: bool,
    /// The turn that lasted longer than that thread waits.
    outlasting: Option<u64>,
    /// How many wait to write what that thread, or another for it, has made.
    publishing: usize,
}

/// What the thread that merges has of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// So many hundredths of the time of a turn pass before the next.
    pub(super) hundredths: u32,
    /// Whether it waits meanwhile for the turn to end, as there are too few processors for both and a search.
    pub(super) steps_aside: bool,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    began: Instant,
    /// Whether the next writer owes time for it.
    counts: bool,
    process: u32,
}

/// The thread that merges, as long as there is work.
#[derive(Debug)]
pub(super) struct Work(Arc<Turns>);

impl Default for Turns {
    fn default() -> Self {
        let (line, changed) = (Mutex::default(), Condvar::new());
        Turns { line, changed, owed_max: OWED_MAX, aside_max: ASIDE_MAX }
    }
}

impl Line {
    /// What the next writer has still to wait.
    fn owed(&self, most: Duration) -> Duration {
        let Some((ended, took)) = self.ended else { return Duration::ZERO };
        let all = (took.saturating_mul(self.share.hundredths) / 100).min(most);
        all.saturating_sub(ended.elapsed())
    }
}

impl Turns {
    /// Waits until nobody else writes, nobody is to write before, and the thread that merges has had its share of the time.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn take(self: &Arc<Self>, control: &Control) -> Result<Turn> {
        let mut line = hold(&self.line);
        let own = line.came;
        line.came += 1;
        line.waiting.push_back(own);
        loop {
            let is_next = !line.is_taken && line.publishing == 0 && line.waiting.front() == Some(&own);
            let wait = if is_next { line.owed(self.owed_max) } else { PATIENCE };
            if wait.is_zero() {
                break;
            }
            if control.is_cancelled() {
                line.waiting.retain(|&other| other != own);
                self.changed.notify_all();
                return Err(Error::Cancelled);
            }
            line = self.wait(line, wait.min(PATIENCE));
        }
        line.waiting.pop_front();
        (line.is_taken, line.last) = (true, own);
        let came = Instant::now();
        while line.is_working && line.publishing == 0 && came.elapsed() < self.aside_max {
            line = self.wait(line, self.aside_max);
        }
        Ok(self.turn(true))
    }

    /// Waits until nobody writes; before all who wait in line. For what merges and the like publish, which is short.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn take_first(self: &Arc<Self>, control: &Control) -> Result<Turn> {
        let mut line = hold(&self.line);
        let own = line.came;
        line.came += 1;
        line.publishing += 1;
        self.changed.notify_all();
        while line.is_taken && !control.is_cancelled() {
            line = self.wait(line, PATIENCE);
        }
        line.publishing -= 1;
        if line.is_taken {
            return Err(Error::Cancelled);
        }
        (line.is_taken, line.last) = (true, own);
        Ok(self.turn(false))
    }

    /// Waits until something changes, and not longer.
    fn wait<'a>(&self, line: MutexGuard<'a, Line>, most: Duration) -> MutexGuard<'a, Line> {
        self.changed.wait_timeout(line, most).unwrap_or_else(PoisonError::into_inner).0
    }

    fn turn(self: &Arc<Self>, counts: bool) -> Turn {
        Turn { turns: Arc::clone(self), began: Instant::now(), counts, process: process() }
    }

    /// Says that the thread that merges begins to work.
    pub(super) fn work(self: &Arc<Self>) -> Work {
        Work(Arc::clone(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may hold the mutex for ever.
        if process() == self.process {
            let mut line = hold(&self.turns.line);
            line.is_taken = false;
            if self.counts {
                line.ended = Some((Instant::now(), self.began.elapsed()));
            }
            drop(line);
            self.turns.changed.notify_all();
        }
    }
}

impl Work {
    /// Says how much of the time this thread has from now on.
    pub(super) fn set_share(&self, share: Share) {
        let mut line = hold(&self.0.line);
        line.share = share;
        line.is_working = share.steps_aside;
        drop(line);
        self.0.changed.notify_all();
    }

    /// Where it is to step aside, waits while somebody writes, but once for each turn, and not long.
    pub(super) fn step_aside(&self) {
        let mut line = hold(&self.0.line);
        if !line.share.steps_aside {
            return;
        }
        let came = Instant::now();
        while line.is_taken && line.outlasting != Some(line.last) {
            if came.elapsed() >= self.0.aside_max {
                line.outlasting = Some(line.last);
                break;
            }
            line.is_working = false;
            self.0.changed.notify_all();
            line = self.0.wait(line, self.0.aside_max);
        }
        line.is_working = line.share.steps_aside;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.set_share(Share::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CancelToken;

    /// Waits until so many wait.
    fn until_waiting(turns: &Turns, count: usize) {
        while hold(&turns.line).waiting.len() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn turns_are_given_in_the_order_of_coming() {
        let turns = Arc::new(Turns::default());
        let order = Mutex::new(Vec::new());
        let first = turns.take(&Control::new()).unwrap();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.take(&Control::new()).unwrap();
                    hold(order).push(n);
                });
                until_waiting(turns, n + 1);
            }
            drop(first);
            // One that comes again does not come before those who wait.
            let _turn = turns.take(&Control::new()).unwrap();
            hold(&order).push(4);
        });
        assert_eq!(*hold(&order), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn who_gives_up_keeps_nobody_waiting() {
        let turns = Arc::new(Turns::default());
        let cancel = CancelToken::default();
        let first = turns.take(&Control::new()).unwrap();
        std::thread::scope(|scope| {
            let gives_up = scope.spawn(|| turns.take(&Control::new().cancel(&cancel)).map(drop));
            until_waiting(&turns, 1);
            let stays = scope.spawn(|| turns.take(&Control::new()).map(drop));
            until_waiting(&turns, 2);
            cancel.cancel();
            assert!(matches!(gives_up.join().unwrap(), Err(Error::Cancelled)));
            drop(first);
            stays.join().unwrap().unwrap();
        });
        assert_eq!(hold(&turns.line).waiting.len(), 0);
    }

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn what_is_published_goes_before_those_who_wait() {
        let turns = Arc::new(Turns::default());
        let order = Mutex::new(Vec::new());
        let first = turns.take(&Control::new()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _turn = turns.take(&Control::new()).unwrap();
                hold(&order).push("writer");
            });
            until_waiting(&turns, 1);
            scope.spawn(|| {
                let _turn = turns.take_first(&Control::new()).unwrap();
                hold(&order).push("publisher");
            });
            while hold(&turns.line).publishing == 0 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(*hold(&order), ["publisher", "writer"]);
        let cancelled = Control::new();
        let _turn = turns.take(&cancelled).unwrap();
        let token = CancelToken::new();
        token.cancel();
        let given_up = turns.take_first(&Control::new().cancel(&token));
        assert!(matches!(given_up, Err(Error::Cancelled)));
        assert_eq!(hold(&turns.line).publishing, 0);
    }

    #[test]
    fn a_writer_leaves_the_thread_that_merges_its_share_as_long_as_that_works() {
        let turns = Arc::new(Turns { owed_max: LONG, ..Turns::default() });
        let work = turns.work();
        work.set_share(Share { hundredths: u32::MAX, steps_aside: false });
        drop(turns.take(&Control::new()).unwrap());
        hold(&turns.line).ended = Some((Instant::now(), LONG));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| turns.take(&Control::new()).map(drop));
            until_waiting(&turns, 1);
            drop(turns.take_first(&Control::new()).unwrap());
            assert_eq!(hold(&turns.line).waiting.len(), 1, "what is published is not waited for");
            drop(work);
            writer.join().unwrap().unwrap();
        });
    }

    #[test]
    fn the_thread_that_merges_steps_aside_while_somebody_writes() {
        let turns = Arc::new(Turns { aside_max: LONG, ..Turns::default() });
        let (work, is_over) = (turns.work(), CancelToken::new());
        work.set_share(Share { hundredths: 0, steps_aside: true });
        let steps = Mutex::new(0);
        let until = |is_so: &dyn Fn(u32) -> bool| {
            while !is_so(*hold(&steps)) {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.is_cancelled() {
                    work.step_aside();
                    *hold(&steps) += 1;
                }
            });
            until(&|steps| steps > 0);
            for _ in 0..3 {
                let turn = turns.take(&Control::new()).unwrap();
                let before = *hold(&steps);
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                assert_eq!(*hold(&steps), before);
                drop(turn);
                until(&|steps| steps > before + 1);
            }
            is_over.cancel();
        });
    }

    #[test]
    fn nobody_steps_aside_for_long_and_for_a_turn_but_once() {
        let turns = Arc::new(Turns { aside_max: Duration::from_millis(1), ..Turns::default() });
        let work = turns.work();
        work.set_share(Share { hundredths: 0, steps_aside: true });
        // The thread that merges is not at a step.
        let turn = turns.take(&Control::new()).unwrap();
        work.step_aside();
        assert_eq!(hold(&turns.line).outlasting, Some(0));
        assert!(hold(&turns.line).is_working);
        work.step_aside();
        drop(turn);
        let _next = turns.take(&Control::new()).unwrap();
        work.step_aside();
        assert_eq!(hold(&turns.line).outlasting, Some(1));
        drop(work);
        assert!(!hold(&turns.line).is_working);
    }
}
