//! One writer at a time: who comes second is told at once who writes.

use vdb::{Document, Error, ErrorKind, OpenOptions, Store};

use super::child::{self, Child};

/// Child: holds the store open for writing until it is stopped.
pub(super) fn hold() {
    let store = match Store::open(child::store_path()) {
        Ok(store) => store,
        Err(Error::Locked { .. }) => return child::say("refused"),
        Err(other) => panic!("{other:?}"),
    };
    store.add([Document::new("held").id("held").vector(vec![1.0])]).unwrap();
    child::say("held");
    while child::hear().is_some() {}
    store.close().unwrap();
}

fn assert_locked(result: vdb::Result<Store>, path: &std::path::Path, process: u32) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let message = error.to_string();
    let Error::Locked { path: named, holder } = error else { panic!("{error:?}") };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(named, path);
    assert!(holder.starts_with(&format!("process {process} on {host} since ")), "{holder}");
    assert_eq!(message, format!("{} is being written by {holder}", path.display()));
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.vdb");
    Store::create(&path).unwrap().close().unwrap();
    let mut holder = Child::new("hold", &path);
    holder.expect("held");
    // The holder ends only when it is told to: an answer now is an answer that did not wait for it.
    for _ in 0..3 {
        assert_locked(Store::open(&path), &path, holder.id());
        assert_locked(Store::open_or_create(&path), &path, holder.id());
    }
    let reader = OpenOptions::new().read_only(true).open(&path).unwrap();
    assert_eq!(reader.count().unwrap(), 1);
    holder.finish();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 1);
}

#[test]
fn a_killed_holder_holds_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.vdb");
    Store::create(&path).unwrap().close().unwrap();
    let mut holder = Child::new("hold", &path);
    holder.expect("held");
    holder.kill();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 1);
    // The notice of the dead is not shown for the living.
    assert_locked(Store::open(&path), &path, std::process::id());
}

#[test]
fn a_second_writer_in_the_same_process_is_refused_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.vdb");
    let first = Store::create(&path).unwrap();
    assert_locked(Store::open(&path), &path, std::process::id());
    let link = directory.path().join("link.vdb");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_locked(Store::open(&link), &link, std::process::id());
    // A refused writer has not broken the lock of the first by closing the file.
    assert_eq!(Child::new("hold", &path).finish(), ["refused"]);
    let clone = first.clone();
    first.close().unwrap();
    assert!(clone.count().is_err());
    Store::open(&path).unwrap();
}
