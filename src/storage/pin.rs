//! What keeps the pages of one committed state in place.

use std::sync::Arc;

use super::container::{Container, hold};

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

impl Container {
    /// Keeps everything that the last committed state names, until the pin is dropped. Take it *before* reading.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        let mut pins = hold(&self.pins);
        let transaction = self.committed();
        *pins.entry(transaction).or_insert(0) += 1;
        Pin { container: Arc::clone(self), transaction }
    }
}
