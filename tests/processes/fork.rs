//! A store that crosses a `fork`: refused in the child, unharmed in the parent.
#![expect(unsafe_code, reason = "fork and waitpid have no safe form; nothing else here is unsafe")]

use vdb::{
    CheckLevel, Control, Document, Error, MergeLimits, Metadata, Query, RepairMode, Result, Snapshot, Store,
    WriteTxn,
};

use super::child::{self, Child};
use super::workload::assert_sound;

fn document(id: &str) -> Document {
    Document::new(id).id(id).vector(vec![1.0, 2.0])
}

/// Runs `work` in a forked copy of this process; returns whether it ended with `true`.
fn in_fork(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs only the calling thread, touches no lock that another thread may hold but those of the
    // allocator, which the C library makes usable after a fork, and ends with exit.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            std::process::exit(i32::from(!fine))
        }
        process => {
            let mut status = 0;
            // SAFETY: `status` outlives the call, and `process` is a child of ours.
            let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
            assert_eq!(waited, process);
            status == 0
        }
    }
}

fn refused<T>(call: &str, result: Result<T>) {
    match result {
        Err(Error::Unavailable { feature: "a store opened before fork", reason }) => {
            assert!(reason.contains(&format!("this is process {}", std::process::id())), "{reason}");
        }
        Err(other) => panic!("{call}: {other:?}"),
        Ok(_) => panic!("{call} went on in the child"),
    }
}

fn every_call_is_refused(store: Store, snapshot: Snapshot, mut txn: WriteTxn) {
    let query = Query::vector(vec![1.0, 2.0]);
    let patch = Metadata::from_json("{\"a\":1}").unwrap();
    refused("snapshot", store.snapshot());
    refused("write", store.write());
    refused("add", store.add([document("child")]));
    refused("delete", store.delete(["a"]));
    refused("update_metadata", store.update_metadata("a", &patch));
    refused("get", store.get("a"));
    refused("count", store.count());
    refused("search", store.search(&query));
    refused("stats", store.stats());
    refused("check", store.check(CheckLevel::Deep, &Control::new()));
    refused("merge", store.merge(&MergeLimits::default(), &Control::new()));
    refused("repair", store.repair(RepairMode::DryRun, &Control::new()));
    refused("compact", store.compact(&Control::new()));
    refused("is_writable", store.is_writable());
    refused("snapshot.get", snapshot.get("a"));
    refused("snapshot.search", snapshot.search(&query));
    refused("snapshot.documents", snapshot.documents().next().unwrap());
    refused("txn.add", txn.add([document("child")]).map(drop));
    refused("txn.delete", txn.delete(["a"]));
    refused("txn.update_metadata", txn.update_metadata("a", &patch).map(drop));
    refused("txn.commit", txn.commit());
    drop(snapshot);
    store.close().unwrap();
}

/// Child: forks while a transaction is open, and goes on after each copy has tried to do harm.
pub(super) fn fork_and_try() {
    let path = child::store_path();
    // Every row becomes a segment, so that the thread that merges is there.
    let store = vdb::OpenOptions::new().tail_bytes_max(1).create(&path).unwrap();
    store.add([document("a"), document("b")]).unwrap();
    let (snapshot, mut txn) = (store.snapshot().unwrap(), store.write().unwrap());
    txn.add([document("c")]).unwrap();
    let before = std::fs::read(&path).unwrap();
    let mut parts = Some((store, snapshot, txn));
    let tried = in_fork(|| {
        let (store, snapshot, txn) = parts.take().unwrap();
        every_call_is_refused(store, snapshot, txn);
        true
    });
    assert!(tried, "a forked copy went on or panicked, see its message");
    let dropped = in_fork(|| {
        drop(parts.take());
        Store::open(&path).is_err_and(|error| matches!(error, Error::Locked { .. }))
    });
    assert!(dropped, "the child has released the lock of its parent");
    assert!(std::fs::read(&path).unwrap() == before, "a child has written");
    let (store, snapshot, txn) = parts.take().unwrap();
    child::say("still held");
    child::hear();
    assert_eq!(txn.commit().unwrap().added, 1);
    assert_eq!((snapshot.count(), store.count().unwrap()), (2, 3));
    drop(snapshot);
    store.add([document("d")]).unwrap();
    assert_sound(&store);
    let reopened = in_fork(|| {
        let reader = vdb::OpenOptions::new().read_only(true).open(&path).unwrap();
        reader.count().unwrap() == 4
    });
    assert!(reopened, "a forked copy may open the file anew");
    store.close().unwrap();
}

#[test]
fn a_forked_child_can_neither_use_nor_harm_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("forked.vdb");
    let mut child = Child::new("fork", &path);
    child.expect("still held");
    let holder = format!("process {} on ", child.id());
    match Store::open(&path) {
        Err(Error::Locked { holder: named, .. }) => assert!(named.starts_with(&holder), "{named}"),
        other => panic!("the lock of the parent is gone: {other:?}"),
    }
    child.tell("go on");
    child.finish();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 4);
    assert_sound(&store);
}
