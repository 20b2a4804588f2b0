//! Readers and a second writer beside an import.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Importer, Rows, SMALL, assert_sound, reader, summary};
use crate::scene::Scene;

#[test]
fn readers_follow_the_commits_of_an_import() {
    let scene = Scene::new();
    let mut import = Importer::fed(&scene, "a.vdb", SMALL);
    let every = SMALL.commit_every;
    let mut long = None;
    for done in (0..8 * every).step_by(usize::try_from(every).unwrap()) {
        let next = done + every;
        import.feed(&SMALL.lines(done..next));
        import.until(next);
        // It waits for more: this commit is the last one. One reader stays, another comes anew, a third is the program.
        let long = long.get_or_insert_with(|| reader(&scene.path("a.vdb")));
        for store in [&*long, &reader(&scene.path("a.vdb"))] {
            SMALL.compare(&store.snapshot().unwrap(), next);
        }
        let ran = scene.vdb(&["count", "a.vdb", "--json"]);
        assert_eq!((&ran.lines()[0]["data"]["count"], ran.exit), (&json!(next), Some(0)));
    }
    // Half a batch is nobody's.
    let half = 8 * every..8 * every + every / 2;
    import.feed(&SMALL.lines(half.clone()));
    let long = long.unwrap();
    assert_eq!(SMALL.committed(&long.snapshot().unwrap()), half.start);
    let (exit, last, stderr, committed) = import.end();
    assert_eq!(
        (exit, &last.unwrap()["data"]["added"], committed),
        (Some(0), &json!(half.end), half.end),
        "{stderr}"
    );
    SMALL.compare(&long.snapshot().unwrap(), half.end);
}

#[test]
fn what_a_reader_sees_of_an_import_only_grows() {
    let scene = Scene::new();
    let rows = Rows { count: 4000, ..SMALL };
    rows.write(&scene, "a.jsonl");
    assert_eq!(scene.vdb(&["create", "a.vdb", "--model", "none"]).exit, Some(0));
    let store = reader(&scene.path("a.vdb"));
    let import = rows.import(&scene, "a.vdb", "a.jsonl").stdout(Stdio::piped()).spawn().unwrap();
    let (mut seen, mut versions) = (0, 0);
    while seen < rows.count {
        let count = rows.committed(&store.snapshot().unwrap());
        assert!(count >= seen, "{count} after {seen}");
        versions += u64::from(count > seen);
        seen = count;
    }
    println!("a reader saw {versions} of {} commits of an import", rows.count / rows.commit_every);
    summary(&import.wait_with_output().unwrap());
    assert_sound(&store);
}

#[test]
fn a_second_writer_is_told_who_imports_or_waits_for_it() {
    let scene = Scene::new();
    let rows = Rows { count: 3 * SMALL.commit_every, ..SMALL };
    std::fs::write(scene.path("more.jsonl"), "{\"id\": \"more\", \"text\": \"more\"}\n").unwrap();
    let mut first = Importer::fed(&scene, "a.vdb", rows);
    first.feed(&rows.lines(0..rows.commit_every));
    first.until(rows.commit_every);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("process {} on {host} since ", first.id());
    for words in [
        &["import", "a.vdb", "more.jsonl", "--model", "none"][..],
        &["add", "a.vdb", "text"],
        &["delete", "a.vdb", "doc_1"],
        &["compact", "a.vdb"],
    ] {
        for wait in [&[][..], &["--wait", "60ms"]] {
            let error = scene.vdb(&[words, wait, &["--json"]].concat());
            assert_eq!(error.exit, Some(4), "{words:?}: {}", error.stderr);
            let error = error.error();
            assert_eq!((&error["code"], &error["path"]), (&json!("busy"), &json!("a.vdb")));
            assert!(error["found"].as_str().unwrap().starts_with(&holder), "{error}");
        }
    }
    // The wait ends with the import, long before it is over.
    let mut command = scene.command(&["import", "a.vdb", "more.jsonl", "--model", "none", "--json"]);
    let mut second = command.args(["--wait", "1h"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(second.try_wait().unwrap().is_none(), "two processes write");
    first.feed(&rows.lines(rows.commit_every..rows.count));
    first.until(rows.count);
    assert!(second.try_wait().unwrap().is_none(), "two processes write");
    let (exit, _, stderr, _) = first.end();
    assert_eq!(exit, Some(0), "{stderr}");
    assert_eq!(summary(&second.wait_with_output().unwrap())["added"], 1);
    let counted: Value = scene.vdb(&["count", "a.vdb", "--json"]).lines()[0]["data"]["count"].clone();
    assert_eq!(counted, json!(rows.count + 1));
}
