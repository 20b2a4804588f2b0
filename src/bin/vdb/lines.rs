//! Lines of a file or of standard input, with their numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use vdb::Error;

use crate::failure::{Failure, Result};
use crate::given::{self, Stdin};

/// The longest line, in bytes: the longest text, written with escapes, and room for metadata and vectors.
const LINE_BYTES_MAX: u64 = 256 << 20;
/// A line takes at most one part in so many of the memory budget: it is there several times while it is read and added.
const LINE_PARTS: u64 = 16;

/// Lines, read one after the other.
pub(crate) struct Lines {
    /// `None` is standard input.
    path: Option<PathBuf>,
    reader: Box<dyn BufRead>,
    number: u64,
    /// The longest line, in bytes.
    max: u64,
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
            return Ok(Lines::of(None, BufReader::new(Stdin::take()?)));
        }
        let path = PathBuf::from(name);
        let file = File::open(&path).map_err(|source| given::unreadable(&path, source))?;
        Ok(Lines::of(Some(path), BufReader::new(file)))
    }

    fn of(path: Option<PathBuf>, reader: impl BufRead + 'static) -> Self {
        Lines { path, reader: Box::new(reader), number: 0, max: LINE_BYTES_MAX }
    }

    /// Refuses lines that a memory budget of so many bytes has no room for. Replaces the budget before.
    pub(crate) fn within(&mut self, budget: u64) {
        self.max = LINE_BYTES_MAX.min(budget / LINE_PARTS);
    }

    /// The next line that is not blank, without its end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Numbered<String>>> {
        loop {
            let mut bytes = Vec::new();
            let length = read_line(&mut *self.reader, &mut bytes, self.max).map_err(|source| {
                given::unreadable(self.path.as_deref().unwrap_or(Path::new("standard input")), source)
            })?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if length > self.max {
                let within = if self.max < LINE_BYTES_MAX { ", within the memory budget," } else { "" };
                let what = format!("length in bytes{within}");
                return Err(self.fault(self.number, Error::Limit { what, found: length, max: self.max }));
            }
            let mut value = String::from_utf8(bytes).map_err(|error| {
                let reason = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
                self.fault(self.number, Error::Invalid { what: "text".into(), reason })
            })?;
            value.truncate(value.trim_end_matches(['\n', '\r']).len());
            if !value.trim().is_empty() {
                return Ok(Some(Numbered { line: self.number, value }));
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
fn read_line(reader: &mut dyn BufRead, bytes: &mut Vec<u8>, max: u64) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let end = chunk.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(chunk.len());
        length += wide(taken);
        if length <= max {
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
