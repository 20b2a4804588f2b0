//! A disk that fills up under a writer.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vdb::{Document, Error, OpenOptions, Store};

use super::child::{self, Child};
use super::workload::assert_sound;
use crate::util::Random;

const DIM: usize = 64;
/// What the file may grow to, in bytes, and the size of the disk.
pub(super) const SPACE: u64 = 4 << 20;
/// More commits than fit.
const COMMITS_MAX: u64 = 5_000;
pub(super) const LIMIT: &str = "VDB_TEST_FULL_BY_LIMIT";
const LARGE: &str = "VDB_TEST_FULL_LARGE";

fn documents(commit: u64, count: u64) -> impl Iterator<Item = Document> {
    (0..count).map(move |n| {
        let mut random = Random(commit << 20 | n);
        Document::new("가득 찬 디스크 ".repeat(4)).id(format!("{commit}_{n}")).vector(random.vector(DIM))
    })
}

/// Fills the disk; returns the number of commits and of documents that were acknowledged.
fn until_full(store: &Store, large: bool) -> (u64, u64) {
    let mut committed = 0;
    for commit in 1..COMMITS_MAX {
        // A large commit writes blobs long before it commits.
        let count = if large && commit == 3 { 60_000 } else { 50 };
        let Err(error) = store.add(documents(commit, count)) else {
            committed += count;
            continue;
        };
        let message = error.to_string();
        let Error::Io { op, path, source } = error else { panic!("{error:?}") };
        assert_eq!(path, store.path());
        assert_eq!(message, format!("cannot {op} {}", path.display()));
        let full = [libc::ENOSPC, libc::EFBIG].contains(&source.raw_os_error().unwrap_or(0));
        assert!(full, "{source:?}");
        return (commit - 1, committed);
    }
    panic!("the disk never filled up")
}

/// What must be in the file after some commits of [`documents`]; the one that failed may be wholly there, too.
fn assert_kept(store: &Store, commits: u64, committed: u64) {
    let snapshot = store.snapshot().unwrap();
    assert!([committed, committed + 50].contains(&snapshot.count()), "{} of {committed}", snapshot.count());
    for commit in 1..=commits {
        for document in documents(commit, 50) {
            let found = snapshot.get_with_vectors(document.id_ref().unwrap()).unwrap();
            assert_eq!(found.unwrap(), document);
        }
    }
    assert_sound(store);
}

pub(super) fn make_room(ballast: &Path) {
    if std::env::var_os(LIMIT).is_none() {
        return fs::remove_file(ballast).unwrap();
    }
    let hard = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
}

/// Child: fills a small disk, looks at what is left, makes room and goes on.
pub(super) fn fill() {
    let path = child::store_path();
    let ballast = path.with_file_name("ballast");
    let by_limit = std::env::var_os(LIMIT).is_some();
    if !by_limit {
        fs::write(&ballast, vec![7; 1 << 20]).unwrap();
    }
    let store = Store::create(&path).unwrap();
    let (commits, committed) = until_full(&store, std::env::var_os(LARGE).is_some());
    for _ in 0..2 {
        let refused = store.add(documents(0, 1)).unwrap_err();
        assert!(matches!(&refused, Error::Poisoned { path: named } if *named == path), "{refused:?}");
    }
    assert!(matches!(store.delete(["1_1"]), Err(Error::Poisoned { .. })));
    assert!(matches!(store.compact(&vdb::Control::new()), Err(Error::Poisoned { .. })));
    // Readers, here and elsewhere, while the writer is still there.
    let counts = [committed.to_string(), (committed + 50).to_string()];
    assert!(counts.contains(&Child::new("count", &path).finish()[0]));
    drop(store);
    // And with the disk still full when it is gone.
    assert_kept(&OpenOptions::new().read_only(true).open(&path).unwrap(), commits, committed);
    assert!(counts.contains(&Child::new("count", &path).finish()[0]));
    make_room(&ballast);
    let store = Store::open(&path).unwrap();
    assert_kept(&store, commits, committed);
    store.add(documents(COMMITS_MAX, 50)).unwrap();
    let count = store.count().unwrap();
    // Compacting needs room for what it moves; where there is too little it fails, and loses nothing either.
    let compacted = store.compact(&vdb::Control::new());
    assert!(matches!(compacted, Ok(_) | Err(Error::Io { .. } | Error::Poisoned { .. })), "{compacted:?}");
    drop(store);
    assert_kept(&Store::open(&path).unwrap(), commits, count);
    child::say(&commits.to_string());
}

/// Child: reads the store, whatever the disk is like.
pub(super) fn count() {
    let store = OpenOptions::new().read_only(true).open(child::store_path()).unwrap();
    assert_sound(&store);
    child::say(&store.count().unwrap().to_string());
}

/// The same command in a mount namespace of its own.
pub(super) fn in_own_mounts(command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        outer.arg("-r");
    }
    outer.arg("-m").arg(command.get_program()).args(command.get_args());
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

/// Whether this process may mount anything for its children.
pub(super) fn may_mount() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut probe = Command::new("mount");
    probe.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(directory.path());
    in_own_mounts(&probe).output().is_ok_and(|output| output.status.success())
}

/// Runs [`fill`]; the commit before the failed one must be the `expected`th, if that is known.
fn run(mut command: Command, large: bool) {
    if large {
        command.env(LARGE, "1");
    }
    let said = Child::start(command).finish();
    let commits: u64 = said.last().unwrap().parse().unwrap();
    println!("the disk was full after {commits} commits");
    assert!(if large { commits == 2 } else { commits > 10 }, "full after {commits} commits");
}

#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    if !may_mount() {
        println!("mounting is not permitted here: only a limit on the length of files was tested");
        return;
    }
    for large in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full.vdb");
        let mount = format!("mount -t tmpfs -o size={SPACE} tmpfs \"$(dirname \"$VDB_TEST_STORE\")\"");
        run(in_own_mounts(&child::command_after(&mount, "fill", &path)), large);
    }
}

#[test]
fn a_limit_on_the_length_of_files_loses_nothing_that_was_committed() {
    for large in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full.vdb");
        // POSIX counts in blocks of 512 bytes. Without the trap the signal would end the process before the error.
        let limit = format!("trap '' XFSZ; ulimit -S -f {}", SPACE / 512);
        let mut command = child::command_after(&limit, "fill", &path);
        command.env(LIMIT, "1");
        run(command, large);
    }
}
