//! The thread that merges segments and builds their indexes while the store is open.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

use super::memory::{Component, THREAD_BYTES};
use super::merge::{self, MergeLimits};
use super::nearest::prepare;
use super::pace::Pace;
use super::{Background, CancelToken, Control, Inner, Store};
use crate::error::{Error, Result};
use crate::storage::{hold, process};

/// After a failure the thread lets so many calls pass, and twice as many after each further one.
const REST_MAX: u32 = 1024;

/// What clones of a store share besides the file; the last of them ends the thread.
pub(super) struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    cancel: CancelToken,
}

#[derive(Default)]
struct State {
    is_due: bool,
    is_stopped: bool,
    /// Why the last attempt failed.
    failure: Option<String>,
    /// Calls to let pass before the next attempt.
    rest: u32,
    /// How many were to pass after the last failure.
    rested: u32,
}

impl Owner {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Owner { shared: Arc::default(), thread: Mutex::default(), process: process() })
    }

    /// Whether this process opened the store: in a forked child there is no thread, and its mutexes may be held for ever.
    pub(super) fn is_ours(&self) -> bool {
        process() == self.process
    }

    /// Lets the thread look whether a merge is due; starts it at the first call.
    fn call(&self, inner: &Arc<Inner>) {
        let mut state = hold(&self.shared.state);
        if state.is_stopped {
            return;
        }
        state.is_due = true;
        self.shared.wake.notify_one();
        drop(state);
        let mut thread = hold(&self.thread);
        if thread.is_some() {
            return;
        }
        let fail = |reason: String| hold(&self.shared.state).failure = Some(reason);
        let grant = match inner.memory.grant(Component::Threads, "the thread that merges", THREAD_BYTES) {
            Ok(grant) => grant,
            Err(error) => return fail(error.to_string()),
        };
        let (shared, inner) = (Arc::clone(&self.shared), Arc::downgrade(inner));
        let started = Builder::new().name("vdb-merge".into()).spawn(move || {
            let _grant = grant;
            shared.run(&inner);
        });
        match started {
            Ok(handle) => *thread = Some(handle),
            Err(error) => fail(format!("cannot start a thread: {error}")),
        }
    }

    /// Why the last attempt to merge failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        hold(&self.shared.state).failure.clone()
    }

    /// Ends the thread and waits for that; a merge that is going on is given up.
    pub(super) fn stop(&self) {
        if !self.is_ours() {
            return;
        }
        hold(&self.shared.state).is_stopped = true;
        self.shared.cancel.cancel();
        self.shared.wake.notify_one();
        let thread = hold(&self.thread).take();
        if let Some(thread) = thread {
            // A panic in it was reported where panics go.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.is_ours() {
            self.stop();
        } else {
            // There is no such thread here.
            std::mem::forget(std::mem::take(&mut self.thread));
        }
    }
}

impl Shared {
    /// Merges when called, until stopped.
    fn run(&self, inner: &Weak<Inner>) {
        let control = Control::new().cancel(&self.cancel);
        while self.next_call() {
            let Some(inner) = inner.upgrade() else { return };
            // Without an owner: what this thread holds does not keep the thread alive.
            let store = Store { owner: None, inner };
            let pace = Pace::new(&store);
            let paced = control.clone().on_progress(move |_| pace.step());
            let result = merge::merge(&store, &MergeLimits::default(), &paced).map(drop);
            drop(paced);
            drop(store);
            self.note(result);
        }
    }

    /// Waits for a call; `false` when stopped.
    fn next_call(&self) -> bool {
        let mut state = hold(&self.state);
        loop {
            if state.is_stopped {
                return false;
            }
            if std::mem::take(&mut state.is_due) {
                if state.rest == 0 {
                    return true;
                }
                state.rest -= 1;
                continue;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn note(&self, result: Result<()>) {
        let mut state = hold(&self.state);
        match result {
            Ok(()) => (state.failure, state.rest, state.rested) = (None, 0, 0),
            Err(Error::Cancelled) => {}
            Err(error) => {
                state.rested = (2 * state.rested).clamp(1, REST_MAX);
                state.rest = state.rested;
                state.failure = Some(chain(&error));
            }
        }
    }
}

/// An error with its causes.
fn chain(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Store {
    /// Does what follows a commit: readies new segments for searches, and tells the background that there may be something to merge.
    pub(super) fn follow(&self, segments_changed: bool, others_changed: bool) {
        if segments_changed {
            // What is damaged is told to those who search.
            let _ = prepare(self);
        }
        if !segments_changed && !others_changed {
            return;
        }
        if let Some(owner) =
            self.owner.as_ref().filter(|_| self.inner.options.background == Background::Thread)
        {
            owner.call(&self.inner);
        }
    }
}
