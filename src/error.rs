//! The one error type.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Each message names the thing, what was expected and what was found; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call of the operating system failed.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `read`.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// The bytes of the file contradict each other or their checksum.
    #[error("{what} is damaged at byte {offset}: {detail}")]
    Corrupt {
        /// The structure: `superblock A`, `table documents`.
        what: String,
        /// Where in the file, or in the structure when that is all that is known.
        offset: u64,
        /// What was expected and what was found.
        detail: String,
    },
    /// The file is no vdb file, or one of another age.
    #[error("file format {found} is not supported, this version reads {oldest} to {newest}")]
    Version {
        /// The format or feature found.
        found: String,
        /// The oldest format that this version reads.
        oldest: u32,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// The file is something else.
    #[error("{} is not a vdb file: {found}", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// Another process holds the writer lock.
    #[error("{} is being written by {holder}", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who holds it, as far as the writer notice tells.
        holder: String,
    },
    /// A named thing is missing.
    #[error("{what} {name:?} does not exist")]
    NotFound {
        /// Its kind: `file`, `document`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A named thing is there already.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A number of values is wrong.
    #[error("{what} has {found} values, expected {expected}")]
    Shape {
        /// The thing measured: `vector of document "a"`.
        what: String,
        /// The number wanted.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// A value makes no sense.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// The value.
        what: String,
        /// Why.
        reason: String,
    },
    /// A hard limit is passed.
    #[error("{what} is {found}, the limit is {max}")]
    Limit {
        /// The thing measured, with its unit.
        what: String,
        /// Its size.
        found: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The memory budget leaves too little for something that can be done neither in less nor by spilling.
    #[error("{what} needs {}, the budget leaves {}", in_units(*needs), in_units(*left))]
    Memory {
        /// What was to be done.
        what: String,
        /// The bytes that it needs.
        needs: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// A document of an imported file cannot be read or added; the documents before it stay.
    #[error("line {line} of {} cannot be imported", path.display())]
    Row {
        /// The file or directory.
        path: PathBuf,
        /// The line, from 1; of a directory, the number of the file; of an array, the row.
        line: u64,
        /// Why.
        source: Box<Error>,
    },
    /// A filter cannot be understood. `Error::caret` shows where.
    #[error("filter is not valid at {path}: {reason}")]
    Filter {
        /// The filter as given.
        text: String,
        /// The bytes of `text` at fault.
        span: Range<usize>,
        /// The JSON path of the fault, from `$`.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A store belongs to another embedding model.
    #[error("store has the model {expected}, not {found}")]
    Model {
        /// The model of the store.
        expected: String,
        /// The model offered.
        found: String,
    },
    /// A native library reported an error.
    #[error("{call} failed: {message}")]
    Native {
        /// The function called.
        call: &'static str,
        /// The library's own message.
        message: String,
    },
    /// This build, machine or process cannot do it.
    #[error("{feature} is not available: {reason}")]
    Unavailable {
        /// What was asked for.
        feature: &'static str,
        /// Why it cannot be had, and what would help.
        reason: String,
    },
    /// The caller or a handle was told to stop; what was committed stays.
    #[error("cancelled")]
    Cancelled,
    /// An earlier write or sync failed: nothing more can be written until the file is opened again.
    #[error("an earlier write to {} failed, open the file again", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// An embedder failed.
    #[error("embedding failed")]
    Embed {
        /// The embedder's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The kind of an [`Error`], for callers that branch; one stable code each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Io`]
    Io,
    /// [`Error::Corrupt`]
    Corrupt,
    /// [`Error::Version`]
    Version,
    /// [`Error::NotAStore`]
    NotAStore,
    /// [`Error::Locked`]
    Busy,
    /// [`Error::NotFound`]
    NotFound,
    /// [`Error::Exists`]
    Exists,
    /// [`Error::Shape`]
    Shape,
    /// [`Error::Invalid`]
    Invalid,
    /// [`Error::Limit`]
    Limit,
    /// [`Error::Memory`]
    Memory,
    /// [`Error::Filter`]
    Filter,
    /// [`Error::Model`]
    Model,
    /// [`Error::Native`]
    Native,
    /// [`Error::Unavailable`]
    Unavailable,
    /// [`Error::Cancelled`]
    Cancelled,
    /// [`Error::Poisoned`]
    Poisoned,
    /// [`Error::Embed`]
    Embed,
}

impl ErrorKind {
    /// The stable code that `vdb --json` prints.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::Io => "io",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Version => "version",
            ErrorKind::NotAStore => "not_a_store",
            ErrorKind::Busy => "busy",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Exists => "exists",
            ErrorKind::Shape => "shape",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Limit => "limit",
            ErrorKind::Memory => "memory",
            ErrorKind::Filter => "filter",
            ErrorKind::Model => "model",
            ErrorKind::Native => "native",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Poisoned => "poisoned",
            ErrorKind::Embed => "embed",
        }
    }
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io { .. } => ErrorKind::Io,
            Error::Corrupt { .. } => ErrorKind::Corrupt,
            Error::Version { .. } => ErrorKind::Version,
            Error::NotAStore { .. } => ErrorKind::NotAStore,
            Error::Locked { .. } => ErrorKind::Busy,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Exists { .. } => ErrorKind::Exists,
            Error::Shape { .. } => ErrorKind::Shape,
            Error::Invalid { .. } => ErrorKind::Invalid,
            Error::Limit { .. } => ErrorKind::Limit,
            Error::Memory { .. } => ErrorKind::Memory,
            Error::Row { source, .. } => source.kind(),
            Error::Filter { .. } => ErrorKind::Filter,
            Error::Model { .. } => ErrorKind::Model,
            Error::Native { .. } => ErrorKind::Native,
            Error::Unavailable { .. } => ErrorKind::Unavailable,
            Error::Cancelled => ErrorKind::Cancelled,
            Error::Poisoned { .. } => ErrorKind::Poisoned,
            Error::Embed { .. } => ErrorKind::Embed,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>, offset: u64, detail: impl Into<String>) -> Self {
        Error::Corrupt { what: what.into(), offset, detail: detail.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Invalid { what: what.into(), reason: reason.into() }
    }
}

/// Bytes for people: `1.9 GiB`.
fn in_units(bytes: u64) -> String {
    let Some((shift, unit)) =
        [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(shift, _)| bytes >> shift > 0)
    else {
        return format!("{bytes} bytes");
    };
    // Tenths by whole numbers, rounded.
    let tenths = (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}
