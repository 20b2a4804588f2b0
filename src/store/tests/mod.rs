//! Tests that need the inside of the store: crashes, and files that fail.

mod crash;
mod filters;
mod hostile;
mod merge;
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
    for writes in 0..12 {
        let file = RecordingFile::new(Vec::new());
        let store = create_on(&file, OpenOptions::new());
        store.add([Document::new("kept").id("a").vector(vec![1.0, 2.0])]).unwrap();
        file.recording().fail_after = Some(writes);
        let failed = store.add([Document::new("lost").id("b").vector(vec![3.0, 4.0])]);
        let poisoned = store.add([Document::new("lost").id("c").vector(vec![3.0, 4.0])]);
        match failed {
            Err(error) => {
                assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error:?}");
                assert!(matches!(poisoned, Err(Error::Poisoned { .. })), "{poisoned:?}");
                assert!(matches!(store.get("a"), Err(Error::Poisoned { .. }) | Ok(Some(_))));
            }
            Ok(_) => assert!(writes > 4, "the commit wrote only {writes} times"),
        }
        drop(store);
        let image = file.recording().image.clone();
        let again = open_on(&RecordingFile::new(image), OpenOptions::new()).unwrap();
        assert!(again.get("a").unwrap().is_some());
        assert!(again.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
        again.add([Document::new("new").id("d").vector(vec![3.0, 4.0])]).unwrap();
    }
}
