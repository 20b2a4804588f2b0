//! One writer at a time, in the order in which they came: a wait for it that can be stopped, which the wait of redb cannot.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Control;
use crate::error::{Error, Result};
use crate::storage::{hold, process};

/// The time between two looks at the cancel token.
const PATIENCE: Duration = Duration::from_millis(20);

/// Who of this process writes, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    line: Mutex<Line>,
    given_back: Condvar,
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
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    process: u32,
}

impl Turns {
    /// Waits until nobody else writes.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn take(self: &Arc<Self>, control: &Control) -> Result<Turn> {
        let mut line = hold(&self.line);
        let own = line.came;
        line.came += 1;
        line.waiting.push_back(own);
        while line.is_taken || line.waiting.front() != Some(&own) {
            if control.is_cancelled() {
                line.waiting.retain(|&other| other != own);
                self.given_back.notify_all();
                return Err(Error::Cancelled);
            }
            let waited = self.given_back.wait_timeout(line, PATIENCE);
            line = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        line.waiting.pop_front();
        line.is_taken = true;
        Ok(Turn { turns: Arc::clone(self), process: process() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may hold the mutex for ever.
        if process() == self.process {
            hold(&self.turns.line).is_taken = false;
            self.turns.given_back.notify_all();
        }
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
}
