//! Compatibility: stores that earlier versions wrote open, answer as they did, and can be written on.
//!
//! `VDB_WRITE_FIXTURE=1` writes the fixture of the version under test first, if there is none; it is committed once a
//! version. It also writes the answers of every fixture anew: when something new is asked, lines may only be added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vdb::{CheckLevel, Control, Document, OpenOptions, Store};

use crate::sample;

const STORE: &str = "store.vdb";
/// The store without its pages of zeros: its length, then the number and the bytes of each other page.
const PAGES: &str = "store.pages";
const PAGE: usize = 4096;
const EXPECTED: &str = "expected.json";
/// The largest fixture: they stay in the repository for ever.
const FIXTURE_BYTES_MAX: usize = 300 << 10;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The rows of each call.
type Answers = BTreeMap<String, Vec<String>>;

fn answers(store: &Store) -> Answers {
    let rows = |answer: sample::Answer| {
        assert!(answer.error.is_none(), "{answer:?}");
        (answer.call, answer.rows)
    };
    sample::ask(store).into_iter().map(rows).collect()
}

/// Leaves out the pages of zeros.
fn pack(file: &[u8]) -> Vec<u8> {
    let mut packed = (file.len() as u64).to_le_bytes().to_vec();
    for (n, page) in file.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|&byte| byte != 0)) {
        packed.extend_from_slice(&(n as u64).to_le_bytes());
        packed.extend_from_slice(page);
    }
    packed
}

/// The file that was packed.
fn unpack(packed: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    let (len, pages) = packed.split_at(size_of::<u64>());
    let mut file = vec![0; number(len)];
    for record in pages.chunks(size_of::<u64>() + PAGE) {
        let (n, page) = record.split_at(size_of::<u64>());
        let start = number(n) * PAGE;
        file[start..start + page.len()].copy_from_slice(page);
    }
    file
}

fn write_fixture(directory: &Path, build: fn(&Path)) {
    std::fs::create_dir_all(directory).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join(STORE);
    if !directory.join(PAGES).exists() {
        build(&path);
        let file = std::fs::read(&path).unwrap();
        std::fs::write(directory.join(PAGES), pack(&file)).unwrap();
    }
    std::fs::write(&path, unpack(&std::fs::read(directory.join(PAGES)).unwrap())).unwrap();
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    let json = serde_json::to_string_pretty(&answers(&store)).unwrap();
    std::fs::write(directory.join(EXPECTED), json + "\n").unwrap();
}

fn versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures()).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.join(PAGES).exists()).collect()
}

fn verify(directory: &Path) {
    let packed = std::fs::read(directory.join(PAGES)).unwrap();
    assert!(packed.len() <= FIXTURE_BYTES_MAX, "{} bytes", packed.len());
    let expected: Answers =
        serde_json::from_slice(&std::fs::read(directory.join(EXPECTED)).unwrap()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join(STORE);
    std::fs::write(&path, unpack(&packed)).unwrap();
    for read_only in [true, false] {
        let store = OpenOptions::new().read_only(read_only).open(&path).unwrap();
        assert_eq!(answers(&store), expected, "{}", directory.display());
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    }
    let store = Store::open(&path).unwrap();
    let has_index = directory.to_string_lossy().ends_with("-indexed");
    assert_eq!(store.stats().unwrap().index_bytes > 0, has_index);
    let has_words = directory.to_string_lossy().ends_with("-words");
    assert_eq!(store.stats().unwrap().text.is_some_and(|text| text.segments > 1), has_words);
    let dim = store.stats().unwrap().dim.unwrap();
    store.add([Document::new("새 문서").id("fresh").vector(vec![1.0; dim])]).unwrap();
    store.compact(&Control::new()).unwrap();
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.get("fresh").unwrap().and_then(|d| d.text().map(str::to_owned)).unwrap(), "새 문서");
    store.delete(["fresh"]).unwrap();
    let now = answers(&store);
    for (call, rows) in &expected {
        // Compaction changes the numbers of commits and segments, and how rare words are without the dead; and no document.
        if !["commit", "stats"].contains(&call.as_str()) && !call.starts_with("search by") {
            assert_eq!(now.get(call), Some(rows), "{call} in {}", directory.display());
        }
    }
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

#[test]
fn stores_of_every_version_open_and_answer_as_they_did() {
    let current = fixtures().join(env!("CARGO_PKG_VERSION"));
    let indexed = fixtures().join(concat!(env!("CARGO_PKG_VERSION"), "-indexed"));
    let worded = fixtures().join(concat!(env!("CARGO_PKG_VERSION"), "-words"));
    if std::env::var_os("VDB_WRITE_FIXTURE").is_some() {
        write_fixture(&current, sample::build_small);
        write_fixture(&indexed, sample::build_indexed);
        write_fixture(&worded, sample::build_words);
        for version in versions() {
            write_fixture(&version, sample::build_small);
        }
    }
    let versions = versions();
    assert!(
        [&current, &indexed, &worded].iter().all(|version| versions.contains(version)),
        "a fixture of this version is missing"
    );
    for version in &versions {
        verify(version);
    }
}
