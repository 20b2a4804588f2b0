//! Arrays of NumPy (`.npy`): a vector a row, with the other parts of documents in JSON Lines beside it.
//!
//! Source: NumPy, `numpy/lib/_format_impl.py`, "NPY format", versions 1.0 to 3.0.
#![deny(clippy::indexing_slicing)]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use half::f16;
use uuid::Uuid;

use super::{Row, jsonl};
use crate::codec::{to_u64, to_usize};
use crate::document::{Document, JsonFields};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header that is read, in bytes; NumPy itself reads 10,000.
const HEADER_BYTES_MAX: usize = 1 << 16;
/// The bytes that are read from a file at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The documents of an array, each with the vector of its row, and what the line of the same number says in the file of
/// the same name that ends in `.jsonl`, if there is one.
pub(super) fn rows(
    path: &Path,
    fields: &JsonFields,
    line_max: u64,
) -> Result<Box<dyn Iterator<Item = Result<Row>>>> {
    let mut array = Array::open(path)?;
    let beside = path.with_extension("jsonl");
    if !beside.is_file() {
        return Ok(Box::new(std::iter::from_fn(move || {
            let vector = array.next().transpose()?;
            Some(vector.map(|vector| array.document(Document::default(), vector)))
        })));
    }
    check_lengths(path, array.rows, &beside)?;
    let mut lines = jsonl::rows_beside(&beside, fields, line_max)?;
    Ok(Box::new(std::iter::from_fn(move || {
        let vector = array.next().transpose()?;
        let line = lines.next();
        Some(vector.and_then(|vector| {
            let mut line = line.ok_or_else(|| {
                Error::invalid(beside.display().to_string(), format!("it ends before row {}", array.done))
            })??;
            let fault = match std::mem::replace(&mut line.document, Ok(Document::default())) {
                Err(fault) => fault,
                Ok(document) if document.parts().is_empty() => return Ok(array.document(document, vector)),
                Ok(_) => Error::invalid("document", "it has a vector, and so has the row"),
            };
            Ok(Row { number: array.done, ..of_line(&beside, line, fault) })
        }))
    })))
}

/// Blames a line of the file beside the array.
fn of_line(path: &Path, line: Row, fault: Error) -> Row {
    let fault = Error::Row { path: path.to_owned(), line: line.number, source: Box::new(fault) };
    Row { number: line.number, raw: line.raw, document: Err(fault) }
}

/// Refuses lines that are not one for each row, before any of them is added.
fn check_lengths(path: &Path, rows: u64, beside: &Path) -> Result<()> {
    let lines = jsonl::count(beside)?;
    if lines == rows {
        return Ok(());
    }
    let reason = format!("it has {lines} documents, {} has {rows} rows", path.display());
    Err(Error::invalid(beside.display().to_string(), reason))
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Half,
    Single,
    Double,
}

impl Type {
    fn bytes(self) -> usize {
        match self {
            Type::Half => 2,
            Type::Single => 4,
            Type::Double => 8,
        }
    }

    /// The values of a row; what an f32 does not hold becomes infinite, and is refused with the document.
    fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Type::Half => {
                bytes.as_chunks().0.iter().map(|&value| f16::from_le_bytes(value).to_f32()).collect()
            }
            Type::Single => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
            Type::Double => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&value| crate::vector::kernel::narrow(f64::from_le_bytes(value)))
                .collect(),
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: Type,
    rows: u64,
    dim: usize,
}

/// An array that is read row by row.
struct Array {
    path: PathBuf,
    input: BufReader<File>,
    kind: Type,
    rows: u64,
    /// The rows read so far.
    done: u64,
    row: Vec<u8>,
}

impl Array {
    fn open(path: &Path) -> Result<Self> {
        let io = |op| move |source| Error::Io { op, path: path.to_owned(), source };
        let file = File::open(path).map_err(io("open"))?;
        let metadata = file.metadata().map_err(io("read"))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        let invalid = |reason| Error::invalid(format!("array {}", path.display()), reason);
        let (header, begin) = read_header(&mut input).map_err(|fault| match fault {
            Fault::Io(source) => io("read")(source),
            Fault::Content(reason) => invalid(reason),
        })?;
        let Header { kind, rows, dim } = header;
        let row_bytes = to_u64(dim) * to_u64(kind.bytes());
        let expected = rows.checked_mul(row_bytes).and_then(|bytes| bytes.checked_add(begin));
        // A pipe has no length: there the row that is cut is named.
        if metadata.is_file() && expected != Some(metadata.len()) {
            let expected =
                expected.map_or_else(|| "more than there can be".to_owned(), |bytes| bytes.to_string());
            return Err(invalid(format!(
                "it has {} bytes, expected {expected} for {rows} rows of {dim} values of {} bytes",
                metadata.len(),
                kind.bytes()
            )));
        }
        Ok(Array { path: path.to_owned(), input, kind, rows, done: 0, row: vec![0; to_usize(row_bytes)] })
    }

    /// The next row.
    fn next(&mut self) -> Result<Option<Vec<f32>>> {
        if self.done == self.rows {
            return Ok(None);
        }
        self.done += 1;
        let (path, number, rows) = (&self.path, self.done, self.rows);
        self.input.read_exact(&mut self.row).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let reason = format!("it ends within row {number}, expected {rows} rows");
                Error::invalid(format!("array {}", path.display()), reason)
            }
            _ => Error::Io { op: "read", path: path.clone(), source },
        })?;
        Ok(Some(self.kind.read(&self.row)))
    }

    /// A document with the vector of the row just read; without an id it gets one made of row and content.
    fn document(&self, document: Document, vector: Vec<f32>) -> Row {
        let mut document = document;
        if document.id_ref().is_none() {
            let mut name = format!("{}\n{}\n", self.done, document.to_json(false)).into_bytes();
            name.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            document = document.id(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name).to_string());
        }
        let document = document.vector(vector);
        let document = document.validate().map(|()| document);
        Row { number: self.done, raw: String::new(), document }
    }
}

/// Why a header is none.
#[derive(Debug)]
enum Fault {
    Io(std::io::Error),
    Content(String),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault::Content(reason)
    }
}

/// Reads the header; returns what it says, and where the values begin.
fn read_header(input: &mut impl Read) -> std::result::Result<(Header, u64), Fault> {
    let mut take = |count: usize| {
        let mut bytes = Vec::new();
        input.by_ref().take(to_u64(count)).read_to_end(&mut bytes).map_err(Fault::Io)?;
        if bytes.len() == count { Ok(bytes) } else { Err(Fault::Content("it ends within its header".into())) }
    };
    let head = take(MAGIC.len() + 2)?;
    let Some((magic, &[major, minor])) = head.split_last_chunk() else {
        return Err(Fault::Content("it ends within its header".into()));
    };
    if magic != MAGIC {
        return Err(Fault::Content("it does not begin as an array of NumPy".into()));
    }
    let width = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return Err(Fault::Content(format!("it is of version {major}.{minor}, expected 1.0 to 3.0"))),
    };
    let length = take(width)?.iter().rev().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
    if length > HEADER_BYTES_MAX {
        return Err(Fault::Content(format!(
            "its header has {length} bytes, the limit is {HEADER_BYTES_MAX}"
        )));
    }
    let text = take(length)?;
    let text = String::from_utf8(text).map_err(|_| "its header is no text".to_owned())?;
    Ok((Fields::parse(&text)?.header()?, to_u64(MAGIC.len() + 2 + width + length)))
}

/// The fields of the dictionary, as they stand there.
#[derive(Debug, Default)]
struct Fields<'a> {
    descr: Option<&'a str>,
    fortran_order: Option<&'a str>,
    shape: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads a dictionary of Python with plain keys, whose values hold no quoted commas or brackets.
    fn parse(text: &'a str) -> std::result::Result<Self, String> {
        let body = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut rest = body.ok_or("its header is no dictionary")?.trim();
        let mut fields = Fields::default();
        while !rest.is_empty() {
            let (key, after) = rest.split_once(':').ok_or("a key of its header has no value")?;
            let (value, after) = after.split_at(value_bytes(after));
            let (name, value) = (unquoted(key), value.trim());
            let slot = match name {
                Some("descr") => &mut fields.descr,
                Some("fortran_order") => &mut fields.fortran_order,
                Some("shape") => &mut fields.shape,
                _ => return Err(format!("its header has the unknown key {:.40}", key.trim())),
            };
            if slot.replace(value).is_some() {
                return Err(format!("its header has the key {:.40} twice", key.trim()));
            }
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        Ok(fields)
    }

    fn header(&self) -> std::result::Result<Header, String> {
        let missing = |key: &str| format!("its header has no {key}");
        let descr = self.descr.ok_or_else(|| missing("descr"))?;
        let kind = match unquoted(descr) {
            Some("<f2") => Type::Half,
            Some("<f4") => Type::Single,
            Some("<f8") => Type::Double,
            Some(big) if big.starts_with('>') => {
                return Err(format!("its values are big-endian ({big:.40}), expected <f2, <f4 or <f8"));
            }
            _ => return Err(format!("its values are of the type {descr:.40}, expected <f2, <f4 or <f8")),
        };
        match self.fortran_order.ok_or_else(|| missing("fortran_order"))? {
            "False" => {}
            "True" => return Err("it is stored by columns (fortran_order), expected rows".into()),
            other => return Err(format!("its fortran_order is {other:.40}, expected False")),
        }
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        let (rows, dim) =
            two(shape).ok_or_else(|| format!("its shape is {shape:.60}, expected (rows, values)"))?;
        if !(1..=to_u64(DIM_MAX)).contains(&dim) {
            return Err(format!("its rows have {dim} values, expected 1 to {DIM_MAX}"));
        }
        Ok(Header { kind, rows, dim: to_usize(dim) })
    }
}

/// The length of a value: up to a comma or the end, but for those in brackets.
fn value_bytes(text: &str) -> usize {
    let mut depth = 0_usize;
    let end = text.find(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    end.unwrap_or(text.len())
}

/// The text between two quotation marks of a kind.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    ['\'', '"'].into_iter().find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark))
}

/// The two numbers of a tuple of two; a last comma is allowed.
fn two(tuple: &str) -> Option<(u64, u64)> {
    let body = tuple.strip_prefix('(')?.strip_suffix(')')?.trim();
    let (rows, dim) = body.strip_suffix(',').unwrap_or(body).split_once(',')?;
    // Python 2 wrote 3L.
    let number = |text: &str| text.trim().trim_end_matches('L').parse::<u64>().ok();
    Some((number(rows)?, number(dim)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> std::result::Result<Header, String> {
        Fields::parse(text)?.header()
    }

    #[test]
    fn headers_are_read_as_python_writes_them() {
        let usual = "{'descr': '<f4', 'fortran_order': False, 'shape': (200000, 3072), }    \n";
        assert_eq!(header(usual), Ok(Header { kind: Type::Single, rows: 200_000, dim: 3072 }));
        let other = "{\"shape\":(0L, 1L,),\"fortran_order\":False,\"descr\":\"<f2\"}";
        assert_eq!(header(other), Ok(Header { kind: Type::Half, rows: 0, dim: 1 }));
    }

    #[test]
    fn what_a_header_may_not_say_is_named() {
        let with = |descr: &str, order: &str, shape: &str| {
            header(&format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"))
                .unwrap_err()
        };
        for (descr, order, shape, said) in [
            ("'>f4'", "False", "(2, 3)", "big-endian (>f4)"),
            ("'<i8'", "False", "(2, 3)", "type '<i8'"),
            ("[('a', '<f4'), ('b', '<f4')]", "False", "(2, 3)", "type [('a', '<f4')"),
            ("'<f4'", "True", "(2, 3)", "columns"),
            ("'<f4'", "1", "(2, 3)", "fortran_order is 1"),
            ("'<f4'", "False", "(6,)", "shape is (6,)"),
            ("'<f4'", "False", "()", "shape is ()"),
            ("'<f4'", "False", "(1, 2, 3)", "shape is (1, 2, 3)"),
            ("'<f4'", "False", "(-1, 3)", "shape is (-1, 3)"),
            ("'<f4'", "False", "(2, 0)", "0 values"),
            ("'<f4'", "False", "(2, 65537)", "65537 values"),
        ] {
            let found = with(descr, order, shape);
            assert!(found.contains(said), "{found}");
        }
        for (text, said) in [
            ("", "no dictionary"),
            ("{'descr': '<f4'}", "no fortran_order"),
            ("{'descr'}", "no value"),
            ("{'descr': '<f4', 'descr': '<f4'}", "twice"),
            ("{'order': 3}", "unknown key"),
        ] {
            assert!(header(text).unwrap_err().contains(said), "{text}");
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_a_header_is_an_error_or_another_header() {
        let text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let mut file = [MAGIC.as_slice(), &[1, 0, 60, 0], text].concat();
        assert!(read_header(&mut file.as_slice()).is_ok());
        for length in 0..file.len() {
            assert!(read_header(&mut &file[..length]).is_err());
        }
        for at in 0..file.len() {
            for mask in [1, 2, 0x80, 0xff] {
                file[at] ^= mask;
                let _ = read_header(&mut file.as_slice());
                file[at] ^= mask;
            }
        }
    }

    #[test]
    fn values_of_each_type_are_read() {
        assert_eq!(Type::Half.read(&[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(Type::Single.read(&1.5_f32.to_le_bytes()), [1.5]);
        assert_eq!(Type::Double.read(&0.1_f64.to_le_bytes()), [0.1_f32]);
        assert_eq!(Type::Double.read(&1e300_f64.to_le_bytes()), [f32::INFINITY]);
    }
}
