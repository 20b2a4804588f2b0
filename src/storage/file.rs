//! The one way to the disk: positioned reads and writes, sync, locks and maps of a file.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZero;
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};

use redb::StorageBackend;
use redb::backends::FileBackend;
use rustix::fs::{Advice, MemfdFlags, fadvise, memfd_create};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::map::Bytes;
use crate::codec::to_u64;

/// A range of lock bytes, as redb asks for them.
pub(crate) type LockRange = (Bound<u64>, Bound<u64>);

/// Whether a lock shuts out everyone or only exclusive locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    Shared,
    Exclusive,
}

/// Whether to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Yes,
}

/// A file of bytes. Implementations: [`RealFile`], the overlay of a reader that cannot write, and the recording file
/// of the crash tests.
///
/// Contract: a read past the end is `UnexpectedEof`. A write past the end grows the file, the gap reads as zeros.
/// After `sync` returns, everything written before the call survives a loss of power. Locks belong to this instance and
/// conflict with those of any other instance of the same file, in this process or another. The methods with a body are for
/// files in memory, which nobody else has.
pub(crate) trait RawFile: fmt::Debug + Send + Sync {
    /// Fills `out` from `offset` on.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at `offset`, which must lie within the file, and makes it durable; nothing else need be.
    fn write_synced(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(data, offset)?;
        self.sync()
    }
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes all writes and lengths durable: one `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// The bytes `offset..offset + len`, which nobody will write any more. They must lie within the file.
    fn map(&self, offset: u64, len: usize) -> io::Result<Bytes>;
    /// Device and inode, for files that have a path.
    fn identity(&self) -> io::Result<Option<(u64, u64)>>;

    /// Forgets cached pages of a range that equal what the disk should hold, so that they are read from it again.
    fn drop_cached(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// Takes a lock; `false` when it is held elsewhere and `wait` is `No`.
    fn lock(&self, _range: LockRange, _kind: LockKind, _wait: Wait) -> io::Result<bool> {
        Ok(true)
    }
    /// Releases a lock taken over exactly this range.
    fn unlock(&self, _range: LockRange) -> io::Result<()> {
        Ok(())
    }
    /// Whether any other instance holds a lock within the range.
    fn locked_elsewhere(&self, _range: LockRange) -> io::Result<bool> {
        Ok(false)
    }
    /// Releases every lock.
    fn release_locks(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the operating system.
#[derive(Debug)]
pub(crate) struct RealFile {
    file: File,
    /// redb's own lock protocol over the same open file description.
    locks: FileBackend,
    named: Named,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

impl RealFile {
    /// Takes an open file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Self::with(file, Named::Yes)
    }

    /// A file without a name, in memory that the system may swap; it goes with its last handle.
    pub(crate) fn anonymous() -> io::Result<Self> {
        Self::with(File::from(memfd_create("vdb", MemfdFlags::CLOEXEC)?), Named::No)
    }

    fn with(file: File, named: Named) -> io::Result<Self> {
        let locks = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(RealFile { file, locks, named })
    }
}

/// redb's backend errors as the system errors that they mostly are.
fn io_error(error: redb::BackendError) -> io::Error {
    match error {
        redb::BackendError::Io(error) => error,
        redb::BackendError::Unsupported => io::ErrorKind::Unsupported.into(),
        other => io::Error::other(format!("{other:?}")),
    }
}

impl RawFile for RealFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn write_synced(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + to_u64(done);
            match pwritev2(&self.file, &[IoSlice::new(rest)], at, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                // Not every file system knows the flag.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.file.write_all_at(rest, at)?;
                    return self.sync();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        Bytes::map(&self.file, offset, len)
    }

    fn drop_cached(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(fadvise(&self.file, offset, NonZero::new(len), Advice::DontNeed)?)
    }

    fn lock(&self, (start, end): LockRange, kind: LockKind, wait: Wait) -> io::Result<bool> {
        match (kind, wait) {
            (LockKind::Shared, Wait::No) => self.locks.try_lock_shared_range(start, end),
            (LockKind::Exclusive, Wait::No) => self.locks.try_lock_range(start, end),
            (LockKind::Shared, Wait::Yes) => self.locks.lock_shared_range(start, end).map(|()| true),
            (LockKind::Exclusive, Wait::Yes) => self.locks.lock_range(start, end).map(|()| true),
        }
        .map_err(io_error)
    }

    fn unlock(&self, (start, end): LockRange) -> io::Result<()> {
        self.locks.unlock_range(start, end).map_err(io_error)
    }

    fn locked_elsewhere(&self, (start, end): LockRange) -> io::Result<bool> {
        self.locks.query_lock_range(start, end).map_err(io_error)
    }

    fn release_locks(&self) -> io::Result<()> {
        self.locks.close()
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        if self.named == Named::No {
            return Ok(None);
        }
        let metadata = self.file.metadata()?;
        Ok(Some((metadata.dev(), metadata.ino())))
    }
}
