//! Compares `docs/format.md` with the constants in the source, and its dump with the rules that it states.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use vdb::{Control, Document, Store};

use super::{root, text};

const DOCUMENT: &str = "docs/format.md";
const BEGIN: &str = "<!-- dump: begin -->\n```text\n";
const END: &str = "```\n<!-- dump: end -->";
const PAGE: usize = 4096;
const SUPERBLOCKS: [usize; 2] = [4 * PAGE, 20 * PAGE];
const SUPERBLOCK_LEN: usize = 16 * PAGE;
/// The vectors of the store in the dump, one after the other.
const VALUES: [f32; 4] = [1.0, 0.0, 0.6, 0.8];

/// Table of the document, field, source file, constant.
const OFFSETS: [(&str, &str, &str, &str); 48] = [
    ("File", "preamble", "layout", "PREAMBLE_OFFSET"),
    ("File", "notice", "layout", "NOTICE_OFFSET"),
    ("File", "superblock A", "layout", "SUPERBLOCK_A_OFFSET"),
    ("File", "superblock B", "layout", "SUPERBLOCK_B_OFFSET"),
    ("File", "data", "layout", "DATA_OFFSET"),
    ("Preamble", "layout", "layout", "LAYOUT_OFFSET"),
    ("Preamble", "page_size", "layout", "PAGE_SIZE_OFFSET"),
    ("Preamble", "uuid", "layout", "UUID_OFFSET"),
    ("Preamble", "lineage", "layout", "LINEAGE_OFFSET"),
    ("Preamble", "zero", "layout", "PREAMBLE_END"),
    ("Preamble", "crc", "layout", "PREAMBLE_CRC_OFFSET"),
    ("Superblock", "generation", "superblock", "GENERATION_OFFSET"),
    ("Superblock", "uuid", "superblock", "UUID_OFFSET"),
    ("Superblock", "stream_len", "superblock", "STREAM_LEN_OFFSET"),
    ("Superblock", "txn_floor", "superblock", "TXN_FLOOR_OFFSET"),
    ("Superblock", "compatible", "superblock", "FEATURES_OFFSET"),
    ("Superblock", "extent_count", "superblock", "EXTENT_COUNT_OFFSET"),
    ("Superblock", "extents", "superblock", "EXTENTS_OFFSET"),
    ("Superblock", "crc", "superblock", "CRC_OFFSET"),
    ("Header sector", "count", "header", "HEADER_LEN"),
    ("Header sector", "list_crc", "manifest", "MANIFEST_CRC_OFFSET"),
    ("Header sector", "crc", "manifest", "HEADER_CRC_OFFSET"),
    ("Header sector", "entries", "manifest", "SECTOR_LEN"),
    ("Log", "crc", "wal", "HEAD_CRC_OFFSET"),
    ("Log", "first record", "wal", "RECORDS_OFFSET"),
    ("Log record", "rows", "wal", "RECORD_HEAD_LEN"),
    ("Redb header", "flags", "header", "FLAGS_OFFSET"),
    ("Redb header", "slot 0", "header", "SLOT_0_OFFSET"),
    ("Redb header", "slot 1", "header", "SLOT_1_OFFSET"),
    ("Commit slot", "transaction", "header", "TRANSACTION_OFFSET"),
    ("Index", "version", "vector/hnsw/sections", "VERSION_OFFSET"),
    ("Index", "codes", "vector/hnsw/sections", "CODES_OFFSET"),
    ("Index", "metric", "vector/hnsw/sections", "METRIC_OFFSET"),
    ("Index", "dim", "vector/hnsw/sections", "DIM_OFFSET"),
    ("Index", "rows", "vector/hnsw/sections", "ROWS_OFFSET"),
    ("Index", "m", "vector/hnsw/sections", "M_OFFSET"),
    ("Index", "ef_construction", "vector/hnsw/sections", "EF_CONSTRUCTION_OFFSET"),
    ("Index", "entry_point", "vector/hnsw/sections", "ENTRY_POINT_OFFSET"),
    ("Index", "max_level", "vector/hnsw/sections", "MAX_LEVEL_OFFSET"),
    ("Index", "sections", "vector/hnsw/sections", "TABLE_OFFSET"),
    ("Index", "first section", "vector/hnsw/sections", "HEADER_BYTES"),
    ("Codes", "version", "vector/codes/sections", "VERSION_OFFSET"),
    ("Codes", "codes", "vector/codes/sections", "WIDTH_OFFSET"),
    ("Codes", "metric", "vector/codes/sections", "METRIC_OFFSET"),
    ("Codes", "dim", "vector/codes/sections", "DIM_OFFSET"),
    ("Codes", "rows", "vector/codes/sections", "ROWS_OFFSET"),
    ("Codes", "sections", "vector/codes/sections", "TABLE_OFFSET"),
    ("Codes", "first section", "vector/codes/sections", "HEADER_BYTES"),
];

/// What is stated in the prose.
const STATED: [(&str, &str, &str); 11] = [
    ("Extents in a superblock, at most", "superblock", "EXTENTS_MAX"),
    ("Bytes of an extent", "superblock", "EXTENT_LEN"),
    ("Bytes of a sector", "manifest", "SECTOR_LEN"),
    ("Bytes of an entry", "manifest", "ENTRY_LEN"),
    ("First stream page of checksums", "pages", "SUMS_BASE"),
    ("First stream page of the log", "pages", "WAL_BASE"),
    ("New logs have pages", "wal", "WAL_PAGES"),
    ("Checksums in a page", "pages", "SUMS_PER_PAGE"),
    ("Bytes of a chunk", "blob", "CHUNK_BYTES"),
    ("Bytes of a page", "layout", "PAGE_BYTES"),
    ("Bytes of a recall curve", "vector/hnsw/sections", "CURVE_BYTES"),
];

/// The constants of a file, as written; one without a directory is in `src/storage`.
fn constants(file: &str) -> BTreeMap<String, String> {
    let directory = if file.contains('/') { "src" } else { "src/storage" };
    let source = text(&format!("{directory}/{file}.rs"));
    let mut all = BTreeMap::new();
    for statement in source.split("const ").skip(1) {
        let Some((name, rest)) = statement.split_once(": ") else { continue };
        let Some((_, value)) = rest.split_once(" = ") else { continue };
        let value = value.split(";\n").next().unwrap_or_default();
        all.insert(name.to_owned(), value.replace(" as u64", "").replace(" as usize", ""));
    }
    all.insert("SLOT_1_OFFSET".into(), "SLOT_0_OFFSET + SLOT_LEN".into());
    all
}

/// The value of an expression of numbers, names, `size_of`, lengths of names, and `+ - * / <<`.
fn value(expression: &str, names: &BTreeMap<String, String>) -> usize {
    let expression = expression.trim();
    if let Some(inner) = expression.strip_prefix('(').and_then(|e| e.split_once(')')) {
        let rest = inner.1.trim();
        return if rest.is_empty() {
            value(inner.0, names)
        } else {
            value(inner.0, names) / value(rest.trim_start_matches('/'), names)
        };
    }
    for operator in [" << ", " + ", " - ", " * ", " / "] {
        if let Some((left, right)) = expression.rsplit_once(operator) {
            let (left, right) = (value(left, names), value(right, names));
            return match operator {
                " << " => left << right,
                " + " => left + right,
                " - " => left - right,
                " * " => left * right,
                _ => left / right,
            };
        }
    }
    match expression {
        "size_of::<u32>()" => 4,
        "size_of::<u64>()" => 8,
        "size_of::<Uuid>()" => 16,
        _ => match expression.strip_suffix(".len()") {
            Some(name) => byte_string_len(&names[name]),
            None => match expression.replace('_', "").parse() {
                Ok(number) => number,
                Err(_) => value(names.get(expression).unwrap_or_else(|| panic!("{expression}")), names),
            },
        },
    }
}

/// The length of `b"..."` with its escapes.
fn byte_string_len(literal: &str) -> usize {
    let inner = literal.split('"').nth(1).unwrap();
    let escapes = inner.matches('\\').count();
    let hexadecimal = inner.matches("\\x").count();
    inner.len() - escapes - 2 * hexadecimal
}

fn names(file: &str) -> BTreeMap<String, String> {
    let mut names = constants("layout");
    names.extend(constants("header"));
    names.extend(constants(file));
    names
}

/// The offset that the document gives: in the section, the first table row of that field.
fn stated(document: &str, section: &str, field: &str) -> usize {
    let heading = format!("## {section}\n");
    let after = document.split_once(&heading).unwrap_or_else(|| panic!("no section {section}")).1;
    let section_text = after.split("\n## ").next().unwrap();
    let row = section_text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        (cells.len() > 4 && cells[3] == field).then(|| cells[1].to_owned())
    });
    let offset = row.into_iter().next().unwrap_or_else(|| panic!("{section} has no {field}"));
    offset.parse().unwrap_or_else(|_| panic!("{section} {field}: {offset}"))
}

#[test]
fn tables_agree_with_the_source() {
    let document = text(DOCUMENT);
    for (section, field, file, constant) in OFFSETS {
        let names = names(file);
        assert_eq!(stated(&document, section, field), value(&names[constant], &names), "{section}: {field}");
    }
    for (sentence, file, constant) in STATED {
        let names = names(file);
        let wanted = format!("{sentence}: {}.", value(&names[constant], &names));
        assert!(document.contains(&wanted), "{wanted}");
    }
}

#[test]
fn expressions_have_their_values() {
    let names = BTreeMap::from([
        ("A".to_owned(), "b\"\\x89V\\n\"".to_owned()),
        ("B".to_owned(), "A.len() + 2".to_owned()),
    ]);
    assert_eq!((value("B", &names), value("1 << 4", &names), value("(B - 1) / 2", &names)), (5, 16, 2));
    assert_eq!(value("4 * 4096", &names), 16_384);
}

/// A closed store with two documents in one segment.
fn tiny() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tiny.vdb");
    let store = Store::create(&path).unwrap();
    let documents = VALUES.chunks(2).zip(["a", "b"]).map(|(vector, id)| {
        Document::new("hello").id(id).vector(vector.to_vec()).metadata_json(r#"{"n": 1}"#).unwrap()
    });
    store.add(documents).unwrap();
    store.compact(&Control::new()).unwrap();
    store.close().unwrap();
    (directory, path)
}

/// The rows of a file that are not zero, in its head, in redb's header and in the first blob.
fn dump(bytes: &[u8]) -> String {
    let sector = header_offset(bytes);
    let wanted: Vec<u8> = VALUES.iter().flat_map(|value| value.to_le_bytes()).collect();
    let blob = bytes.chunks(PAGE).position(|page| page.starts_with(&wanted)).unwrap() * PAGE;
    let mut out = String::new();
    for range in [0..36 * PAGE, sector..sector + 512, blob..blob + 128] {
        for at in range.step_by(16) {
            let row = &bytes[at..at + 16];
            if row.iter().all(|&byte| byte == 0) {
                continue;
            }
            let _ = write!(out, "{at:08x} ");
            for byte in row {
                let _ = write!(out, " {byte:02x}");
            }
            let shown = row.iter().map(|&b| if (b' '..b'~').contains(&b) { char::from(b) } else { '.' });
            let _ = writeln!(out, "  {}", shown.collect::<String>().trim_end());
        }
    }
    out
}

/// A dump as a file: what it does not show is zero.
fn undump(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let at = usize::from_str_radix(&line[..8], 16).unwrap();
        bytes.resize(bytes.len().max(at + 16), 0);
        for (n, byte) in line[10..57].split(' ').enumerate() {
            bytes[at + n] = u8::from_str_radix(byte, 16).unwrap();
        }
    }
    bytes
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

fn has_crc(bytes: &[u8]) -> bool {
    let (content, crc) = bytes.split_at(bytes.len() - 4);
    crc == crc32fast::hash(content).to_le_bytes()
}

/// Where the newer superblock says that page 0 of the stream is; checks both superblocks on the way.
fn header_offset(bytes: &[u8]) -> usize {
    let newest = SUPERBLOCKS.iter().max_by_key(|&&at| {
        assert!(has_crc(&bytes[at..at + SUPERBLOCK_LEN]));
        assert_eq!(bytes[at..at + 8], *b"vdbsuper");
        assert_eq!(bytes[at + 16..at + 32], bytes[16..32], "uuid");
        number(bytes, at + 8, 8)
    });
    let at = *newest.unwrap();
    let count = number(bytes, at + 72, 4);
    let extents = (0..count).map(|n| at + 80 + 12 * n);
    let first = extents.into_iter().find(|&extent| number(bytes, extent, 4) == 0).unwrap();
    number(bytes, first + 4, 4) * PAGE
}

/// Reads the head of a file by nothing but what the document says.
fn verify(bytes: &[u8]) {
    assert_eq!(bytes[..8], *b"\x89VDB\r\n\x1a\n");
    assert_eq!((number(bytes, 8, 4), number(bytes, 12, 4)), (1, PAGE));
    assert!(has_crc(&bytes[..PAGE]));
    let sector = header_offset(bytes);
    assert!(has_crc(&bytes[sector..sector + 512]));
    assert_eq!(bytes[sector..sector + 9], *b"redb\x1a\n\xa9\r\n");
    let primary = number(bytes, sector + 9, 1) & 1;
    assert!(number(bytes, sector + 64 + 128 * primary + 104, 8) > 1);
    let values: Vec<u8> = VALUES.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert!(bytes.chunks(PAGE).any(|page| page.starts_with(&values)));
}

/// `VDB_UPDATE_DOCS=1` writes the dump anew; its uuids differ each time, its shape does not.
#[test]
fn the_dump_is_a_file_as_described() {
    let (_directory, path) = tiny();
    let bytes = std::fs::read(path).unwrap();
    verify(&bytes);
    let fresh = dump(&bytes);
    let document = text(DOCUMENT);
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("VDB_UPDATE_DOCS").is_some() {
        std::fs::write(root().join(DOCUMENT), format!("{before}{BEGIN}{fresh}{END}{after}")).unwrap();
    } else {
        verify(&undump(found));
    }
    verify(&undump(&fresh));
}
