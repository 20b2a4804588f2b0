//! Compares our streams with FAISS's own: committed files of faiss-cpu 1.15.1, FAISS 1.12 in this process, and a Python.

use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{FlatHeader, FlatReader, FlatWriter, Naming, Scaling, StreamMetric};
use crate::error::{Error, ErrorKind, Result};
use crate::vector::faiss::{oracle_write, ready};

const DIM: usize = 16;
const ROWS: u64 = 200;
/// Bytes of a stream before its first vector: one index header and one count, with one more header in an id map.
const FLAT_HEADER: usize = 45;
const ID_MAP_HEADER: usize = 82;

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/faiss-raw").join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(name)).unwrap()
}

/// The values of an `.npy` file of version 1, whose header length is at byte 8, as words of `N` bytes.
pub(in crate::vector) fn npy<const N: usize>(name: &str, kind: &str) -> Vec<[u8; N]> {
    let bytes = fixture(name);
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    assert!(header.contains(kind) && header.contains("'fortran_order': False"), "{header}");
    bytes[header_end..].as_chunks().0.to_vec()
}

pub(in crate::vector) fn fixture_vectors() -> Vec<f32> {
    npy("vectors.npy", "'<f4'").into_iter().map(f32::from_le_bytes).collect()
}

fn fixture_ids() -> Vec<i64> {
    npy("idmap-ids.npy", "'<i8'").into_iter().map(i64::from_le_bytes).collect()
}

/// The committed files: name, header, bytes before the first vector.
fn files() -> [(&'static str, FlatHeader, usize); 3] {
    let header = |metric, naming| FlatHeader { metric, dim: DIM, rows: ROWS, naming };
    [
        ("flat-ip.faiss", header(StreamMetric::InnerProduct, Naming::Position), FLAT_HEADER),
        ("flat-l2.faiss", header(StreamMetric::L2, Naming::Position), FLAT_HEADER),
        ("idmap-flat-l2.faiss", header(StreamMetric::L2, Naming::Ids), ID_MAP_HEADER),
    ]
}

fn written(header: FlatHeader, scaling: Scaling, vectors: &[f32], ids: &[i64]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = FlatWriter::new(&mut out, Path::new("out.faiss"), header, scaling)?;
    for vector in vectors.chunks(header.dim) {
        writer.vector(vector)?;
    }
    for id in ids {
        writer.id(*id)?;
    }
    writer.finish()?;
    Ok(out)
}

/// Everything in a stream.
#[derive(Debug, PartialEq)]
struct Contents {
    header: FlatHeader,
    bits: Vec<u32>,
    ids: Vec<i64>,
}

fn read_from(input: impl Read, len: usize) -> Result<Contents> {
    let mut reader = FlatReader::open(input, len.try_into().unwrap(), Path::new("in.faiss"))?;
    let (mut bits, mut ids) = (Vec::new(), Vec::new());
    loop {
        let run = reader.vectors()?;
        if run.is_empty() {
            break;
        }
        bits.extend(run.iter().map(|value| value.to_bits()));
    }
    loop {
        let run = reader.ids()?;
        if run.is_empty() {
            break;
        }
        ids.extend_from_slice(run);
    }
    Ok(Contents { header: reader.header(), bits, ids })
}

fn read(bytes: &[u8]) -> Result<Contents> {
    read_from(bytes, bytes.len())
}

fn oracle(header: FlatHeader, vectors: &[f32], ids: &[i64]) -> Vec<u8> {
    ready().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    oracle_write(&file, header.metric.number(), header.dim, (0, 0), vectors, ids).unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Values with every kind of bit pattern, NaN among them: the stream keeps bits.
fn pattern(count: usize) -> Vec<f32> {
    let mut state = 7_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state)
    })
    .take(count)
    .collect()
}

#[test]
fn files_of_faiss_are_read_exactly() {
    let bits: Vec<u32> = fixture_vectors().iter().map(|value| value.to_bits()).collect();
    for (name, header, _) in files() {
        let ids = if header.naming == Naming::Ids { fixture_ids() } else { Vec::new() };
        assert_eq!(read(&fixture(name)).unwrap(), Contents { header, bits: bits.clone(), ids }, "{name}");
    }
}

#[test]
fn our_bytes_are_those_of_the_files_of_faiss() {
    for (name, header, _) in files() {
        let ids = if header.naming == Naming::Ids { fixture_ids() } else { Vec::new() };
        assert!(
            written(header, Scaling::AsGiven, &fixture_vectors(), &ids).unwrap() == fixture(name),
            "{name}"
        );
    }
}

#[test]
fn our_bytes_are_those_of_the_faiss_in_this_process() {
    for (dim, rows) in [(1, 0), (1, 1), (3, 7), (384, 100), (65_536, 3)] {
        for metric in StreamMetric::ALL {
            let vectors = pattern(dim * rows);
            for naming in [Naming::Position, Naming::Ids] {
                let header = FlatHeader { metric, dim, rows: rows.try_into().unwrap(), naming };
                let ids: Vec<i64> = match naming {
                    Naming::Position => Vec::new(),
                    // Without rows the oracle cannot tell an id map from a plain index.
                    Naming::Ids if rows == 0 => continue,
                    Naming::Ids => (0..header.rows).map(|row| i64::MIN + row.cast_signed() * 3).collect(),
                };
                let ours = written(header, Scaling::AsGiven, &vectors, &ids).unwrap();
                assert!(ours == oracle(header, &vectors, &ids), "{header:?}");
                assert_eq!(Some(ours.len().try_into().unwrap()), header.stream_bytes());
                let bits = vectors.iter().map(|value| value.to_bits()).collect();
                assert!(read(&ours).unwrap() == Contents { header, bits, ids }, "{header:?}");
            }
        }
    }
}

#[test]
fn an_empty_id_map_is_read_back() {
    let header = FlatHeader { metric: StreamMetric::L2, dim: 5, rows: 0, naming: Naming::Ids };
    let bytes = written(header, Scaling::AsGiven, &[], &[]).unwrap();
    assert_eq!(read(&bytes).unwrap(), Contents { header, bits: Vec::new(), ids: Vec::new() });
}

#[test]
fn the_oracle_reports_errors_of_the_file() {
    let read_only = std::fs::File::open(fixture_path("vectors.npy")).unwrap();
    let error = oracle_write(&read_only, 1, 1, (0, 0), &[0.5], &[]).unwrap_err();
    assert!(matches!(&error, Error::Native { message, .. } if message.contains("write error")), "{error}");
    let error = oracle_write(&read_only, 1, 2, (0, 0), &[0.5], &[]).unwrap_err();
    assert_eq!(error.to_string(), "vdb_oracle_write failed: vectors are no whole rows");
}

#[test]
fn every_truncation_is_refused() {
    for (name, ..) in files() {
        let bytes = fixture(name);
        for len in 0..bytes.len() {
            let honest = read(&bytes[..len]).unwrap_err();
            let lying = read_from(&bytes[..len], bytes.len()).unwrap_err();
            assert_eq!([honest.kind(), lying.kind()], [ErrorKind::Corrupt; 2], "{name} cut to {len}");
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    for (name, ..) in files() {
        let mut bytes = fixture(name);
        let len = bytes.len();
        bytes.push(0);
        assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        assert_eq!(read_from(&bytes[..], len).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
    }
}

#[test]
fn every_changed_header_byte_is_refused_or_without_effect() {
    for (name, _, header_bytes) in files() {
        let mut bytes = fixture(name);
        let good = read(&bytes).unwrap();
        let (mut refused, mut harmless) = (0, 0);
        for at in 0..header_bytes {
            let old = bytes[at];
            for new in (0..=u8::MAX).filter(|new| *new != old) {
                bytes[at] = new;
                match read(&bytes) {
                    Ok(contents) => {
                        assert!(contents == good, "{name}: byte {at} as {new}");
                        harmless += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            bytes[at] = old;
        }
        // Harmless are the unused fields (16 bytes a header), and the names IxFl for a flat index, IxM2 for an id map.
        let headers = header_bytes / 37;
        assert_eq!(harmless, headers * (16 * 255 + 1), "{name}");
        assert_eq!(refused + harmless, header_bytes * 255, "{name}");
    }
}

#[test]
fn a_claimed_size_is_not_allocated() {
    // The header alone, claiming 2^40 vectors of 65,536 values: refused by its length before any vector is read.
    let header =
        FlatHeader { metric: StreamMetric::L2, dim: 65_536, rows: 1 << 40, naming: Naming::Position };
    let mut out = Vec::new();
    let mut writer = FlatWriter::new(&mut out, Path::new("out.faiss"), header, Scaling::AsGiven).unwrap();
    writer.vector(&vec![0.0; 65_536]).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Invalid);
    let error = read(&out).unwrap_err().to_string();
    assert!(error.contains("length of the file in bytes is"), "{error}");

    // The same with a length that agrees: the reader takes one vector at a time and stops where the bytes stop.
    let len = header.stream_bytes().unwrap();
    let input = Cursor::new(&out).chain(std::io::empty());
    let mut reader = FlatReader::open(input, len, Path::new("in.faiss")).unwrap();
    let error = loop {
        match reader.vectors() {
            Ok(run) => assert_eq!(run.len(), 65_536),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.ends_with("vectors needs 262144 bytes, the file ended early"), "{error}");
}

#[test]
fn messages_name_field_expected_and_found() {
    let message = |at: usize, new: u8| {
        let mut bytes = fixture("flat-l2.faiss");
        bytes[at] = new;
        read(&bytes).unwrap_err().to_string()
    };
    assert_eq!(
        message(3, b'Q'),
        "import of this FAISS index is not available: its kind is \"IxFQ\", expected a flat index (IxFI, IxF2, IxFl), \
         8-bit codes (IxSQ), a graph over either (IHNf, IHNs), lists of vectors (IwFl), or an id map (IxMp, IxM2)"
    );
    assert_eq!(
        message(4, 0),
        "FAISS index in.faiss is damaged at byte 37: dimension is 0, expected at least 1"
    );
    assert_eq!(message(6, 1), "dimension of in.faiss is 65552, the limit is 65536");
    assert_eq!(
        message(8, 201),
        "FAISS index in.faiss is damaged at byte 37: length of the file in bytes is 12845, expected 12909"
    );
    assert_eq!(
        message(15, 128),
        "FAISS index in.faiss is damaged at byte 37: number of vectors is -9223372036854775608, expected at least 0"
    );
    assert_eq!(message(32, 0), "FAISS index in.faiss is damaged at byte 37: trained mark is 0, expected 1");
    assert_eq!(message(33, 0), "FAISS index in.faiss is damaged at byte 37: metric of IxF2 is 0, expected 1");
    assert_eq!(
        message(33, 4),
        "import of this FAISS index is not available: its metric is number 4, expected 0 (inner product) or 1 \
         (squared L2)"
    );
    assert_eq!(
        message(38, 0),
        "FAISS index in.faiss is damaged at byte 45: number of values is 128, expected 3200"
    );
}

#[test]
fn the_writer_keeps_to_its_header() {
    let path = Path::new("out.faiss");
    let header = FlatHeader { metric: StreamMetric::L2, dim: 2, rows: 1, naming: Naming::Position };
    let kind = |result: Result<()>| result.unwrap_err().kind();

    let mut out = Vec::new();
    let mut writer = FlatWriter::new(&mut out, path, header, Scaling::AsGiven).unwrap();
    assert_eq!(kind(writer.vector(&[1.0])), ErrorKind::Shape);
    assert_eq!(kind(writer.id(1)), ErrorKind::Invalid);
    writer.vector(&[1.0, 2.0]).unwrap();
    assert_eq!(kind(writer.vector(&[1.0, 2.0])), ErrorKind::Limit);
    assert_eq!(kind(writer.id(1)), ErrorKind::Invalid);
    writer.finish().unwrap();

    let with_ids = FlatHeader { naming: Naming::Ids, ..header };
    let mut out = Vec::new();
    let mut writer = FlatWriter::new(&mut out, path, with_ids, Scaling::AsGiven).unwrap();
    assert_eq!(kind(writer.id(1)), ErrorKind::Invalid);
    writer.vector(&[1.0, 2.0]).unwrap();
    writer.id(1).unwrap();
    assert_eq!(kind(writer.id(2)), ErrorKind::Limit);
    writer.finish().unwrap();

    assert_eq!(kind(written(with_ids, Scaling::AsGiven, &[1.0, 2.0], &[]).map(drop)), ErrorKind::Invalid);
    assert_eq!(kind(written(header, Scaling::AsGiven, &[], &[]).map(drop)), ErrorKind::Invalid);
    for (bad, expected) in [
        (FlatHeader { dim: 0, ..header }, ErrorKind::Invalid),
        (FlatHeader { dim: 65_537, ..header }, ErrorKind::Limit),
        (FlatHeader { rows: u64::MAX, ..header }, ErrorKind::Limit),
    ] {
        let mut out = Vec::new();
        assert_eq!(kind(FlatWriter::new(&mut out, path, bad, Scaling::AsGiven).map(drop)), expected);
        assert!(out.is_empty());
    }
}

#[test]
fn a_failed_write_names_the_path() {
    let header = FlatHeader { metric: StreamMetric::L2, dim: 2, rows: 1, naming: Naming::Position };
    let mut out: &mut [u8] = &mut [0; 50];
    let mut writer = FlatWriter::new(&mut out, Path::new("out.faiss"), header, Scaling::AsGiven).unwrap();
    writer.vector(&[1.0, 2.0]).unwrap();
    assert_eq!(writer.finish().unwrap_err().to_string(), "cannot write out.faiss");
}

#[test]
fn unit_scaling_needs_a_direction() {
    let header = FlatHeader { metric: StreamMetric::InnerProduct, dim: 2, rows: 1, naming: Naming::Position };
    for bad in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
        let error = written(header, Scaling::Unit, &bad, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
    }
    // Lengths beyond the range of f32 in both directions.
    for (given, unit) in
        [([3e30, 4e30], [0.6_f32, 0.8]), ([3e-40, 4e-40], [0.6, 0.8]), ([0.0, -2.0], [0.0, -1.0])]
    {
        let contents = read(&written(header, Scaling::Unit, &given, &[]).unwrap()).unwrap();
        for (found, expected) in contents.bits.iter().zip(unit) {
            assert!((f32::from_bits(*found) - expected).abs() < 1e-5, "{given:?}");
        }
    }
}

/// What the wheel `faiss-cpu` says of a file: `tests/python/faiss_reads_export.py`.
#[derive(serde::Deserialize)]
pub(in crate::vector) struct PythonReport {
    pub(in crate::vector) metric: i32,
    pub(in crate::vector) dim: usize,
    pub(in crate::vector) rows: u64,
    pub(in crate::vector) neighbours: Vec<Vec<i64>>,
}

pub(in crate::vector) fn ask_python(index: &[u8]) -> PythonReport {
    let python = std::env::var_os("VDB_TEST_PYTHON").expect("VDB_TEST_PYTHON is not set: run make test");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), index).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/faiss_reads_export.py");
    let output =
        Command::new(python).arg(script).arg(file.path()).arg(fixture_path("queries.npy")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The positions of the ten vectors nearest to each query by cosine, computed in f64.
fn nearest_by_cosine() -> Vec<Vec<i64>> {
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let vectors = wide(fixture_vectors());
    let queries = wide(npy("queries.npy", "'<f4'").into_iter().map(f32::from_le_bytes).collect());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let nearest = |query: &[f64]| {
        let cosine = |vector: &[f64]| dot(query, vector) / dot(vector, vector).sqrt();
        let mut scored: Vec<(f64, i64)> = vectors.chunks(DIM).map(cosine).zip(0..).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().take(10).map(|(_, row)| row).collect()
    };
    queries.chunks(DIM).map(nearest).collect()
}

#[test]
fn the_python_wheel_of_faiss_opens_our_files_and_finds_the_same_neighbours() {
    let expected: serde_json::Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    for (name, header, _) in files() {
        let ids = if header.naming == Naming::Ids { fixture_ids() } else { Vec::new() };
        let report = ask_python(&written(header, Scaling::AsGiven, &fixture_vectors(), &ids).unwrap());
        assert_eq!((report.metric, report.dim, report.rows), (header.metric.number(), DIM, ROWS), "{name}");
        let kind = name.strip_suffix(".faiss").unwrap();
        let neighbours = serde_json::to_value(report.neighbours).unwrap();
        assert_eq!(neighbours, expected["indexes"][kind]["top10_ids"], "{name}");
    }
    let header =
        FlatHeader { metric: StreamMetric::InnerProduct, dim: DIM, rows: ROWS, naming: Naming::Position };
    let report = ask_python(&written(header, Scaling::Unit, &fixture_vectors(), &[]).unwrap());
    assert_eq!(report.neighbours, nearest_by_cosine());
}

/// Files of kinds that are read but not written, with the file of what their vectors are.
const OTHERS: [(&str, &str); 4] = [
    ("sq8-l2.faiss", "sq8-l2.decoded.npy"),
    ("hnsw16-flat-l2.faiss", "vectors.npy"),
    ("hnsw16-sq8-l2.faiss", "hnsw16-sq8-l2.decoded.npy"),
    ("ivf8-flat-l2.faiss", "vectors.npy"),
];

#[test]
fn codes_graphs_and_lists_are_read_exactly() {
    for (name, vectors) in OTHERS {
        let contents = read(&fixture(name)).unwrap();
        assert_eq!((contents.header.dim, contents.header.rows), (DIM, ROWS), "{name}");
        assert_eq!(contents.header.metric, StreamMetric::L2, "{name}");
        let expected: Vec<u32> = npy(vectors, "'<f4'").into_iter().map(u32::from_le_bytes).collect();
        if contents.header.naming == Naming::Position {
            assert!(contents.bits == expected && contents.ids.is_empty(), "{name}");
            continue;
        }
        // Lists have their vectors in an order of their own; ids are positions.
        let mut seen = vec![false; contents.ids.len()];
        for (bits, &id) in contents.bits.chunks_exact(DIM).zip(&contents.ids) {
            let at = usize::try_from(id).unwrap();
            assert_eq!(bits, &expected[at * DIM..][..DIM], "{name}, id {id}");
            assert!(!std::mem::replace(&mut seen[at], true));
        }
        assert!(seen.iter().all(|seen| *seen) && seen.len() == 200);
    }
}

#[test]
fn damaged_codes_graphs_and_lists_are_refused_or_have_their_shape() {
    for (name, _) in OTHERS {
        let whole = fixture(name);
        for len in (0..whole.len()).step_by(37) {
            assert_eq!(read(&whole[..len]).unwrap_err().kind(), ErrorKind::Corrupt, "{name} cut to {len}");
        }
        let mut refused = 0;
        for at in (0..whole.len()).filter(|at| *at < 600 || at % 61 == 0) {
            for mask in [0x01, 0x40, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                match read(&bytes) {
                    Ok(contents) => assert_eq!(contents.bits.len(), 200 * DIM, "{name}: byte {at}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 60, "{name}: {refused}");
    }
}
