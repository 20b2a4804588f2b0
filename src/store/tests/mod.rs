//! Tests that need the inside of the store: crashes, and files that fail.

mod crash;
mod filters;
mod hostile;
mod merge;
mod pace;
mod text;
mod text_damage;
mod workload;

use super::*;
use crate::catalog::{Rows, Table};
use crate::storage::recording::RecordingFile;
use crate::storage::{Settings, format_and_open, reopen};

fn settings(options: &OpenOptions) -> Settings {
    options.settings().unwrap()
}

/// Creates a store on a recording file.
fn create_on(file: &RecordingFile, options: OpenOptions) -> Store {
    let open = format_and_open(Box::new(file.clone()), PathBuf::from(":test:"), settings(&options)).unwrap();
    options.create_raw(open).unwrap()
}

/// Opens what a recording file holds.
fn open_on(file: &RecordingFile, options: OpenOptions) -> Result<Store> {
    let open = reopen(Box::new(file.clone()), settings(&options))?;
    options.open_raw(open)
}

/// The keys of a table.
fn keys(rows: &dyn Rows, table: Table) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    rows.scan(table, &[], &mut |key, _| {
        keys.push(key.to_vec());
        Ok(true)
    })?;
    Ok(keys)
}

/// A write that fails leaves a store that says so, and a file that opens with the last commit.
#[test]
fn after_a_failed_write_the_handle_is_poisoned_and_the_file_is_not() {
    // A commit that goes to the log, and one that is too large for it.
    for (writes, (text_len, writes_min)) in (0..12).flat_map(|n| [(n, (10, 2)), (n, (300_000, 5))]) {
        let file = RecordingFile::new(Vec::new());
        let store = create_on(&file, OpenOptions::new());
        store.add([Document::new("kept").id("a").vector(vec![1.0, 2.0])]).unwrap();
        file.recording().fail_after = Some(writes);
        let failed = store.add([Document::new("lost ".repeat(text_len / 5)).id("b").vector(vec![3.0, 4.0])]);
        let poisoned = store.add([Document::new("lost").id("c").vector(vec![3.0, 4.0])]);
        match failed {
            Err(error) => {
                assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error:?}");
                assert!(matches!(poisoned, Err(Error::Poisoned { .. })), "{poisoned:?}");
                assert!(matches!(store.get("a"), Err(Error::Poisoned { .. }) | Ok(Some(_))));
            }
            Ok(_) => assert!(writes >= writes_min, "the commit wrote only {writes} times"),
        }
        drop(store);
        let image = file.recording().image.clone();
        let again = open_on(&RecordingFile::new(image), OpenOptions::new()).unwrap();
        assert!(again.get("a").unwrap().is_some());
        assert!(again.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
        again.add([Document::new("new").id("d").vector(vec![3.0, 4.0])]).unwrap();
    }
}

/// If the power fails before more than a record of the log has reached the disk, the file looks closed; the commit counts.
#[test]
fn a_commit_of_which_only_the_record_is_there_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.vdb");
    let add = |store: &Store, id: &str| {
        store.add([Document::new("text").id(id).vector(vec![1.0, 2.0])]).unwrap();
    };
    let store = Store::create(&path).unwrap();
    add(&store, "a");
    store.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let store = Store::open(&path).unwrap();
    add(&store, "b");
    let living = std::fs::read(&path).unwrap();
    drop(store);
    let head = bytes.windows(8).position(|window| window == b"vdbwalog").unwrap();
    let records = head + 4096..head + 64 * 4096;
    assert_ne!(bytes[records.clone()], living[records.clone()]);
    bytes[records.clone()].copy_from_slice(&living[records]);
    for read_only in [true, false] {
        std::fs::write(&path, &bytes).unwrap();
        let store = OpenOptions::new().read_only(read_only).open(&path).unwrap();
        assert_eq!(store.count().unwrap(), 2, "read only: {read_only}");
        assert!(store.get("b").unwrap().is_some());
    }
}

/// Commits that go to redb, and those that go to the log over it, are read in their order, in the process that writes and in others.
#[test]
fn readers_see_one_commit_whether_it_is_in_redb_or_in_the_log() {
    const COMMITS: usize = 300;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.vdb");
    let store = OpenOptions::new().durability(Durability::Process).create(&path).unwrap();
    let number = |snapshot: &Snapshot, id: &str| -> usize {
        let document = snapshot.get(id).unwrap().unwrap();
        let json: serde_json::Value = serde_json::from_str(document.metadata_ref().as_json()).unwrap();
        json["n"].as_u64().unwrap().try_into().unwrap()
    };
    let metadata = |n: usize, bytes: usize| {
        Metadata::from_json(&format!(r#"{{"n":{n},"long":"{}"}}"#, "x".repeat(bytes))).unwrap()
    };
    let documents = ["large", "small"].map(|id| Document::new(id).id(id).with_metadata(metadata(0, 0)));
    let first = store.add(documents).unwrap().commit.unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let read = |reader: &Store| {
        let mut seen = 0;
        while !is_done.load(std::sync::atomic::Ordering::Acquire) {
            let snapshot = reader.snapshot().unwrap();
            let n = crate::codec::to_usize(snapshot.commit() - first);
            // Three commits to the log, then one to redb.
            let expected = [n / 4 * 4, n - usize::from(n.is_multiple_of(4) && n > 0)];
            let found = ["large", "small"].map(|id| number(&snapshot, id));
            assert_eq!(found, expected, "commit {n}");
            assert!(n >= seen, "commit {n} after {seen}");
            seen = n;
        }
    };
    std::thread::scope(|scope| {
        let other = OpenOptions::new().read_only(true).open(&path).unwrap();
        scope.spawn(|| read(&store));
        scope.spawn(move || read(&other));
        for n in 1..=COMMITS {
            let (id, bytes) = if n % 4 == 0 { ("large", 150_000) } else { ("small", 10) };
            store.update_metadata(id, &metadata(n, bytes)).unwrap();
        }
        is_done.store(true, std::sync::atomic::Ordering::Release);
    });
}
