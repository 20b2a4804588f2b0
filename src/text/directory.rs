//! What tantivy takes for directories: memory that a segment is written to, and the files packed in a blob.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle,
    WritePtr,
};

use crate::storage::hold;

/// Files in memory grow by so many bytes, so that none is ever copied to make room.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes that are gathered before they go to a file.
const BUFFER_BYTES: usize = 8 << 10;

/// A file in memory, in pieces.
pub(super) type Pieces = Vec<Vec<u8>>;

type Files = Arc<Mutex<HashMap<PathBuf, Pieces>>>;

/// Takes the files that a segment is made of. What is not a file of a segment is not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    files: Files,
}

impl Scratch {
    /// Takes out the file whose name ends so.
    pub(super) fn take(&self, extension: &str) -> Option<Pieces> {
        let mut files = hold(&self.files);
        let path = files.keys().find(|path| has_extension(path, extension))?.clone();
        files.remove(&path)
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// A file being written.
struct Writer {
    path: PathBuf,
    pieces: Pieces,
    files: Files,
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.pieces.last().map_or(0, |last| PIECE_BYTES - last.len());
            if room == 0 {
                self.pieces.push(Vec::with_capacity(PIECE_BYTES));
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            if let Some(last) = self.pieces.last_mut() {
                last.extend_from_slice(now);
            }
            rest = later;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Writer {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        hold(&self.files).insert(std::mem::take(&mut self.path), std::mem::take(&mut self.pieces));
        Ok(())
    }
}

fn not_found<T>(path: &Path) -> Result<T, OpenReadError> {
    Err(OpenReadError::FileDoesNotExist(path.to_owned()))
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "segments are not changed")
}

/// Nobody else uses these directories.
fn lock() -> DirectoryLock {
    DirectoryLock::from(Box::new(()))
}

impl Directory for Scratch {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        not_found(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        hold(&self.files).remove(path).map(drop).ok_or_else(|| DeleteError::FileDoesNotExist(path.to_owned()))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(hold(&self.files).contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let writer = Writer { path: path.to_owned(), pieces: Vec::new(), files: Arc::clone(&self.files) };
        Ok(BufWriter::with_capacity(BUFFER_BYTES, Box::new(writer)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        not_found(path)
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(lock())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// The files of one segment, found by the ends of their names, whatever the segment is called.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: OwnedBytes,
    files: Arc<Vec<(&'static str, Range<usize>)>>,
}

impl Packed {
    /// Files at these ranges of `bytes`, which must lie in it.
    pub(super) fn new(bytes: OwnedBytes, files: Vec<(&'static str, Range<usize>)>) -> Self {
        Packed { bytes, files: Arc::new(files) }
    }

    fn find(&self, path: &Path) -> Option<Range<usize>> {
        self.files
            .iter()
            .find(|(extension, _)| has_extension(path, extension))
            .map(|(_, range)| range.clone())
    }
}

impl Directory for Packed {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        match self.find(path) {
            Some(range) => Ok(Arc::new(self.bytes.slice(range))),
            None => not_found(path),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_owned() })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.find(path).is_some())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        not_found(path)
    }

    /// What tantivy notes of an index is in the catalog.
    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(lock())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
