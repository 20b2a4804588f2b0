//! Imports that are interrupted, and imports whose lines nobody reads.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Importer, Rows, SMALL, assert_goes_on, assert_sound, reader};
use crate::scene::Scene;

fn interrupt(import: &Importer) {
    kill_process(Pid::from_child(&import.process), Signal::INT).unwrap();
}

/// The code of the last line of standard error.
fn code(stderr: &str) -> Value {
    let line: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    line["data"]["code"].clone()
}

#[test]
fn an_interrupted_import_keeps_its_commits() {
    for named in [true, false] {
        let scene = Scene::new();
        let rows = Rows { named, ..SMALL };
        let mut import = Importer::fed(&scene, "a.vdb", rows);
        let mut fed = 2 * rows.commit_every + 7;
        import.feed(&rows.lines(0..fed));
        import.until(2 * rows.commit_every);
        interrupt(&import);
        // It notices at the end of a batch, and reads no more.
        while import.feed(&rows.lines(fed..fed + 1)) {
            fed += 1;
        }
        let (exit, last, stderr, committed) = import.end();
        assert_eq!((exit, code(&stderr)), (Some(130), "cancelled".into()), "{stderr}");
        assert!(last.is_none_or(|line| line["type"] == "committed"));
        assert!(committed >= 2 * rows.commit_every && committed <= fed, "{committed} of {fed}");
        let rows = Rows { count: fed + rows.commit_every, ..rows };
        let store = reader(&scene.path("a.vdb"));
        assert_eq!(rows.committed(&store.snapshot().unwrap()), committed);
        assert_sound(&store);
        rows.write(&scene, "a.jsonl");
        assert_goes_on(&scene, rows, "a.vdb", "a.jsonl", committed);
    }
}

#[test]
fn a_second_interrupt_ends_an_import_that_waits_for_its_source() {
    let scene = Scene::new();
    let mut import = Importer::fed(&scene, "a.vdb", SMALL);
    import.feed(&SMALL.lines(0..SMALL.commit_every + 7));
    import.until(SMALL.commit_every);
    while import.process.try_wait().unwrap().is_none() {
        interrupt(&import);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(import.end().0, Some(130));
    let store = reader(&scene.path("a.vdb"));
    SMALL.compare(&store.snapshot().unwrap(), SMALL.commit_every);
    assert_sound(&store);
}

/// The documents are wanted, whoever reads of them: status 0 means that all of them are there.
#[test]
fn an_import_of_whose_steps_nobody_reads_goes_on() {
    let scene = Scene::new();
    let mut import = Importer::fed(&scene, "a.vdb", SMALL);
    import.feed(&SMALL.lines(0..SMALL.commit_every));
    import.until(SMALL.commit_every);
    import.lines = None;
    assert!(import.feed(&SMALL.lines(SMALL.commit_every..SMALL.count)));
    let (exit, _, stderr, _) = import.end();
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(!stderr.contains("\"error\""), "{stderr}");
    let store = reader(&scene.path("a.vdb"));
    SMALL.compare(&store.snapshot().unwrap(), SMALL.count);
    assert_eq!(store.stats().unwrap().tail_rows, 0, "it was not compacted");
}

#[test]
fn an_import_that_fails_says_so_even_if_nobody_reads_its_steps() {
    let scene = Scene::new();
    let mut import = Importer::fed(&scene, "a.vdb", SMALL);
    import.feed(&SMALL.lines(0..SMALL.commit_every));
    import.until(SMALL.commit_every);
    import.lines = None;
    import.feed(&SMALL.lines(SMALL.commit_every..2 * SMALL.commit_every + 3));
    import.feed("{\"text\": \n");
    let (exit, _, stderr, _) = import.end();
    assert_eq!((exit, code(&stderr)), (Some(1), "invalid".into()), "{stderr}");
    let store = reader(&scene.path("a.vdb"));
    SMALL.compare(&store.snapshot().unwrap(), 2 * SMALL.commit_every + 3);
}

#[test]
fn a_full_disk_behind_the_steps_of_an_import_fails_it_at_the_end() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let scene = Scene::new();
    SMALL.write(&scene, "a.jsonl");
    let full = std::fs::File::options().write(true).open(full).unwrap();
    let mut command = SMALL.import(&scene, "a.vdb", "a.jsonl");
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(
        (output.status.code(), code(&String::from_utf8(output.stderr).unwrap())),
        (Some(1), "io".into())
    );
    SMALL.compare(&reader(&scene.path("a.vdb")).snapshot().unwrap(), SMALL.count);
}
