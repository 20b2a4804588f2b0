//! Exact search over many blocks by several threads.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::exact::{Block, Query, Selection, scan};
use super::topk::TopK;
use crate::error::Result;

/// The bytes of vectors that a thread takes at a time: some tenths of a millisecond of reading.
const PIECE_BYTES: usize = 4 << 20;

/// Finds the `k` best documents of all blocks with up to `threads` threads, the caller's being one.
///
/// The result is that of [`scan`] over the blocks, whatever the number of threads and the split. Blocks on: its threads.
/// # Errors
/// As [`scan`].
pub(crate) fn scan_parallel(
    blocks: &[Block<'_>],
    query: &Query,
    selection: &Selection<'_>,
    owner: &(dyn Fn(u64) -> u64 + Sync),
    k: usize,
    threads: NonZero<usize>,
) -> Result<TopK> {
    best(&pieces(blocks), k, threads, &|(block, positions), top| {
        scan(&block.slice(positions.clone()), query, selection, &|row| owner(row), top)
    })
}

/// Lets up to `threads` threads, the caller's being one, offer what is in some pieces, and finds the `k` best.
///
/// # Errors
/// One of those that `offer` returned.
pub(crate) fn best<P: Sync>(
    pieces: &[P],
    k: usize,
    threads: NonZero<usize>,
    offer: &(dyn Fn(&P, &mut TopK) -> Result<()> + Sync),
) -> Result<TopK> {
    gather(pieces, threads, &|| TopK::new(k), offer, TopK::merge)
}

/// Lets up to `threads` threads, the caller's being one, add what is in some pieces to a list of each, and merges these.
///
/// Threads take pieces as they come free; where the system refuses a thread, the others do its work.
/// # Errors
/// One of those that `add` returned.
pub(crate) fn gather<P: Sync, T: Send>(
    pieces: &[P],
    threads: NonZero<usize>,
    empty: &(dyn Fn() -> T + Sync),
    add: &(dyn Fn(&P, &mut T) -> Result<()> + Sync),
    merge: fn(&mut T, T),
) -> Result<T> {
    let taken = AtomicUsize::new(0);
    let work = || -> Result<T> {
        let mut list = empty();
        while let Some(piece) = pieces.get(taken.fetch_add(1, Ordering::Relaxed)) {
            add(piece, &mut list)?;
        }
        Ok(list)
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.get().min(pieces.len()))
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut list = work();
        for helper in helpers {
            let other = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
            list = list.and_then(|mut list| {
                merge(&mut list, other?);
                Ok(list)
            });
        }
        list
    })
}

fn pieces<'a, 'v>(blocks: &'a [Block<'v>]) -> Vec<(&'a Block<'v>, Range<usize>)> {
    let cut = |block: &'a Block<'v>| {
        let step = (PIECE_BYTES / block.vector_bytes()).max(1);
        (0..block.len()).step_by(step).map(move |at| (block, at..(at + step).min(block.len())))
    };
    blocks.iter().flat_map(cut).collect()
}
