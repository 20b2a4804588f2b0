//! Progress and cancelling of long calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// How far a long call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done: `add`, `merge`, `index`, `check`.
    pub stage: &'static str,
    /// How much is done, in the stage's own unit: documents, rows, objects.
    pub done: u64,
    /// How much there is to do, if that is known.
    pub total: Option<u64>,
}

/// Stops a long call from another thread. Clones stop the same call.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that has not been used.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Asks the call to stop: it returns `Cancelled` soon. What was committed before stays.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

type Callback = Arc<dyn Fn(Progress) + Send + Sync>;

/// Watches and stops a long call. By default it does neither.
#[derive(Clone, Default)]
pub struct Control {
    on_progress: Option<Callback>,
    cancel: CancelToken,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

impl Control {
    /// Neither watches nor stops.
    pub fn new() -> Self {
        Control::default()
    }

    /// Calls `callback` now and then, from a thread that works. Replaces the one before.
    #[must_use]
    pub fn on_progress(mut self, callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(callback));
        self
    }

    /// Stops when `token` is cancelled. Replaces the one before.
    #[must_use]
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Whether it was asked to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Reports, and stops if asked to.
    pub(crate) fn step(&self, stage: &'static str, done: u64, total: Option<u64>) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(callback) = &self.on_progress {
            callback(Progress { stage, done, total });
        }
        Ok(())
    }
}
