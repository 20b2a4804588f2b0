//! The memory budget of what looks at many documents: whatever it keeps of each is granted, and refused where it does not fit.
//!
//! Other tests allocate in the same process, so each case runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use vdb::limits::MEMORY_BUDGET_MIN;
use vdb::{
    Background, CheckLevel, Control, Document, Durability, Error, Filter, Metadata, Mode, OpenOptions, Query,
    RepairMode, SortOrder, Store,
};

use crate::allocator;

const CASE: &str = "VDB_TEST_BUDGET_CASE";
const DOCUMENTS: u32 = 40_000;

fn options(budget: u64) -> OpenOptions {
    OpenOptions::new().memory_budget(budget).durability(Durability::Process).background(Background::None)
}

/// A store of many small documents, each with values of its own.
fn many(directory: &Path) -> PathBuf {
    let path = directory.join("many.vdb");
    let store = options(1 << 30).create(&path).unwrap();
    let document = |n: u32| {
        let metadata = format!(r#"{{"name":"the name of the document of number {n}","tens":{}}}"#, n / 10);
        Document::new("word").id(format!("{n:0>500}")).metadata_json(&metadata).unwrap()
    };
    store.add((0..DOCUMENTS).map(document)).unwrap();
    store.close().unwrap();
    path
}

/// What `work` takes, with a budget of the least that is allowed, is no more than was granted.
fn fits(what: &str, path: &Path, work: impl FnOnce(&Store)) {
    let start = allocator::begin();
    let store = options(MEMORY_BUDGET_MIN).open(path).unwrap();
    work(&store);
    let (actual, memory) = (u64::try_from(allocator::peak_since(start)).unwrap(), store.memory());
    assert!(actual <= memory.peak && memory.peak <= memory.budget, "{what}: {actual} allocated, {memory:?}");
    store.close().unwrap();
}

fn check(directory: &Path) {
    let path = many(directory);
    fits("check", &path, |store| {
        assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
    });
    fits("repair", &path, |store| {
        let report = store.repair(RepairMode::Repair, &Control::new()).unwrap();
        assert_eq!((report.documents, report.found.len()), (DOCUMENTS.into(), 0));
    });
}

fn fields(directory: &Path) {
    let path = many(directory);
    fits("count", &path, |store| {
        let counts = store.snapshot().unwrap().count_by("name", &Filter::all()).unwrap();
        assert_eq!(counts.len(), DOCUMENTS as usize);
    });
    for order in [SortOrder::Ascending, SortOrder::Descending] {
        fits("sort", &path, |store| {
            let snapshot = store.snapshot().unwrap();
            let mut documents = snapshot.documents().sort("tens", order);
            assert!(documents.next().unwrap().is_ok());
            assert!(queries(store) >= u64::from(DOCUMENTS) * 8, "{:?}", store.memory());
            assert_eq!(documents.count(), DOCUMENTS as usize - 1);
            drop(snapshot);
        });
    }
    fits("filter", &path, |store| {
        let filter = Filter::field("tens").gte(10);
        let snapshot = store.snapshot().unwrap();
        let mut documents = snapshot.documents().filter(&filter);
        assert!(documents.next().unwrap().is_ok() && queries(store) > 0);
        assert_eq!(documents.count(), DOCUMENTS as usize - 101);
    });
}

/// What is granted for queries now.
fn queries(store: &Store) -> u64 {
    store.memory().components.iter().find(|share| share.component == "queries").unwrap().bytes
}

fn changes(directory: &Path) {
    let path = many(directory);
    let filter = Filter::field("tens").gte(0);
    fits("update", &path, |store| {
        let more = Metadata::from_json(r#"{"more":1}"#).unwrap();
        let mut txn = store.write().unwrap();
        assert_eq!(txn.update_metadata_where(&filter, &more).unwrap(), u64::from(DOCUMENTS));
        txn.commit().unwrap();
        assert_eq!(store.snapshot().unwrap().count_where(&Filter::field("more").eq(1)).unwrap(), 40_000);
    });
    fits("delete", &path, |store| {
        let mut txn = store.write().unwrap();
        assert_eq!(txn.delete_where(&filter).unwrap().deleted, u64::from(DOCUMENTS));
        txn.commit().unwrap();
        assert_eq!(store.count().unwrap(), 0);
        assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
    });
}

fn hits(directory: &Path) {
    let path = many(directory);
    let search = |store: &Store, k| store.search(&Query::text("word").mode(Mode::Text).k(k));
    fits("hits", &path, |store| assert_eq!(search(store, 20_000).unwrap().len(), 20_000));
    fits("too many hits", &path, |store| {
        let found = search(store, DOCUMENTS as usize).map(|hits| hits.len());
        let Err(Error::Memory { what, needs, left }) = &found else { panic!("{found:?}") };
        assert!(what == "a search with so many hits" && needs > left, "{found:?}");
        assert_eq!(queries(store), 0);
    });
}

/// Started by the parent with the name of a case.
#[test]
fn one_case() {
    let directory = tempfile::tempdir().unwrap();
    match std::env::var(CASE).as_deref() {
        Ok("check") => check(directory.path()),
        Ok("fields") => fields(directory.path()),
        Ok("changes") => changes(directory.path()),
        Ok("hits") => hits(directory.path()),
        _ => {}
    }
}

fn run(case: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "budget::one_case", "--nocapture"]).env(CASE, case);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn a_check_keeps_nothing_of_each_document() {
    run("check");
}

#[test]
fn lists_of_values_and_of_documents_are_granted() {
    run("fields");
}

#[test]
fn what_matches_is_changed_without_a_list_of_ids() {
    run("changes");
}

#[test]
fn hits_are_granted() {
    run("hits");
}
