//! Files that are no stores, not ours to write, or from another age.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use vdb::{Document, Error, OpenOptions, Result, Store};

use super::{document, sound_count};

/// The layout that these tests patch: see `docs/format.md`.
const SUPERBLOCK_OFFSETS: [usize; 2] = [4 * 4096, 20 * 4096];
const SUPERBLOCK_LEN: usize = 16 * 4096;
const FEATURES_OFFSET: usize = 48;

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Directory(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn store(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let store = Store::create(&path).unwrap();
        store.add([document("a")]).unwrap();
        store.close().unwrap();
        path
    }
}

/// Every way to open what exists.
fn openings(path: &Path) -> [Result<Store>; 3] {
    [Store::open(path), OpenOptions::new().read_only(true).open(path), Store::open_or_create(path)]
}

#[track_caller]
fn assert_not_a_store(path: &Path, what: &str) {
    let before = fs::read(path).ok();
    for result in openings(path) {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), format!("{} is not a vdb file: {what}", path.display()));
        let Error::NotAStore { path: named, found } = error else { panic!("{error:?}") };
        assert_eq!((&*named, &*found), (path, what));
    }
    match Store::create(path) {
        Err(Error::Exists { what: "file", name }) => assert_eq!(name, path.display().to_string()),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(path).ok(), before, "the file was changed");
}

#[test]
fn a_missing_file_is_not_found_and_not_made() {
    let directory = Directory::new();
    let path = directory.path("missing.vdb");
    for read_only in [false, true] {
        let error = OpenOptions::new().read_only(read_only).open(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("file {:?} does not exist", path.display().to_string()));
        assert!(matches!(error, Error::NotFound { what: "file", .. }));
    }
    assert!(!path.exists());
    let nowhere = directory.path("no/such/directory.vdb");
    assert!(matches!(Store::create(&nowhere), Err(Error::Io { op: "create", path, .. }) if path == nowhere));
}

#[test]
fn other_files_are_refused_and_named() {
    let directory = Directory::new();
    assert_not_a_store(directory.0.path(), "it is a directory");
    assert_not_a_store(&directory.file("empty.vdb", b""), "it is empty");
    assert_not_a_store(
        &directory.file("notes.vdb", "어제 메모\n".repeat(999).as_bytes()),
        "it looks like text",
    );
    assert_not_a_store(&directory.file("zeros.vdb", &vec![0; 1 << 20]), "it begins with zeros");
    let mut volume = vec![0x20, 0x42, 0x44, 0x56, 0, 0, 0, 0, 0xe0, 0, 0, 0];
    volume.resize(200_000, 0xa5);
    let what = "it is an OpenVDB volume, a format for 3D grids that has the same extension";
    assert_not_a_store(&directory.file("smoke.vdb", &volume), what);
    let bare = directory.path("bare.vdb");
    drop(redb::Database::create(&bare).unwrap());
    assert_not_a_store(&bare, "it is a bare redb database");
    let socket = directory.path("socket.vdb");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(openings(&socket).into_iter().all(|opened| opened.is_err()));
}

#[test]
fn a_truncated_store_is_damaged_not_foreign() {
    let directory = Directory::new();
    let bytes = fs::read(directory.store("whole.vdb")).unwrap();
    let path = directory.file("short.vdb", &bytes[..50_000]);
    for result in openings(&path) {
        assert!(matches!(result, Err(Error::Corrupt { offset: 50_000, .. })), "{result:?}");
    }
}

/// Sets a feature bit in both superblocks, as a later version would.
pub(crate) fn set_feature(path: &Path, word: usize, bit: u32) {
    let mut bytes = fs::read(path).unwrap();
    for offset in SUPERBLOCK_OFFSETS {
        let slot = &mut bytes[offset..offset + SUPERBLOCK_LEN];
        if !slot.starts_with(b"vdbsuper") {
            continue;
        }
        slot[FEATURES_OFFSET + 8 * word + usize::try_from(bit / 8).unwrap()] |= 1 << (bit % 8);
        let (body, crc) = slot.split_at_mut(SUPERBLOCK_LEN - 4);
        crc.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn unknown_features_of_later_versions_are_respected() {
    let directory = Directory::new();
    let path = directory.store("later.vdb");
    set_feature(&path, 0, 40);
    assert_eq!(sound_count(&Store::open(&path).unwrap()), 1);

    let path = directory.store("read only.vdb");
    set_feature(&path, 1, 41);
    let before = fs::read(&path).unwrap();
    match Store::open(&path) {
        Err(Error::Unavailable { feature: "writing", reason }) => {
            assert!(reason.contains("read-only"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let reader = OpenOptions::new().read_only(true).open(&path).unwrap();
    assert_eq!(sound_count(&reader), 1);
    drop(reader);
    assert!(fs::read(&path).unwrap() == before);

    let path = directory.store("incompatible.vdb");
    set_feature(&path, 2, 42);
    for result in openings(&path) {
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "file format with unknown features 0x40000000000 is not supported, this version reads 1 to 1"
        );
        assert!(matches!(error, Error::Version { oldest: 1, newest: 1, .. }), "{error:?}");
    }
}

#[test]
fn names_may_have_hangul_spaces_and_links() {
    let directory = Directory::new();
    let folder = directory.path("내 문서 모음");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("회의록 2026 (최종).vdb");
    let store = Store::create(&path).unwrap();
    store.add([document("가")]).unwrap();
    assert_eq!(store.path(), path);
    store.close().unwrap();
    let link = directory.path("링크.vdb");
    symlink(&path, &link).unwrap();
    let store = Store::open(&link).unwrap();
    store.add([document("나")]).unwrap();
    store.compact(&vdb::Control::new()).unwrap();
    store.close().unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink(), "the link was replaced by a file");
    assert_eq!(sound_count(&OpenOptions::new().read_only(true).open(&path).unwrap()), 2);
    assert!(matches!(Store::create(&link), Err(Error::Exists { .. })));
    let dangling = directory.path("dangling.vdb");
    symlink(directory.path("nothing.vdb"), &dangling).unwrap();
    assert!(matches!(Store::open(&dangling), Err(Error::NotFound { .. })));
    assert!(matches!(Store::create(&dangling), Err(Error::Exists { .. })));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_file_is_private_and_keeps_the_mode_it_is_given() {
    let directory = Directory::new();
    let path = directory.store("private.vdb");
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let store = Store::open(&path).unwrap();
    store
        .add((0..600).map(|n| Document::new("x".repeat(999)).id(format!("{n}")).vector(vec![1.0, 2.0])))
        .unwrap();
    store.delete((0..500).map(|n| n.to_string())).unwrap();
    store.compact(&vdb::Control::new()).unwrap();
    store.close().unwrap();
    assert_eq!(mode(&path), 0o640);
    let shared = directory.path("shared.vdb");
    OpenOptions::new().file_mode(0o666).create(&shared).unwrap();
    assert_eq!(mode(&shared), 0o666);
}

#[test]
fn there_is_one_file_and_no_other() {
    let directory = Directory::new();
    let path = directory.path("single.vdb");
    let alone = || {
        let names: Vec<_> = directory.0.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["single.vdb"]);
    };
    let store = Store::create(&path).unwrap();
    alone();
    let mut txn = store.write().unwrap();
    txn.add((0..3000).map(|n| document(&n.to_string()))).unwrap();
    alone();
    txn.commit().unwrap();
    alone();
    let reader = OpenOptions::new().read_only(true).open(&path).unwrap();
    store.compact(&vdb::Control::new()).unwrap();
    alone();
    drop((store, reader));
    alone();
}

#[test]
fn a_store_read_only_cannot_write() {
    let directory = Directory::new();
    let path = directory.store("read.vdb");
    let reader = OpenOptions::new().read_only(true).open(&path).unwrap();
    let refused = |result: Result<()>| match result {
        Err(Error::Unavailable { feature: "writing", reason }) => {
            assert_eq!(reason, format!("{} was opened read-only", path.display()));
        }
        other => panic!("{other:?}"),
    };
    refused(reader.add([document("b")]).map(drop));
    refused(reader.delete(["a"]).map(drop));
    refused(reader.compact(&vdb::Control::new()).map(drop));
    assert!(!reader.is_writable().unwrap());
    assert!(Store::open(&path).unwrap().is_writable().unwrap());
}
