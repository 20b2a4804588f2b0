//! JSON Lines: one document a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Row;
use crate::codec::to_u64;
use crate::document::{Document, JsonFields};
use crate::error::{Error, Result};
use crate::limits::LINE_BYTES_MAX;

/// So much of a line that is no document is kept to be shown.
const RAW_BYTES: usize = 4096;
/// The bytes that are read from a file at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The documents of a file; empty lines count, and are left out.
pub(super) fn rows(
    path: &Path,
    fields: &JsonFields,
    line_max: u64,
) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    read(path, fields, line_max, whole)
}

/// The documents of a file that leaves out their vectors, and may leave out all else.
pub(super) fn rows_beside(
    path: &Path,
    fields: &JsonFields,
    line_max: u64,
) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    read(path, fields, line_max, Document::from_json_beside)
}

/// How many lines of a file are not empty.
pub(super) fn count(path: &Path) -> Result<u64> {
    let io = |op| move |source| Error::Io { op, path: path.to_owned(), source };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(io("open"))?);
    let (mut count, mut line) = (0, Vec::new());
    loop {
        line.clear();
        match read_line(&mut input, &mut line, to_u64(RAW_BYTES)).map_err(io("read"))? {
            None => return Ok(count),
            Some(_) => count += u64::from(!line.trim_ascii().is_empty()),
        }
    }
}

type Parse = fn(&str, &JsonFields) -> Result<Document>;

fn read(
    path: &Path,
    fields: &JsonFields,
    line_max: u64,
    parse: Parse,
) -> Result<impl Iterator<Item = Result<Row>> + use<>> {
    let io = |op, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { op, path: path.clone(), source }
    };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(io("open", path))?);
    let (fields, read_error) = (fields.clone(), io("read", path));
    let mut number = 0;
    let mut line = Vec::new();
    Ok(std::iter::from_fn(move || {
        loop {
            number += 1;
            line.clear();
            match read_line(&mut input, &mut line, line_max) {
                Err(source) => return Some(Err(read_error(source))),
                Ok(None) => return None,
                Ok(Some(found)) if found > line_max => {
                    let document = Err(too_long(found, line_max));
                    return Some(Ok(Row { number, raw: shown(&line), document }));
                }
                Ok(Some(_)) if line.trim_ascii().is_empty() => {}
                Ok(Some(_)) => {
                    let document = text(&line).and_then(|text| parse(text, &fields));
                    let raw = if document.is_err() { shown(&line) } else { String::new() };
                    return Some(Ok(Row { number, raw, document }));
                }
            }
        }
    }))
}

/// Reads a line, of which no more than the limit is kept; its whole length, or `None` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, max: u64) -> std::io::Result<Option<u64>> {
    let read = input.take(max + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(None);
    }
    let mut len = to_u64(read);
    if line.last() != Some(&b'\n') && len > max {
        line.truncate(RAW_BYTES);
        line.shrink_to_fit();
        len += to_u64(skip_line(input)?);
    }
    Ok(Some(len))
}

fn too_long(found: u64, max: u64) -> Error {
    if max == to_u64(LINE_BYTES_MAX) {
        return Error::Limit { what: "line in bytes".into(), found, max };
    }
    Error::Limit { what: "line in bytes, within the memory budget,".into(), found, max }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<usize> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let end = buffer.iter().position(|&b| b == b'\n').map(|at| at + 1);
        let n = end.unwrap_or(buffer.len());
        input.consume(n);
        skipped += n;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

fn text(line: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(line)
        .map_err(|error| Error::invalid("line", format!("byte {} is not UTF-8", error.valid_up_to())))?;
    Ok(text.trim_end_matches(['\r', '\n']))
}

/// A document that can be added as it is.
fn whole(text: &str, fields: &JsonFields) -> Result<Document> {
    let document = Document::from_json_with(text, fields)?;
    document.validate()?;
    Ok(document)
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(RAW_BYTES)]).trim_end().to_owned()
}
