//! Read-only views of file bytes: memory maps, or owned copies where nothing can be mapped.
#![expect(unsafe_code, reason = "a memory map is a promise about the file that the compiler cannot check")]

use std::fs::File;
use std::io;
use std::ops::Deref;
#[cfg(feature = "embed")]
use std::os::unix::fs::MetadataExt as _;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
#[cfg(feature = "embed")]
use std::sync::{Mutex, PoisonError};

use memmap2::{Mmap, MmapMut, MmapOptions};
use rkyv::util::AlignedVec;
use rustix::mm::{Advice, madvise};
use stable_deref_trait::StableDeref;

use super::layout::PAGE_BYTES;
use crate::codec::to_usize;

/// Bytes that do not change while they are held, aligned to 64 bytes at least.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// A map of the file.
    Mapped(Mmap),
    /// A copy, of files that are not on disk.
    #[cfg_attr(
        not(any(test, fuzzing)),
        expect(dead_code, reason = "made by the recording file of the crash tests")
    )]
    Owned(AlignedVec<64>),
}

impl Bytes {
    /// Maps `len` bytes of `file` from `offset` on, which must be a multiple of the page size and lie in the file.
    pub(super) fn map(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        // SAFETY: the range is a blob's: written whole and synced before the catalog names it, and its pages are not
        // written again while a snapshot that names it is alive, in any process (container: reuse rules). Or it is a part
        // of one that only this process knows, written before and not again while the map is held (`BlobDraft`). A foreign
        // program that truncates the file under us can still raise SIGBUS; `docs/architecture.md` says so.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file) }?;
        Ok(Bytes::Mapped(map))
    }
}

/// Asks the system to read the pages of `bytes`, and no others, if they are not in memory; does not wait for them. A hint.
pub(crate) fn fetch(bytes: &[u8]) {
    let before = bytes.as_ptr().addr() % to_usize(PAGE_BYTES);
    let start = bytes.as_ptr().wrapping_sub(before).cast_mut();
    // SAFETY: this advice changes no memory, whatever is there; the kernel refuses what is not mapped.
    let advised = unsafe { madvise(start.cast(), bytes.len() + before, Advice::WillNeed) };
    let _ = advised;
}

/// The number of this process, as [`std::process::id`] has it. Cost: a read of memory instead of a system call, of which a
/// search would make a dozen.
pub(crate) fn process() -> u32 {
    /// A page of memory that a forked child finds filled with zeros; null until it is first asked for.
    static PAGE: AtomicPtr<u32> = AtomicPtr::new(null_mut());
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let Ok(fresh) = wiped_on_fork() else { return std::process::id() };
        page = match PAGE.compare_exchange(null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            // Another thread was first: the few bytes of ours stay unused.
            Err(first) => first,
        };
    }
    // SAFETY: the page is mapped until the process ends, aligned, and used through atomics alone; the zeros that a child
    // finds are a valid number.
    let known = unsafe { AtomicU32::from_ptr(page) };
    match known.load(Ordering::Relaxed) {
        0 => {
            let now = std::process::id();
            known.store(now, Ordering::Relaxed);
            now
        }
        now => now,
    }
}

/// A page of zeros, mapped until the process ends, that each child has as zeros again.
fn wiped_on_fork() -> io::Result<*mut u32> {
    let mut page = MmapMut::map_anon(to_usize(PAGE_BYTES))?;
    let start = page.as_mut_ptr();
    // SAFETY: the range is the whole of a private anonymous map of our own, which nobody else knows.
    unsafe { madvise(start.cast(), to_usize(PAGE_BYTES), Advice::LinuxWipeOnFork) }?;
    std::mem::forget(page);
    Ok(start.cast())
}

/// Maps a whole file that is never written in place, until the process ends: for a library that keeps pointers into it. The
/// same file is mapped once.
#[cfg(feature = "embed")]
pub(crate) fn map_for_good(file: &File) -> io::Result<&'static [u8]> {
    /// Device, inode and length: a map keeps its inode from becoming that of another file.
    type Kept = ((u64, u64, u64), &'static Mmap);
    static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
    let metadata = file.metadata()?;
    let wanted = (metadata.dev(), metadata.ino(), metadata.len());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, map)) = kept.iter().find(|(of, _)| *of == wanted) {
        return Ok(map);
    }
    // SAFETY: the file of a model is replaced by another, never written in place. A foreign program that truncates it can
    // still raise SIGBUS.
    let map: &'static Mmap = Box::leak(Box::new(unsafe { Mmap::map(file) }?));
    kept.push((wanted, map));
    Ok(map)
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Bytes that several hold, for readers who keep pointers into them.
#[derive(Clone, Debug)]
pub(crate) struct SharedBytes(Arc<Bytes>);

impl SharedBytes {
    /// Shares `bytes`.
    pub(crate) fn new(bytes: Arc<Bytes>) -> Self {
        SharedBytes(bytes)
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: the bytes are in a map or in an allocation that is never changed behind the `Arc`; moving or cloning this value
// moves neither, and they live as long as any clone.
unsafe impl StableDeref for SharedBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "embed")]
    fn a_file_is_mapped_for_good_once_until_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        std::fs::write(&path, [1; 5000]).unwrap();
        let first = map_for_good(&File::open(&path).unwrap()).unwrap();
        let second = map_for_good(&File::open(&path).unwrap()).unwrap();
        assert_eq!((first, first.as_ptr()), (&[1; 5000][..], second.as_ptr()));
        std::fs::write(directory.path().join("other"), [2; 6000]).unwrap();
        std::fs::rename(directory.path().join("other"), &path).unwrap();
        let other = map_for_good(&File::open(&path).unwrap()).unwrap();
        assert_eq!((first, other), (&[1; 5000][..], &[2; 6000][..]));
    }

    #[test]
    fn the_process_is_known_by_its_number() {
        for _ in 0..2 {
            assert_eq!(process(), std::process::id());
        }
    }

    #[test]
    fn whatever_is_fetched_stays_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3 * PAGE_BYTES + 17).map(|n| n.to_le_bytes()[0]).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        let map = Bytes::map(&file, 0, bytes.len()).unwrap();
        for some in [&map[..], &bytes[..]] {
            for range in [0..bytes.len(), 5000..5001, 4095..8193, bytes.len()..bytes.len(), 0..0] {
                fetch(&some[range]);
            }
            assert!(*some == bytes[..]);
        }
        fetch(&[]);
    }
}
