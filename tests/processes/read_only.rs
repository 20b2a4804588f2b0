//! Reading what a killed writer left where nothing can be written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use vdb::{Document, Error, OpenOptions, Store};

use super::child::{self, Child};
use super::workload::{Model, assert_sound, number_of};

/// The user that owns nothing.
pub(super) const NOBODY: u32 = 65_534;
/// Commits that the writer acknowledges before it is killed: some before a segment is sealed, some after.
const COMMITS: u64 = 8;

/// Child: reads a store that it cannot write; says the number of the last commit.
pub(super) fn read() {
    let path = child::store_path();
    match Store::open(&path) {
        Err(Error::Io { op: "write", path: named, source }) => {
            assert_eq!(named, path);
            child::say(&format!("not written: {:?}", source.kind()));
        }
        other => panic!("a writer must be refused: {other:?}"),
    }
    let beside = path.with_file_name("new.vdb");
    match Store::create(&beside) {
        Err(Error::Io { op: "create", path: named, .. }) => assert_eq!(named, beside),
        other => panic!("there is no place for a new store: {other:?}"),
    }
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    let snapshot = store.snapshot().unwrap();
    let number = number_of(&snapshot).unwrap();
    Model::at(number).compare(&snapshot);
    assert_sound(&store);
    let refused = store.add([Document::new("new")]).unwrap_err();
    assert!(matches!(refused, Error::Unavailable { feature: "writing", .. }), "{refused:?}");
    assert!(!store.is_writable().unwrap());
    child::say(&number.to_string());
}

/// A store whose writer was killed; returns the number of the last commit that it acknowledged.
fn killed(path: &Path) -> u64 {
    Store::create(path).unwrap().close().unwrap();
    let mut writer = super::kill::writer(path, 1);
    writer.expect("ready");
    for number in 1..=COMMITS {
        writer.expect(&number.to_string());
    }
    writer.kill().last().map_or(COMMITS, |last| last.parse().unwrap())
}

/// A killed store in a directory that cannot be written, and a program that everyone can run.
struct Sealed {
    _root: tempfile::TempDir,
    directory: PathBuf,
    store: PathBuf,
    program: PathBuf,
    acknowledged: u64,
    bytes: Vec<u8>,
}

impl Sealed {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let program = root.path().join("program");
        let ours = std::env::current_exe().unwrap();
        if fs::hard_link(&ours, &program).is_err() {
            fs::copy(&ours, &program).unwrap();
        }
        let directory = root.path().join("read only");
        fs::create_dir(&directory).unwrap();
        let store = directory.join("killed.vdb");
        let acknowledged = killed(&store);
        let bytes = fs::read(&store).unwrap();
        fs::set_permissions(&store, Permissions::from_mode(0o444)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o555)).unwrap();
        Sealed { _root: root, directory, store, program, acknowledged, bytes }
    }

    /// Runs a reader; it must see every acknowledged commit and change no byte.
    fn read_by(&self, command: Command, refusal: &str) {
        let said = Child::start(command).finish();
        assert_eq!(said[0], format!("not written: {refusal}"));
        let number: u64 = said[1].parse().unwrap();
        assert!((self.acknowledged..=self.acknowledged + 1).contains(&number), "{number}");
        assert!(fs::read(&self.store).unwrap() == self.bytes, "the file has changed");
        assert_eq!(self.directory.read_dir().unwrap().count(), 1);
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.directory, Permissions::from_mode(0o755));
    }
}

#[test]
fn what_cannot_be_written_is_recovered_in_memory() {
    let sealed = Sealed::new();
    let mut command = child::command_of(&sealed.program, "read", &sealed.store);
    command.current_dir(&sealed.directory);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    sealed.read_by(command, "PermissionDenied");
    // The same file in a directory of ours is recovered in place: it did need recovery.
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("copy.vdb");
    fs::write(&path, &sealed.bytes).unwrap();
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    let number = number_of(&store.snapshot().unwrap()).unwrap();
    // The commit in flight may be whole, though nobody was told.
    assert!((sealed.acknowledged..=sealed.acknowledged + 1).contains(&number), "{number}");
    assert!(fs::read(&path).unwrap() != sealed.bytes, "the file was clean");
}

#[test]
fn what_lies_on_a_read_only_mount_is_recovered_in_memory() {
    let sealed = Sealed::new();
    let mount =
        "D=\"$(dirname \"$VDB_TEST_STORE\")\"; mount --bind \"$D\" \"$D\"; mount -o remount,ro,bind \"$D\"";
    if !super::full_disk::may_mount() {
        println!("mounting is not permitted here: only permissions were tested");
        return;
    }
    let inner = child::command_after(mount, "read", &sealed.store);
    sealed.read_by(super::full_disk::in_own_mounts(&inner), "ReadOnlyFilesystem");
}
