//! Values that are typed, or come from a file or standard input: `@FILE`, `@-`, `-`.

use std::io::{self, Read, StdinLock};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use vdb::{Document, Error, Metadata};

use crate::failure::{Failure, Result};
use crate::lines::Lines;

/// Whether some part of the command line has standard input for itself.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the program waits for standard input.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Standard input. While it is waited for, an interrupt ends the program at once.
pub(crate) struct Stdin(StdinLock<'static>);

impl Stdin {
    /// Takes standard input, which can be read once.
    pub(crate) fn take() -> Result<Self> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Failure::usage("standard input is asked for twice"));
        }
        Ok(Stdin(io::stdin().lock()))
    }

    /// Whether the program waits for it now.
    pub(crate) fn is_waited_for() -> bool {
        WAITING.load(Ordering::Acquire)
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        WAITING.store(true, Ordering::Release);
        let result = self.0.read(buffer);
        WAITING.store(false, Ordering::Release);
        result
    }
}

/// The text of a value that may be `@FILE` or `@-`.
pub(crate) fn text(value: &str) -> Result<String> {
    let mut text = String::new();
    let (read, path) = match value.strip_prefix('@') {
        None => return Ok(value.to_owned()),
        Some("-") => (Stdin::take()?.read_to_string(&mut text), Path::new("standard input")),
        Some(name) => {
            let path = Path::new(name);
            (std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)), path)
        }
    };
    read.map_err(|source| unreadable(path, source))?;
    Ok(text)
}

/// A file of the user, but no store, that cannot be read.
pub(crate) fn unreadable(path: &Path, source: io::Error) -> Failure {
    Error::Io { op: "read", path: PathBuf::from(path), source }.into()
}

/// Metadata in JSON, or from `@FILE`.
pub(crate) fn metadata(value: &str) -> Result<Metadata> {
    Ok(Metadata::from_json(&text(value)?)?)
}

/// A vector in JSON, or from `@FILE`.
pub(crate) fn vector(value: &str) -> Result<Vec<f32>> {
    let text = text(value)?;
    let invalid = |reason: String| Error::Invalid { what: "vector of the query".into(), reason };
    // Alone it is JSON, so that it stays one value in the document around it.
    let alone = serde_json::from_str::<&serde_json::value::RawValue>(&text);
    match (Document::from_json(&format!("{{\"vector\":{text}}}")), alone) {
        // Of a value that is none the place in the list says more.
        (Err(Error::Invalid { reason, .. }), alone) if alone.is_ok() || reason.starts_with("vector[") => {
            Err(invalid(reason).into())
        }
        (_, Err(error)) => Err(invalid(format!("expected a list of numbers: {error}")).into()),
        (Err(other), _) => Err(other.into()),
        (Ok(document), _) => Ok(vector_of(&document).unwrap_or_default()),
    }
}

/// The first vector of a document.
pub(crate) fn vector_of(document: &Document) -> Option<Vec<f32>> {
    document.parts().iter().find_map(|part| part.vector.clone())
}

/// Ids that were typed; `-` alone stands for the lines of standard input, which are read as they are asked for.
pub(crate) fn ids(words: &[String]) -> Result<impl Iterator<Item = Result<String>>> {
    let (mut lines, typed) =
        if words == ["-"] { (Some(Lines::open("-")?), Vec::new()) } else { (None, words.to_vec()) };
    let read = iter::from_fn(move || Some(lines.as_mut()?.next_line().transpose()?.map(|line| line.value)));
    Ok(typed.into_iter().map(Ok).chain(read))
}
