//! A damaged log of a writer that was killed: its file is refused, unless what comes after the damage is to be discarded.

use std::path::Path;

use vdb::{CheckLevel, Control, Document, Durability, Error, OpenOptions, RepairMode, Store};

use super::head;
use crate::sample;
#[cfg(feature = "cli")]
use crate::scene::Scene;

/// Bytes before the rows of a record, and what a record is a multiple of.
const RECORD_HEAD: usize = 16;
const RECORD_ALIGN: usize = 512;

/// Where the head of the log of `whole` is, its first record, and its second.
fn places(whole: &[u8]) -> [usize; 3] {
    let [used, _] = head::log(whole);
    let first = used.start + head::PAGE;
    let len = u32::from_le_bytes(whole[first..first + 4].try_into().unwrap());
    let len = RECORD_HEAD + usize::try_from(len).unwrap();
    let second = first + len.next_multiple_of(RECORD_ALIGN);
    assert!(second < used.end);
    [used.start, first, second]
}

fn discarding() -> OpenOptions {
    OpenOptions::new().durability(Durability::Process).discard_damaged_log(true)
}

/// Whether the commit that patches a document is there, and the one after it that deletes another.
fn commits(store: &Store) -> [bool; 2] {
    let patched = store.get("문서/33").unwrap().unwrap().metadata_ref().as_json().contains("ko");
    [patched, store.get("doc_041").unwrap().is_none()]
}

fn refuses(path: &Path) {
    for read_only in [false, true] {
        let error = OpenOptions::new().read_only(read_only).open(path).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { what, .. } if what == "write-ahead log"), "{error:?}");
    }
    let error = discarding().read_only(true).open(path).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "only who writes may discard: {error:?}");
}

#[test]
fn a_damaged_log_ends_before_the_damage_if_that_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("killed.vdb"), directory.path().join("copy.vdb"));
    sample::build_killed(&path);
    let whole = std::fs::read(&path).unwrap();
    let [log, first, second] = places(&whole);
    for (at, expected) in [(log, [true, true]), (first, [false, false]), (second, [true, false])] {
        for place in [0, RECORD_HEAD] {
            let mut damaged = whole.clone();
            damaged[at + place] ^= 0x10;
            std::fs::write(&path, damaged).unwrap();
            refuses(&path);
            let store = discarding().open(&path).unwrap();
            let report = store.repair(RepairMode::Repair, &Control::new()).unwrap();
            assert!(report.discarded_log.unwrap().contains("write-ahead log"));
            assert_eq!((commits(&store), &*report.found, &*report.left), (expected, &[][..], &[][..]));
            // What is written next lies where the damaged records were; those behind it stay away.
            store.add([Document::new("after").id("after")]).unwrap();
            std::fs::copy(&path, &copy).unwrap();
            store.close().unwrap();
            for path in [&copy, &path] {
                let store = discarding().open(path).unwrap();
                assert!(store.get("after").unwrap().is_some());
                assert_eq!(commits(&store), expected);
                assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
                let report = store.repair(RepairMode::DryRun, &Control::new()).unwrap();
                assert_eq!(report.discarded_log, None, "nothing is damaged any more");
                store.close().unwrap();
            }
        }
    }
}

#[cfg(feature = "cli")]
#[test]
fn the_program_says_how_to_go_on_with_a_damaged_log() {
    let scene = Scene::new();
    let path = scene.path("a.vdb");
    sample::build_killed(&path);
    let mut whole = std::fs::read(&path).unwrap();
    let [_, _, second] = places(&whole);
    whole[second + RECORD_HEAD] ^= 0x10;
    std::fs::write(&path, whole).unwrap();
    let ran = scene.vdb(&["check", "a.vdb"]);
    assert!(ran.exit == Some(1) && ran.stdout.contains("write-ahead log"), "{}", ran.stdout);
    for command in [["count", "a.vdb"], ["repair", "a.vdb"]] {
        let ran = scene.vdb(&command);
        assert_eq!(ran.exit, Some(1), "{}", ran.stderr);
        let said = &ran.stderr;
        assert!(said.contains("write-ahead log") && said.contains("repair --discard-log"), "{said}");
    }
    assert_eq!(scene.vdb(&["repair", "a.vdb", "--discard-log", "--dry-run"]).exit, Some(2));
    let ran = scene.vdb(&["repair", "a.vdb", "--discard-log"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("commits of the log are lost: "), "{}", ran.stdout);
    let ran = scene.vdb(&["repair", "a.vdb", "--json"]);
    assert!(ran.exit == Some(0) && ran.stdout.contains("\"discarded_log\":null"), "{}", ran.stdout);
    assert!(scene.vdb(&["get", "a.vdb", "doc_041"]).exit == Some(0));
}
