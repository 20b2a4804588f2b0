//! Work in pieces, shared out among threads.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;

/// Calls `work` with each number below `pieces` once, from up to `threads` threads, the caller's being one.
///
/// Where the system refuses a thread, the others do its work. After the first error no further piece is begun.
/// # Errors
/// One of those that `work` returned.
pub(super) fn for_each(
    pieces: usize,
    threads: NonZero<usize>,
    work: &(dyn Fn(usize) -> Result<()> + Sync),
) -> Result<()> {
    let (taken, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || -> Result<()> {
        while !stopped.load(Ordering::Relaxed) {
            let piece = taken.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                break;
            }
            if let Err(error) = work(piece) {
                stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.get().min(pieces))
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
            .collect();
        let mut result = run();
        for helper in helpers {
            let other = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
            result = result.and(other);
        }
        result
    })
}
