//! Creating and opening: the right file, the right lock, and recovery after a kill.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Builder, ConcurrencyMode, Database, ReadOnlyDatabase, ReadableDatabase};

use super::container::{Container, Role, Sabotage};
use super::file::{LockKind, RawFile, RealFile, Wait};
use super::guard::guarded;
use super::header::{READER_BASE, durable_transaction};
use super::layout::{DATA_OFFSET, PREAMBLE_OFFSET, Preamble, SUPERBLOCK_B_OFFSET, read_preamble};
use super::lock;
use super::overlay::Overlay;
use super::stream::Stream;
use super::superblock::{Features, Superblock};
use super::wal;
use crate::error::{Error, Result};

/// How long to retry what another process may be in the middle of.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Write: one process at a time.
    Write,
    /// Read: any number, beside a writer.
    Read,
}

/// redb over the container.
pub(crate) enum Db {
    /// Holds the writer lock, or writes into an overlay that nobody else sees.
    Writer(Database),
    /// Follows commits.
    Reader(ReadOnlyDatabase),
}

/// An open file with redb on it.
pub(crate) struct OpenFile {
    /// Its container.
    pub(crate) container: Arc<Container>,
    /// Its catalog database; `None` after closing.
    db: Option<Db>,
    /// Whether commits reach the file.
    pub(crate) access: Access,
    /// What a writer does before it closes.
    last: Option<LastAct>,
    /// What was wrong with the log whose rest was discarded.
    pub(crate) discarded: Option<String>,
}

/// What is done to an open file.
pub(crate) type LastAct = fn(&OpenFile) -> Result<()>;

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("path", &self.container.path())
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl OpenFile {
    /// The database.
    pub(crate) fn db(&self) -> Result<&Db> {
        self.db.as_ref().ok_or_else(|| Error::invalid("store", "it is closed"))
    }

    /// The database, to be changed as a whole.
    pub(crate) fn db_mut(&mut self) -> Result<&mut Db> {
        self.db.as_mut().ok_or_else(|| Error::invalid("store", "it is closed"))
    }

    /// Says what a writer does before it closes.
    pub(crate) fn before_close(&mut self, act: LastAct) {
        self.last = Some(act);
    }

    /// Does what is to be done before; then closes redb, which commits its allocator state and releases the locks.
    pub(crate) fn close(&mut self) -> Result<()> {
        let is_ours = self.container.is_ours();
        let before = match self.last.take().filter(|_| is_ours && self.db.is_some()) {
            Some(act) if self.access == Access::Write => act(self),
            _ => Ok(()),
        };
        let Some(db) = self.db.take() else { return Ok(()) };
        if !is_ours {
            // A forked child must neither write nor release its parent's locks.
            std::mem::forget(db);
            return Ok(());
        }
        let closed = guarded(&self.container, "close", || match db {
            Db::Writer(db) => db.close(),
            Db::Reader(db) => db.close(),
        });
        before.and(closed)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// What is passed through to redb, and to the crash tests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// redb's page cache, in bytes.
    pub(crate) cache_bytes: usize,
    /// Whether a commit waits for the disk.
    pub(crate) sync: bool,
    /// Whether a log that is damaged ends before the damage, instead of being an error.
    pub(crate) discards_log: bool,
    /// Deliberate mistakes; none outside tests.
    pub(crate) sabotage: Sabotage,
}

fn builder(settings: Settings) -> Builder {
    let mut builder = Builder::new();
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter).set_cache_size(settings.cache_bytes);
    builder
}

fn io_error(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { op, path, source }
}

/// Makes an empty container in `file`.
fn format(file: &dyn RawFile) -> io::Result<Preamble> {
    let preamble = Preamble::fresh();
    let block = Superblock {
        generation: 1,
        uuid: preamble.uuid,
        stream_len: 0,
        txn_floor: 0,
        features: Features::default(),
        extents: Vec::new(),
    };
    file.set_len(DATA_OFFSET)?;
    file.write_at(&preamble.encode(), PREAMBLE_OFFSET)?;
    file.write_at(&block.encode().map_err(io::Error::other)?, SUPERBLOCK_B_OFFSET)?;
    Ok(preamble)
}

/// Formats `file` and opens it for writing, with an empty catalog.
pub(crate) fn format_and_open(file: Box<dyn RawFile>, path: PathBuf, settings: Settings) -> Result<OpenFile> {
    let preamble = format(&*file).map_err(io_error("create", &path))?;
    let container = Container::new(path, file, preamble, Role::Writer, settings);
    start_writer(container, settings)
}

/// A store that lives in memory and goes with its last handle.
pub(crate) fn memory_file(settings: Settings) -> Result<OpenFile> {
    let path = PathBuf::from(":memory:");
    let file = RealFile::anonymous().map_err(io_error("create", &path))?;
    format_and_open(Box::new(file), path, settings)
}

/// Creates the file at `path`, which must not exist, and opens it: under another name first, then published at once, whole.
///
/// # Errors
/// `Exists` when something is at `path`, even if it came there meanwhile.
pub(crate) fn create_file(
    path: &Path,
    mode: u32,
    settings: Settings,
    init: impl FnOnce(&OpenFile) -> Result<()>,
) -> Result<OpenFile> {
    let exists = || Error::Exists { what: "file", name: path.display().to_string() };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let prefix = [OsStr::new("."), path.file_name().unwrap_or(OsStr::new("vdb"))].concat_names();
    let temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".creating")
        .make_in(directory, |path| {
            OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
        })
        .map_err(io_error("create", path))?;
    // The umask may have taken bits that the caller asked for.
    temporary.as_file().set_permissions(Permissions::from_mode(mode)).map_err(io_error("create", path))?;
    let file = temporary.as_file().try_clone().and_then(RealFile::new).map_err(io_error("create", path))?;
    // The writer lock is held from before the file can be seen: whoever creates a store can write it.
    let open = format_and_open(Box::new(file), path.to_owned(), settings)?;
    init(&open)?;
    temporary.as_file().sync_all().map_err(io_error("create", path))?;
    temporary.persist_noclobber(path).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => exists(),
        _ => io_error("create", path)(error.error),
    })?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(io_error("create", path))?;
    Ok(open)
}

/// Joins parts of a file name.
trait ConcatNames {
    fn concat_names(&self) -> std::ffi::OsString;
}

impl ConcatNames for [&OsStr; 2] {
    fn concat_names(&self) -> std::ffi::OsString {
        let mut name = self[0].to_owned();
        name.push(self[1]);
        name
    }
}

/// Opens the file at `path`.
///
/// # Errors
/// `NotFound`, `NotAStore`, `Version`, `Corrupt`; `Locked` when another process writes and `access` is `Write`.
pub(crate) fn open_file(path: &Path, access: Access, settings: Settings) -> Result<OpenFile> {
    let started = Instant::now();
    loop {
        let attempt = match access {
            Access::Write => open_writer(path, settings),
            Access::Read => open_reader(path, settings),
        };
        match attempt {
            // The file was replaced between opening and locking it, or is being recovered: look again.
            Ok(open) if !is_current(&open, path)? => drop(open),
            Err(Error::Unavailable { feature: "reading", .. }) if started.elapsed() < PATIENCE => {
                match recover(path, settings)? {
                    Recovered::InFile => {}
                    Recovered::ByAnother => std::thread::sleep(Duration::from_millis(5)),
                    Recovered::InMemory(open) => return Ok(open),
                }
            }
            result => return result,
        }
        if started.elapsed() > PATIENCE {
            let holder = "a process that keeps replacing or reopening it".into();
            return Err(Error::Locked { path: path.to_owned(), holder });
        }
    }
}

/// Whether the path still leads to the file that is open.
fn is_current(open: &OpenFile, path: &Path) -> Result<bool> {
    let ours = open.container.file.identity().map_err(io_error("read", path))?;
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(ours == Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

fn open_raw(path: &Path, access: Access) -> Result<(Box<dyn RawFile>, Preamble)> {
    let file = match OpenOptions::new().read(true).write(access == Access::Write).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NotFound { what: "file", name: path.display().to_string() });
        }
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return Err(Error::NotAStore { path: path.to_owned(), found: "it is a directory".into() });
        }
        // It may well be readable.
        Err(error)
            if access == Access::Write
                && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            return Err(io_error("write", path)(error));
        }
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let kind = file.metadata().map_err(io_error("open", path))?.file_type();
    if !kind.is_file() {
        let found = if kind.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(Error::NotAStore { path: path.to_owned(), found: found.into() });
    }
    let raw: Box<dyn RawFile> = Box::new(RealFile::new(file).map_err(io_error("open", path))?);
    let preamble = read_preamble(&*raw, path)?;
    Ok((raw, preamble))
}

fn open_writer(path: &Path, settings: Settings) -> Result<OpenFile> {
    let (file, preamble) = open_raw(path, Access::Write)?;
    open_writer_on(file, preamble, path, settings)
}

/// Opens the container in `file` for writing.
#[cfg(test)]
pub(crate) fn reopen(file: Box<dyn RawFile>, settings: Settings) -> Result<OpenFile> {
    let path = Path::new(":test:");
    let preamble = read_preamble(&*file, path)?;
    open_writer_on(file, preamble, path, settings)
}

/// Opens an existing container for writing, recovering it if its last writer was killed.
fn open_writer_on(
    file: Box<dyn RawFile>,
    preamble: Preamble,
    path: &Path,
    settings: Settings,
) -> Result<OpenFile> {
    let container = Container::new(path.to_owned(), file, preamble, Role::Writer, settings);
    if !container.refuse_unreadable()? {
        return Err(Error::Unavailable {
            feature: "writing",
            reason: format!(
                "{} uses features that this version can only read; open it read-only",
                path.display()
            ),
        });
    }
    start_writer(container, settings)
}

fn start_writer(container: Arc<Container>, settings: Settings) -> Result<OpenFile> {
    let stream = Stream::new(&container);
    let db = guarded(&container, "open", || builder(settings).create_with_backend(stream))?;
    container.note_commit();
    let discarded = container.recover_wal(epoch_of(&container, &db)?, settings.discards_log)?;
    let discarded = discarded.map(|damage| damage.to_string());
    lock::write_notice(&container);
    Ok(OpenFile { container, db: Some(Db::Writer(db)), access: Access::Write, last: None, discarded })
}

fn open_reader(path: &Path, settings: Settings) -> Result<OpenFile> {
    let (file, preamble) = open_raw(path, Access::Read)?;
    let container = Container::new(path.to_owned(), file, preamble, Role::Follower, settings);
    container.refuse_unreadable()?;
    let stream = Stream::new(&container);
    let db = guarded(&container, "open", || builder(settings).open_read_only_with_backend(stream))?;
    if container.has_unpublished(epoch_of(&container, &db)?)? {
        return Err(Error::Unavailable {
            feature: "reading",
            reason: "the last writer died before it could say what it committed".into(),
        });
    }
    Ok(OpenFile { container, db: Some(Db::Reader(db)), access: Access::Read, last: None, discarded: None })
}

/// The epoch of the log that the last commit of redb names.
fn epoch_of(container: &Container, db: &impl ReadableDatabase) -> Result<u64> {
    guarded(container, "read", || wal::epoch(&db.begin_read()?))
}

enum Recovered {
    /// The file is clean now.
    InFile,
    /// A writer holds it, and recovers it.
    ByAnother,
    /// It cannot be written: what a recovery would make of it is in memory.
    InMemory(OpenFile),
}

/// Does for a reader what the next writer would do.
fn recover(path: &Path, settings: Settings) -> Result<Recovered> {
    let settings = Settings { discards_log: false, ..settings };
    match open_writer(path, settings).and_then(|mut open| open.close()) {
        Ok(()) => Ok(Recovered::InFile),
        Err(Error::Locked { .. }) => Ok(Recovered::ByAnother),
        // Not permitted, read-only, or no space to write: recover without writing.
        Err(Error::Io { .. } | Error::Poisoned { .. } | Error::Unavailable { feature: "writing", .. }) => {
            recover_in_memory(path, settings).map(Recovered::InMemory)
        }
        Err(other) => Err(other),
    }
}

fn recover_in_memory(path: &Path, settings: Settings) -> Result<OpenFile> {
    let (file, preamble) = open_raw(path, Access::Read)?;
    announce_reader(&*file, path, preamble)?;
    let overlay = Box::new(Overlay::new(file).map_err(io_error("read", path))?);
    let container = Container::new(path.to_owned(), overlay, preamble, Role::Writer, settings);
    let mut open = start_writer(container, settings)?;
    open.access = Access::Read;
    Ok(open)
}

/// Holds the lock byte that tells a later writer to keep what the last commit names.
fn announce_reader(file: &dyn RawFile, path: &Path, preamble: Preamble) -> Result<()> {
    let settings = Settings::default();
    let peek = || -> Result<u64> {
        let raw = RealFile::new(File::open(path).map_err(io_error("open", path))?)
            .map_err(io_error("open", path))?;
        let look = Container::new(path.to_owned(), Box::new(raw), preamble, Role::Follower, settings);
        let map = look.follow()?;
        let header = look.read_header(&map).map_err(look.io("read"))?;
        Ok(durable_transaction(&header).unwrap_or(0))
    };
    loop {
        let transaction = peek()?;
        let byte = (Bound::Included(READER_BASE + transaction), Bound::Included(READER_BASE + transaction));
        file.lock(byte, LockKind::Shared, Wait::No).map_err(io_error("lock", path))?;
        if peek()? == transaction {
            return Ok(());
        }
        file.unlock(byte).map_err(io_error("unlock", path))?;
    }
}
