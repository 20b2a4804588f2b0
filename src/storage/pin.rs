//! What keeps the pages of one committed state in place.

use std::sync::Arc;

use super::container::{Container, hold};
use super::extents::Run;

/// Keeps the pages of one committed state from being used again.
#[derive(Debug)]
pub(crate) struct Pin {
    container: Arc<Container>,
    transaction: u64,
}

impl Pin {
    /// The container whose pages it keeps.
    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // In a forked child a thread of the parent may hold the mutex for ever.
        if !self.container.is_ours() {
            return;
        }
        let mut pins = hold(&self.container.pins);
        if let Some(count) = pins.get_mut(&self.transaction) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.transaction);
            }
        }
    }
}

/// Keeps the pages of one blob from being used again, whatever commits do with it: for work that takes long and reads nothing else.
#[derive(Debug)]
pub(crate) struct Hold {
    container: Arc<Container>,
    run: Run,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.container.is_ours() {
            hold(&self.container.state).space.let_go(self.run);
        }
    }
}

impl Container {
    /// Keeps the pages of a blob until the hold is dropped. Take it while a pin keeps them.
    pub(crate) fn hold_blob(self: &Arc<Self>, run: Run) -> Hold {
        hold(&self.state).space.hold(run);
        Hold { container: Arc::clone(self), run }
    }

    /// Keeps everything that the last committed state names, until the pin is dropped. Take it *before* reading.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        let mut pins = hold(&self.pins);
        let transaction = self.committed();
        *pins.entry(transaction).or_insert(0) += 1;
        Pin { container: Arc::clone(self), transaction }
    }
}
