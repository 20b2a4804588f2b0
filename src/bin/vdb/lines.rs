//! Lines of a file or of standard input, with their numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use vdb::Error;

use crate::failure::{Failure, Result};
use crate::given::{self, Stdin};

/// The longest line, in bytes: the longest text, written with escapes, and room for metadata and vectors.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Lines, read one after the other.
pub(crate) struct Lines {
    /// `None` is standard input.
    path: Option<PathBuf>,
    reader: Box<dyn BufRead>,
    number: u64,
}

/// A value and the line that it comes from, counted from 1.
pub(crate) struct Numbered<T> {
    pub(crate) line: u64,
    pub(crate) value: T,
}

impl Lines {
    /// Opens a file, or standard input when `name` is `-`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        if name == "-" {
            return Ok(Lines { path: None, reader: Box::new(BufReader::new(Stdin::take()?)), number: 0 });
        }
        let path = PathBuf::from(name);
        let file = File::open(&path).map_err(|source| given::unreadable(&path, source))?;
        Ok(Lines { path: Some(path), reader: Box::new(BufReader::new(file)), number: 0 })
    }

    /// The next line that is not blank, without its end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Numbered<String>>> {
        loop {
            let mut bytes = Vec::new();
            let length = read_line(&mut *self.reader, &mut bytes).map_err(|source| {
                given::unreadable(self.path.as_deref().unwrap_or(Path::new("standard input")), source)
            })?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if length > bytes.len() {
                let what = "length in bytes".into();
                let (found, max) = (wide(length), wide(LINE_BYTES_MAX));
                return Err(self.fault(self.number, Error::Limit { what, found, max }));
            }
            let value = String::from_utf8(bytes).map_err(|error| {
                let reason = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
                self.fault(self.number, Error::Invalid { what: "text".into(), reason })
            })?;
            let value = value.trim_end_matches(['\n', '\r']);
            if !value.trim().is_empty() {
                return Ok(Some(Numbered { line: self.number, value: value.to_owned() }));
            }
        }
    }

    /// The next line as `parse` reads it.
    pub(crate) fn next_parsed<T>(
        &mut self,
        parse: impl Fn(&str) -> vdb::Result<T>,
    ) -> Result<Option<Numbered<T>>> {
        let Some(Numbered { line, value }) = self.next_line()? else { return Ok(None) };
        let value = parse(&value).map_err(|error| self.fault(line, error))?;
        Ok(Some(Numbered { line, value }))
    }

    /// An error that a line is to blame for.
    pub(crate) fn fault(&self, line: u64, error: Error) -> Failure {
        Failure::line(self.path.clone(), line, error)
    }
}

/// Reads a line with its end into `bytes`, which stays short when the line is longer than allowed; returns its length.
fn read_line(reader: &mut dyn BufRead, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = chunk.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(chunk.len());
        length += taken;
        if length <= LINE_BYTES_MAX {
            bytes.extend_from_slice(&chunk[..taken]);
        }
        reader.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(length);
        }
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
