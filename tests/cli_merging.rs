//! What commands merge and index before they exit, from outside.

use serde_json::{Value, json};
use vdb::{Background, Document, IndexKind, OpenOptions};

use crate::scene::{Ran, Scene};
use crate::util::Random;

/// An index of 1,080 such vectors is taken to need more than two seconds on one thread: whatever the machine, it is built for
/// the rows that a command wrote, or not at all.
const DIM: usize = 2900;
const COMMITS: u64 = 4;
const COMMIT_ROWS: u64 = 300;

/// A store of segments that are to be merged, and then to have an index.
fn scattered(name: &str) -> Scene {
    let scene = Scene::new();
    let options = OpenOptions::new().index(IndexKind::HnswF32).background(Background::None);
    let store = options.tail_bytes_max(1 << 20).create(scene.path(name)).unwrap();
    for commit in 0..COMMITS {
        let document = |n: u64| {
            let document = Document::from_vector(Random(n).vector(DIM)).id(n.to_string());
            document.metadata_json(&format!(r#"{{"n":{n}}}"#)).unwrap()
        };
        store.add((commit * COMMIT_ROWS..(commit + 1) * COMMIT_ROWS).map(document)).unwrap();
    }
    store.close().unwrap();
    scene
}

fn done(ran: &Ran) {
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)), "{}", ran.stdout);
}

/// The segments, merges that wait and indexes that wait.
fn waiting(scene: &Scene) -> (usize, Value, Value) {
    let mut data = scene.vdb(&["stats", "a.vdb", "--json"]).lines().remove(0)["data"].take();
    let segments = data["segments"].as_array().unwrap().len();
    (segments, data["merges"]["due"].take(), data["indexes_due"].take())
}

#[test]
fn a_command_merges_ten_times_the_rows_that_it_wrote_and_stats_tells_what_waits() {
    let scene = scattered("a.vdb");
    assert_eq!(waiting(&scene), (9, json!(1), json!(0)));
    let delete = |condition: &str, count: u64| {
        let ran =
            scene.vdb(&["delete", "a.vdb", "--where", condition, "--threads", "1", "--json", "--quiet"]);
        done(&ran);
        assert_eq!(ran.lines()[0]["data"]["deleted"], count);
    };
    // The merge writes 1,080 of 1,200 rows, which leaves too few for the index.
    delete("n<120", 120);
    assert_eq!(waiting(&scene), (1, json!(0), json!(1)));
    let told = scene.vdb(&["stats", "a.vdb"]).stdout;
    assert!(told.lines().any(|line| line.starts_with("indexes ") && line.ends_with(" 1 due")), "{told}");
    delete("n<227", 107);
    assert_eq!(waiting(&scene), (1, json!(0), json!(1)));
    delete("n<335", 108);
    assert_eq!(waiting(&scene), (1, json!(0), json!(0)));
}

#[test]
fn an_import_and_a_compaction_do_all_that_waits_unless_they_are_not_to() {
    let scene = scattered("a.vdb");
    let import = |id: &str, flags: &[&str]| {
        std::fs::write(scene.path("a.jsonl"), format!("{{\"id\": \"{id}\", \"text\": \"a word\"}}\n"))
            .unwrap();
        let words = ["import", "a.vdb", "a.jsonl", "--quiet", "--threads", "1"];
        done(&scene.vdb(&[&words, flags].concat()));
    };
    import("first", &["--no-compact"]);
    assert_eq!(waiting(&scene), (9, json!(1), json!(0)));
    std::fs::copy(scene.path("a.vdb"), scene.path("before.vdb")).unwrap();
    import("second", &[]);
    assert_eq!(waiting(&scene), (1, json!(0), json!(0)));
    std::fs::rename(scene.path("before.vdb"), scene.path("a.vdb")).unwrap();
    assert_eq!(waiting(&scene), (9, json!(1), json!(0)));
    done(&scene.vdb(&["compact", "a.vdb", "--threads", "1", "--quiet"]));
    assert_eq!(waiting(&scene), (1, json!(0), json!(0)));
}
