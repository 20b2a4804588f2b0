//! The memory of this process, as the system counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(25);

/// A line of the system's account of this process, in bytes, as far as it tells: `RssAnon`, `RssFile`, `VmHWM`.
pub(crate) fn resident(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Looks at the anonymous memory of this process again and again: what is mapped from files the system can take back.
pub(crate) struct Watch {
    shared: Arc<(AtomicBool, AtomicU64)>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look; where no thread can be had, only at the end.
    pub(crate) fn start() -> Self {
        let shared: Arc<(AtomicBool, AtomicU64)> = Arc::default();
        let seen = Arc::clone(&shared);
        let look = move || {
            while !seen.0.load(Ordering::Relaxed) {
                seen.1.fetch_max(resident("RssAnon").unwrap_or(0), Ordering::Relaxed);
                std::thread::park_timeout(INTERVAL);
            }
        };
        Watch { shared, thread: Builder::new().name("vdb-watch".into()).spawn(look).ok() }
    }

    /// Ends, and says the most that was seen.
    pub(crate) fn peak(mut self) -> Option<u64> {
        self.stop();
        let now = resident("RssAnon")?;
        Some(now.max(self.shared.1.load(Ordering::Relaxed)))
    }

    fn stop(&mut self) {
        self.shared.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}
