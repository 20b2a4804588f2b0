//! How commands fail: what is printed, with which hint, and the exit status.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use vdb::{Error, ErrorKind};

/// The result of a command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nobody reads what we print.
    Done = 0,
    /// The request failed, or `check` found damage.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// A bug in vdb.
    Bug = 3,
    /// Another process writes.
    Busy = 4,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says so.
    Store(Error),
    /// The library says so of a file that it does not name.
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: Error,
    },
    /// A line of a file, or of standard input, is at fault.
    Line {
        /// The file; `None` is standard input.
        path: Option<PathBuf>,
        /// The line, from 1.
        line: u64,
        /// What the library says of it.
        error: Error,
    },
    /// The command line makes no sense.
    Usage {
        /// What is wrong with it.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// Standard output cannot be written.
    Output(io::Error),
    /// A panic: a bug in vdb.
    Bug(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Row { path, line, source } => Failure::line(Some(path), line, *source),
            error => Failure::Store(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    /// A wrong use of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::Usage { message: message.into(), hint: None }
    }

    /// A store cannot be opened.
    pub(crate) fn opening(path: &Path, error: Error) -> Self {
        match error {
            Error::Version { .. } | Error::Corrupt { .. } => Failure::File { path: path.to_owned(), error },
            error => error.into(),
        }
    }

    /// A line is at fault. A document that was added alone needs no place in the call: the line says more.
    pub(crate) fn line(path: Option<PathBuf>, line: u64, mut error: Error) -> Self {
        if let Error::Shape { what, .. } | Error::Invalid { what, .. } = &mut error {
            let length = what.strip_suffix(" (row 0)").map_or(what.len(), str::len);
            what.truncate(length);
        }
        Failure::Line { path, line, error }
    }

    /// What the library says.
    fn error(&self) -> Option<&Error> {
        match self {
            Failure::Store(error) | Failure::File { error, .. } | Failure::Line { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Store(error) | Failure::File { error, .. } | Failure::Line { error, .. } => {
                match error.kind() {
                    ErrorKind::Busy => Exit::Busy,
                    ErrorKind::Cancelled => Exit::Interrupted,
                    _ => Exit::Failed,
                }
            }
            Failure::Usage { .. } => Exit::Usage,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Failure::Output(_) => Exit::Failed,
            Failure::Bug(_) => Exit::Bug,
        }
    }

    /// The stable code that scripts branch on.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Failure::Store(error) | Failure::File { error, .. } | Failure::Line { error, .. } => {
                error.kind().code()
            }
            Failure::Usage { .. } => "usage",
            Failure::Output(_) => "io",
            Failure::Bug(_) => "bug",
        }
    }

    /// One line, without causes.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Store(error) => error.to_string(),
            Failure::File { path, error } => format!("{}: {error}", path.display()),
            Failure::Line { path, line, error } => {
                let input = path.as_ref().map_or("standard input".into(), |path| path.to_string_lossy());
                format!("line {line} of {input}: {error}")
            }
            Failure::Usage { message, .. } => message.clone(),
            Failure::Output(_) => "cannot write to standard output".to_owned(),
            Failure::Bug(what) => format!("this is a bug in vdb: {what}"),
        }
    }

    /// What lies behind the message, outermost first.
    pub(crate) fn causes(&self) -> Vec<String> {
        if let Failure::Output(error) = self {
            return vec![error.to_string()];
        }
        let first = self.error().and_then(|error| error.source());
        std::iter::successors(first, |&cause| cause.source()).map(ToString::to_string).collect()
    }

    /// The place in the user's own text, drawn.
    pub(crate) fn caret(&self) -> Option<String> {
        self.error().and_then(Error::caret)
    }

    /// What may help.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Failure::Usage { hint, .. } => hint.clone(),
            _ => self.error().and_then(hint),
        }
    }

    /// The data of the JSON line `error`.
    pub(crate) fn data(&self) -> Value {
        let mut message = self.message();
        for cause in self.causes() {
            message.push_str(": ");
            message.push_str(&cause);
        }
        let (mut path, mut expected, mut found) = (Value::Null, Value::Null, Value::Null);
        if let Some(error) = self.error() {
            match error {
                Error::Io { path: file, .. } | Error::Poisoned { path: file } => {
                    path = json!(file.to_string_lossy());
                }
                Error::NotAStore { path: file, found: it } | Error::Locked { path: file, holder: it } => {
                    (path, found) = (json!(file.to_string_lossy()), json!(it));
                }
                Error::NotFound { what: "file" | "source", name } | Error::Exists { what: "file", name } => {
                    path = json!(name);
                }
                Error::Version { found: it, oldest, newest } => {
                    (expected, found) = (json!(format!("{oldest} to {newest}")), json!(it));
                }
                Error::Shape { expected: wanted, found: it, .. } => {
                    (expected, found) = (json!(wanted), json!(it));
                }
                Error::Limit { found: it, max, .. } => (expected, found) = (json!(max), json!(it)),
                Error::Memory { needs, left, .. } => (expected, found) = (json!(needs), json!(left)),
                Error::Model { expected: wanted, found: it } => {
                    (expected, found) = (json!(wanted), json!(it));
                }
                _ => {}
            }
        }
        if let Failure::File { path: file, .. } = self {
            path = json!(file.to_string_lossy());
        }
        let mut number = Value::Null;
        if let Failure::Line { path: input, line, .. } = self {
            path = json!(input.as_ref().map(|input| input.to_string_lossy()));
            number = json!(line);
        }
        json!({
            "code": self.code(), "message": message, "path": path, "line": number,
            "expected": expected, "found": found, "hint": self.hint(),
        })
    }
}

/// The way out where a store cannot be written.
const READS_ONLY: &str =
    "commands that only read, such as `search`, `list` and `check`, need no permission to write";

/// The way out of an error of the library.
fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::NotFound { what: "file", name } => format!("`vdb create {name}` makes it"),
        Error::Exists { what: "file", .. } => "vdb never overwrites a file: choose another name".into(),
        Error::Locked { .. } => "`--wait 10s` waits for the other process; reading needs no waiting".into(),
        Error::Shape { what, found, .. } if what.starts_with("vector of ") && what.contains("document ") => {
            format!("`--model none` or `--dim {found}` makes a new store for such vectors")
        }
        Error::Corrupt { what, .. } if what.starts_with("text ") => {
            "`vdb repair FILE` makes the text index anew from the documents".into()
        }
        Error::Unavailable { reason, .. } if reason.contains("a repair of the store") => {
            "`vdb repair FILE` does that".into()
        }
        Error::Corrupt { what, .. } if what == "write-ahead log" => {
            "copy the file; then `vdb repair --discard-log FILE` goes on with the commits before the damage"
                .into()
        }
        Error::Corrupt { .. } => "`vdb check --deep FILE` names everything that is damaged".into(),
        Error::Memory { .. } => "`--memory SIZE` sets the budget".into(),
        Error::Version { .. } => "a newer version of vdb has written the file: use that".into(),
        Error::Poisoned { .. } => "free some space or repair the disk, then run the command again".into(),
        Error::Io { op, source, .. } => match (*op, source.kind()) {
            (_, io::ErrorKind::StorageFull) => "the disk is full: what was committed is safe".into(),
            (_, io::ErrorKind::QuotaExceeded) => "the quota is used up: what was committed is safe".into(),
            (_, io::ErrorKind::FileTooLarge) => {
                "files may not grow so large here: what was committed is safe".into()
            }
            ("write", io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                READS_ONLY.into()
            }
            _ => return None,
        },
        Error::Unavailable { feature: "writing", .. } => READS_ONLY.into(),
        _ => return None,
    })
}
