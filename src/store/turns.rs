//! One writer at a time: a wait for it that can be stopped, which the wait of redb cannot.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Control;
use crate::error::{Error, Result};
use crate::storage::hold;

/// The time between two looks at the cancel token.
const PATIENCE: Duration = Duration::from_millis(20);

/// Whether somebody of this process writes.
#[derive(Debug, Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    given_back: Condvar,
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
        let mut is_taken = hold(&self.is_taken);
        while *is_taken {
            if control.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let waited = self.given_back.wait_timeout(is_taken, PATIENCE);
            is_taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        Ok(Turn { turns: Arc::clone(self), process: std::process::id() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may hold the mutex for ever.
        if std::process::id() == self.process {
            *hold(&self.turns.is_taken) = false;
            self.turns.given_back.notify_one();
        }
    }
}
