//! A directory of texts: one document a file.

use std::ffi::OsStr;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::Row;
use crate::codec::to_u64;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::limits::TEXT_BYTES_MAX;

/// The files that are texts.
const EXTENSIONS: [&str; 2] = ["txt", "md"];

/// The documents of the text files below `root`, in the order of their paths; hidden ones and empty files are left out. A file of more than
/// `bytes_max` bytes is refused unread.
pub(super) fn rows(root: &Path, bytes_max: u64) -> impl Iterator<Item = Result<Row>> {
    let root = root.to_owned();
    let visible =
        |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut number = 0;
    WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(visible).filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(&root).to_owned();
                let source =
                    error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links"));
                return Some(Err(Error::Io { op: "read", path, source }));
            }
        };
        let extension = entry.path().extension().and_then(OsStr::to_str).unwrap_or_default();
        if !entry.file_type().is_file() || !EXTENSIONS.contains(&extension) {
            return None;
        }
        number += 1;
        let raw = entry.path().display().to_string();
        match document(&root, &entry, bytes_max) {
            Ok(None) => None,
            Ok(Some(document)) => Some(Ok(Row { number, raw, document: Ok(document) })),
            Err(error) => Some(Ok(Row { number, raw, document: Err(error) })),
        }
    })
}

/// The document of one file; `None` when it has no text.
fn document(root: &Path, entry: &DirEntry, bytes_max: u64) -> Result<Option<Document>> {
    let path = entry.path();
    let io = |source| Error::Io { op: "read", path: path.to_owned(), source };
    let metadata = entry.metadata().map_err(|error| io(error.into()))?;
    let of = |which| format!("file {} in bytes{which}", path.display());
    for (which, max) in [("", to_u64(TEXT_BYTES_MAX)), (", within the memory budget,", bytes_max)] {
        if metadata.len() > max {
            return Err(Error::Limit { what: of(which), found: metadata.len(), max });
        }
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(format!("file {}", path.display()), format!("byte {at} is not UTF-8"))
    })?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let relative = path.strip_prefix(root).unwrap_or(path);
    let id = relative.to_str().ok_or_else(|| {
        Error::invalid(format!("path {}", path.display()), "it is not UTF-8, so it cannot be an id")
    })?;
    let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let modified = modified.map(|time| format!("{time:.0}"));
    let metadata = serde_json::json!({"size": metadata.len(), "modified": modified});
    let document = Document::new(text).id(id).metadata(&metadata)?;
    document.validate()?;
    Ok(Some(document))
}
