//! Exact search over many blocks by several threads.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::exact::{Query, Selection};
use super::outline::{OutlineQuery, Outlined};
use super::topk::TopK;
use crate::error::Result;

/// The bytes of vectors that a thread takes at a time: some tenths of a millisecond of reading.
const PIECE_BYTES: usize = 4 << 20;

/// Finds the best documents of all blocks, and of those that `top` has, with up to `threads` threads, the caller's being one.
///
/// The result is that of a scan over the blocks, whatever the number of threads and the split, and whether a block has an outline.
/// Blocks on: its threads.
/// # Errors
/// As [`Outlined::scan`].
pub(crate) fn scan_parallel(
    blocks: &[Outlined<'_>],
    query: &Query,
    selection: &Selection<'_>,
    owner: &(dyn Fn(u64) -> u64 + Sync),
    top: TopK,
    threads: NonZero<usize>,
) -> Result<TopK> {
    let top = top.settled();
    let prepared = if blocks.iter().any(Outlined::has_outline) { OutlineQuery::new(query) } else { None };
    let add = |(part, positions): &(&Outlined<'_>, Range<usize>), top: &mut TopK| {
        part.scan(positions.clone(), (query, prepared.as_ref()), selection, &|row| owner(row), top)
    };
    gather(&pieces(blocks), threads, &|| top.clone(), &add, TopK::merge)
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

fn pieces<'a, 'v>(blocks: &'a [Outlined<'v>]) -> Vec<(&'a Outlined<'v>, Range<usize>)> {
    let cut = |part: &'a Outlined<'v>| {
        let (len, step) = (part.block().len(), (PIECE_BYTES / part.block().vector_bytes()).max(1));
        (0..len).step_by(step).map(move |at| (part, at..(at + step).min(len)))
    };
    blocks.iter().flat_map(cut).collect()
}
