//! The command line from outside: stdout, stderr and exit status of each command, for people and as JSON.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use vdb::Store;

use crate::scene::Scene;

#[test]
fn creating() {
    let scene = Scene::new();
    assert_eq!(
        scene.vdb(&["create", "a.vdb"]).picture(),
        "out| created a.vdb (model all-MiniLM-L6-v2, dimension 384, metric cosine)\nexit 0"
    );
    assert_eq!(
        scene.vdb(&["create", "a.vdb"]).picture(),
        "err| vdb: file \"a.vdb\" exists already\nerr| hint: vdb never overwrites a file: choose another name\nexit 1"
    );
    let ran = scene.vdb(&["--json", "create", "b.vdb", "--dim", "3", "--metric", "l2"]);
    let data = json!({"path": "b.vdb", "model": "external:unnamed", "dim": 3, "metric": "l2"});
    assert_eq!(ran.lines(), [json!({"type": "created", "data": data})]);
    let ran =
        scene.vdb(&["create", "c.vdb", "--model", "external:mine", "--dim", "3", "--file-mode", "0640"]);
    assert_eq!(ran.picture(), "out| created c.vdb (model external:mine, dimension 3, metric cosine)\nexit 0");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&scene.path("c.vdb").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    let all = ["create", "d.vdb", "--index", "exact", "--vectors", "f32", "--text", "off", "--model", "none"];
    assert_eq!(
        scene.vdb(&all).picture(),
        "out| created d.vdb (model none, dimension any, metric cosine)\nexit 0"
    );
    let error = scene.vdb(&["create", "a.vdb", "--json"]).error();
    assert_eq!((&error["code"], &error["path"]), (&json!("exists"), &json!("a.vdb")));
}

#[test]
fn what_cannot_be_created_is_refused() {
    let scene = Scene::new();
    for flags in
        [["--model", "external:mine"], ["--model", "external:"], ["--dim", "0"], ["--file-mode", "9"]]
    {
        assert_eq!(scene.vdb(&["create", "a.vdb", flags[0], flags[1]]).exit, Some(2), "{flags:?}");
    }
    let error = scene.vdb(&["create", "a.vdb", "--json", "--model", "mini"]).error();
    assert_eq!(error["code"], "unavailable");
    assert!(error["message"].as_str().unwrap().contains("mini is not in"));
    let error = scene.vdb(&["create", "a.vdb", "--json", "--dim", "65537"]).error();
    assert_eq!(
        (&error["code"], &error["expected"], &error["found"]),
        (&json!("limit"), &json!(65536), &json!(65537))
    );
    let error = scene.vdb(&["create", "a.vdb", "--json", "--memory", "1MiB"]).error();
    assert_eq!(error["code"], "invalid");
    assert!(!scene.path("a.vdb").exists());
}

#[test]
fn stats_for_people_and_as_json() {
    let scene = Scene::new();
    scene.filled("a.vdb");
    let ran = scene.vdb(&["stats", "a.vdb"]);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let wanted = [
        "file           a.vdb",
        "documents      30",
        "dead rows      20",
        "vectors        dimension 2, metric cosine, f32",
    ];
    for line in wanted {
        assert!(ran.stdout.lines().any(|found| found == line), "{line} in {}", ran.stdout);
    }
    let lines = scene.vdb(&["stats", "a.vdb", "--json"]).lines();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let data = &line["data"];
    assert_eq!(line["type"], "stats");
    assert_eq!(
        (&data["documents"], &data["parts"], &data["dead"], &data["tail_rows"]),
        (&json!(30), &json!(30), &json!(20), &json!(30))
    );
    assert_eq!((&data["dim"], &data["metric"], &data["model"]), (&json!(2), &json!("cosine"), &Value::Null));
    assert_eq!(data["bytes"]["file"], scene.path("a.vdb").metadata().unwrap().len());
    assert_eq!((&data["segments"], &data["merges"]), (&json!([]), &json!({"due": 0, "rows": 0})));
    assert_eq!(data["format"], vdb::FORMAT_NEWEST);
    let numbers = ["file", "catalog", "vectors", "free", "pending"];
    assert!(numbers.iter().all(|name| data["bytes"][name].is_u64()), "{data}");
    let data =
        scene.vdb(&["stats", "a.vdb", "--json", "--memory", "64MiB"]).lines()[0]["data"]["memory"].take();
    assert_eq!((&data["budget"], &data["granted"]), (&json!(64 << 20), &data["peak"]), "{data}");
    let parts = data["components"].as_object().unwrap();
    let sum: u64 = parts.values().map(|part| part["bytes"].as_u64().unwrap()).sum();
    assert!(parts["catalog"]["bytes"].as_u64().unwrap() > 8 << 20 && data["granted"] == sum, "{data}");
    assert!(data["resident"]["anonymous"].as_u64().unwrap() > 0, "{data}");
}

#[test]
fn compacting() {
    let scene = Scene::new();
    scene.filled("a.vdb");
    let before = scene.path("a.vdb").metadata().unwrap().len();
    let ran = scene.vdb(&["compact", "a.vdb", "--json"]);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let data = &ran.lines()[0]["data"];
    assert_eq!(ran.lines()[0]["type"], "summary");
    assert_eq!((&data["segments_before"], &data["segments_after"]), (&json!(0), &json!(1)));
    assert_eq!(data["bytes_before"], before);
    let ran = scene.vdb(&["compact", "a.vdb"]);
    assert!(
        ran.stdout.starts_with("compacted a.vdb: ") && ran.stdout.ends_with(", segments 1 to 1\n"),
        "{}",
        ran.stdout
    );
    let store = Store::open(scene.path("a.vdb")).unwrap();
    assert_eq!((store.count().unwrap(), store.stats().unwrap().segments[0].rows), (30, 30));
}

#[test]
fn checking_a_sound_and_a_damaged_store() {
    let scene = Scene::new();
    let path = scene.filled("a.vdb");
    assert_eq!(scene.vdb(&["compact", "a.vdb"]).exit, Some(0));
    let ran = scene.vdb(&["check", "a.vdb"]);
    assert!(ran.stdout.starts_with("a.vdb is sound: "), "{}", ran.picture());
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let lines = scene.vdb(&["check", "a.vdb", "--deep", "--json"]).lines();
    assert_eq!(
        (&lines[0]["type"], &lines[0]["data"]["ok"], &lines[0]["data"]["damaged"]),
        (&json!("check"), &json!(true), &json!(0))
    );

    // The values of a vector are found in the file, and one bit of them is flipped.
    let mut bytes = std::fs::read(&path).unwrap();
    let wanted: Vec<u8> = [33.0_f32, 1.0, 34.0, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    // A stale copy may lie in free space: all copies are hit.
    let places = (0..bytes.len() - wanted.len()).filter(|&at| bytes[at..].starts_with(&wanted));
    let places: Vec<usize> = places.collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, &bytes).unwrap();
    let ran = scene.vdb(&["check", "a.vdb", "--deep", "--json"]);
    let (lines, last) = (ran.lines(), ran.lines().len() - 1);
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(1), ""));
    assert!(last > 0 && lines[..last].iter().all(|line| line["type"] == "damage"), "{}", ran.stdout);
    assert!(lines[0]["data"]["what"].as_str().unwrap().contains("segment"), "{}", ran.stdout);
    assert_eq!((&lines[last]["type"], &lines[last]["data"]["ok"]), (&json!("check"), &json!(false)));
    assert_eq!(lines[last]["data"]["damaged"], last);
    assert!(scene.vdb(&["check", "a.vdb", "--deep"]).stdout.starts_with("damaged: "));
}

#[test]
fn damage_that_lets_nothing_be_opened_is_found_too() {
    let scene = Scene::new();
    let path = scene.filled("a.vdb");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16 * 1024..144 * 1024].fill(7);
    std::fs::write(&path, &bytes).unwrap();
    let ran = scene.vdb(&["check", "a.vdb", "--json"]);
    let types: Vec<Value> = ran.lines().iter().map(|line| line["type"].clone()).collect();
    assert_eq!((types, ran.exit), (vec![json!("damage"), json!("check")], Some(1)));
    let error = scene.vdb(&["stats", "a.vdb", "--json"]).error();
    assert_eq!(error["code"], "corrupt");
    assert!(error["hint"].as_str().unwrap().contains("vdb check"));
}

#[test]
fn files_that_are_something_else() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("dir")).unwrap();
    std::fs::write(scene.path("notes.vdb"), "dear diary\n").unwrap();
    std::fs::write(scene.path("empty.vdb"), "").unwrap();
    std::fs::write(scene.path("grid.vdb"), [0x20, 0x42, 0x44, 0x56, 0, 0, 0, 0, 224, 0, 0, 0]).unwrap();
    for command in ["stats", "check", "compact"] {
        for (file, found) in [
            ("dir", "it is a directory"),
            ("notes.vdb", "it looks like text"),
            ("empty.vdb", "it is empty"),
            ("grid.vdb", "it is an OpenVDB volume, a format for 3D grids that has the same extension"),
        ] {
            let ran = scene.vdb(&[command, file]);
            assert_eq!(ran.picture(), format!("err| vdb: {file} is not a vdb file: {found}\nexit 1"));
            let error = scene.vdb(&["--json", command, file]).error();
            let wanted = (&json!("not_a_store"), &json!(file), &json!(found));
            assert_eq!((&error["code"], &error["path"], &error["found"]), wanted);
        }
        let wanted =
            "err| vdb: file \"none.vdb\" does not exist\nerr| hint: `vdb create none.vdb` makes it\nexit 1";
        assert_eq!(scene.vdb(&[command, "none.vdb"]).picture(), wanted);
    }
    let ran = scene.vdb(&["create", "missing/a.vdb"]);
    assert!(ran.stderr.starts_with("vdb: cannot create missing/a.vdb\n  caused by: "), "{}", ran.stderr);
    assert_eq!(ran.exit, Some(1));
}

#[test]
fn a_store_that_another_process_writes() {
    let scene = Scene::new();
    let path = scene.filled("a.vdb");
    let store = Store::open(&path).unwrap();
    let ran = scene.vdb(&["compact", "a.vdb"]);
    let holder = format!("vdb: a.vdb is being written by process {} on ", std::process::id());
    assert!(ran.stderr.starts_with(&holder), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: `--wait 10s`"), "{}", ran.stderr);
    assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(4)));
    let ran = scene.vdb(&["compact", "a.vdb", "--wait", "60ms", "--json"]);
    assert_eq!((ran.error()["code"].clone(), ran.exit), (json!("busy"), Some(4)));
    // Readers need no lock.
    assert_eq!(scene.vdb(&["stats", "a.vdb"]).exit, Some(0));
    assert_eq!(scene.vdb(&["check", "a.vdb", "--deep"]).exit, Some(0));

    let child = scene.command(&["compact", "a.vdb", "--wait", "60s"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    store.close().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn an_interrupt_ends_the_waiting() {
    let scene = Scene::new();
    let store = Store::open(scene.filled("a.vdb")).unwrap();
    let child = scene.command(&["compact", "a.vdb", "--wait", "1h", "--json"]).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    // On a machine so slow that the program has not begun yet, the signal itself ends it.
    if let Some(exit) = output.status.code() {
        let line: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((exit, &line["data"]["code"]), (130, &json!("cancelled")));
    }
    assert!(!output.status.success());
    assert_eq!(store.count().unwrap(), 30);
}

#[test]
fn nobody_reads_what_we_print() {
    let scene = Scene::new();
    scene.filled("a.vdb");
    for words in [&["stats", "a.vdb"][..], &["check", "a.vdb", "--json"], &["--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = scene.command(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_a_failure() {
    let full = Path::new("/dev/full");
    if full.exists() {
        let scene = Scene::new();
        scene.filled("a.vdb");
        let full = std::fs::File::options().write(true).open(full).unwrap();
        let output = scene.command(&["stats", "a.vdb"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&output.stderr)
                .starts_with("vdb: cannot write to standard output\n  caused by: ")
        );
    }
}

#[test]
fn wrong_usage_names_what_is_near() {
    let scene = Scene::new();
    for (words, near) in [
        (&["stat", "a.vdb"][..], "'stats'"),
        (&["serch", "a.vdb"], "'search'"),
        (&["check", "--dep", "a.vdb"], "'--deep'"),
        (&["stats"], "<FILE>"),
        (&["compact", "a.vdb", "--wait", "soon"], "--wait"),
        (&["create", "a.vdb", "--metric", "manhattan"], "none of cosine, ip, l2"),
    ] {
        let ran = scene.vdb(words);
        assert!(ran.stderr.contains(near), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(2)));
    }
    let ran = scene.vdb(&["check", "--json", "--dep", "a.vdb"]);
    let error = ran.error();
    assert_eq!((&error["code"], &error["hint"]), (&json!("usage"), &json!("similar: --deep")));
    assert_eq!(ran.exit, Some(2));
    assert_eq!(scene.vdb(&[]).exit, Some(2));
}

#[test]
fn what_later_versions_have_is_known_by_name() {
    let scene = Scene::new();
    scene.filled("a.vdb");
    for (words, what) in [
        (&["import", "b.vdb", "x", "--format", "langchain-faiss"][..], "--format langchain-faiss"),
        (&["--untrusted", "stats", "a.vdb"], "--untrusted"),
        (&["model", "distill", "x"], "model distill"),
    ] {
        let ran = scene.vdb(words);
        assert_eq!(ran.picture(), format!("err| vdb: `{what}` is not in this version\nexit 2"), "{words:?}");
        let ran = scene.vdb(&[&["--json"], words].concat());
        assert_eq!((&ran.error()["code"], ran.exit), (&json!("usage"), Some(2)));
    }
    // What no version has is a typing error.
    for words in
        [["count", "a.vdb", "--mmr"], ["create", "b.vdb", "--index=tree"], ["search", "a.vdb", "--mode=txt"]]
    {
        let ran = scene.vdb(&words);
        assert!(!ran.stderr.contains("version"), "{}", ran.stderr);
        assert_eq!(ran.exit, Some(2));
    }
    assert!(!scene.path("b.vdb").exists());
    for name in ["merge", "export", "backup", "monitor"] {
        let ran = scene.vdb(&[name, "a.vdb", "-k", "3", "--where", "x=1"]);
        assert_eq!(ran.picture(), format!("err| vdb: `{name}` is not in this version\nexit 2"));
    }
    assert_eq!(scene.vdb(&["export", "--json"]).error()["code"], "usage");
}

#[test]
fn help_version_and_colour() {
    let scene = Scene::new();
    let ran = scene.vdb(&["--version"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], format!("vdb {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("FAISS 1."), "{}", ran.stdout);
    assert!(lines[2].starts_with("file format "), "{}", ran.stdout);
    assert_eq!(scene.vdb(&["--version", "--json"]).lines()[0]["data"]["version"], env!("CARGO_PKG_VERSION"));
    let ran = scene.vdb(&["compact", "--help"]);
    assert!(ran.stdout.contains("Usage: vdb compact"), "{}", ran.stdout);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let escape = |color: &str| scene.vdb(&["--color", color, "stats", "none.vdb"]).stderr.contains('\x1b');
    assert_eq!([escape("always"), escape("never"), escape("auto")], [true, false, false]);
}
