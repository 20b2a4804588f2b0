//! What users do wrong, through the command line: a message that names what is at fault, the exit status, and nothing lost.
//!
//! Full disks and directories that cannot be written are in `processes/commands.rs`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use vdb::limits::{ID_BYTES_MAX, METADATA_BYTES_MAX, TEXT_BYTES_MAX};

use crate::bad_input::set_feature;
use crate::import_npy::npy;
use crate::scene::{Ran, Scene};

/// Commands that only read, for the store `FILE`.
const READING: [&[&str]; 9] = [
    &["stats", "FILE"],
    &["check", "FILE", "--deep"],
    &["search", "FILE", "--vector", "[1, 0]"],
    &["get", "FILE", "a"],
    &["list", "FILE"],
    &["count", "FILE"],
    &["fields", "FILE"],
    &["delete", "FILE", "a", "--dry-run"],
    &["search", "sound.vdb", "--with", "FILE", "--vector", "[1, 0]"],
];

/// Commands that write.
const WRITING: [&[&str]; 7] = [
    &["add", "FILE", "text"],
    &["import", "FILE", "a.jsonl"],
    &["delete", "FILE", "a"],
    &["update", "FILE", "a", "--meta", "{}"],
    &["update", "FILE", "--where", "x=1", "--meta", "{}"],
    &["compact", "FILE"],
    &["repair", "FILE"],
];

fn at<'a>(words: &[&'a str], file: &'a str) -> Vec<&'a str> {
    words.iter().map(|&word| if word == "FILE" { file } else { word }).collect()
}

/// A store of the document `a`, with vectors of two values; the same beside it as `sound.vdb`; and a source.
fn scene() -> Scene {
    let scene = Scene::new();
    std::fs::write(scene.path("a.jsonl"), "{\"id\": \"a\", \"text\": \"Seoul\", \"vector\": [1, 0]}\n")
        .unwrap();
    for file in ["a.vdb", "sound.vdb"] {
        let ran = scene.vdb(&["import", file, "a.jsonl", "--model", "none", "--quiet"]);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    }
    scene
}

/// The store is sound and has so many documents.
#[track_caller]
fn assert_holds(scene: &Scene, file: &str, documents: u64) {
    let checked = scene.vdb(&["check", file, "--deep"]);
    assert_eq!((checked.stderr.as_str(), checked.exit), ("", Some(0)), "{}", checked.stdout);
    assert_eq!(scene.vdb(&["count", file]).stdout, format!("{documents}\n"));
}

fn summary(ran: &Ran) -> Value {
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.lines().last().unwrap()["data"].clone()
}

/// Every command on a file says this, and the same in JSON; the file stays as it is.
#[track_caller]
fn assert_refused(scene: &Scene, file: &str, picture: &str, fields: &[(&str, Value)]) {
    let before = std::fs::read(scene.path(file)).unwrap();
    for words in READING.iter().chain(&WRITING) {
        let words = at(words, file);
        assert_eq!(scene.vdb(&words).picture(), picture, "{words:?}");
        let error = scene.vdb(&[&["--json"], words.as_slice()].concat()).error();
        assert_eq!(error["path"], file, "{words:?}");
        for (name, value) in fields {
            assert_eq!(error[name], *value, "{words:?}");
        }
    }
    assert!(std::fs::read(scene.path(file)).unwrap() == before, "the file was changed");
}

#[test]
fn a_memory_budget_below_the_minimum_is_refused_with_the_minimum() {
    let scene = scene();
    for words in READING.iter().chain(&WRITING).chain(&[&["create", "FILE"][..], &["add", "FILE", "-"]]) {
        let file = if words[0] == "create" { "new.vdb" } else { "a.vdb" };
        let ran = scene.vdb(&[&at(words, file)[..], &["--memory", "1MiB"]].concat());
        let said = "memory budget is not valid: 1048576 bytes are less than the minimum of 33554432";
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(1)), "{words:?}");
    }
    assert!(!scene.path("new.vdb").exists());
    assert_holds(&scene, "a.vdb", 1);
}

#[test]
fn a_vector_of_too_many_values_is_refused_with_the_limit() {
    let scene = scene();
    let zeros = vec!["1"; 65_537].join(",");
    std::fs::write(scene.path("vector.json"), format!("[{zeros}]")).unwrap();
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "@vector.json", "--json"]);
    let error = ran.error();
    assert_eq!((&error["code"], &error["found"]), (&json!("limit"), &json!(65_537)), "{error}");
    assert_eq!((&error["expected"], ran.exit), (&json!(65_536), Some(1)));
    std::fs::write(scene.path("wide.npy"), npy("<f4", "(1, 65537)", &vec![0; 4 * 65_537])).unwrap();
    let ran = scene.vdb(&["import", "wide.vdb", "wide.npy", "--model", "none"]);
    assert!(ran.stderr.contains("its rows have 65537 values, expected 1 to 65536"), "{}", ran.stderr);
    assert!(ran.exit == Some(1) && !scene.path("wide.vdb").exists());
}

#[test]
fn a_bare_database_of_redb_is_no_store() {
    let scene = scene();
    drop(redb::Database::create(scene.path("bare.vdb")).unwrap());
    let found = "it is a bare redb database";
    let picture = format!("err| vdb: bare.vdb is not a vdb file: {found}\nexit 1");
    let fields = [("code", json!("not_a_store")), ("found", json!(found))];
    assert_refused(&scene, "bare.vdb", &picture, &fields);
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name() {
    let scene = scene();
    set_feature(&scene.path("a.vdb"), 2, 42);
    let before = std::fs::read(scene.path("a.vdb")).unwrap();
    let picture = "err| vdb: a.vdb: file format with unknown features 0x40000000000 is not supported, this version reads 1 to 1\n\
         err| hint: a newer version of vdb has written the file: use that\nexit 1";
    assert_refused(&scene, "a.vdb", picture, &[("code", json!("version"))]);
    assert_eq!(scene.vdb(&["create", "a.vdb", "--json"]).error()["code"], "exists");
    assert!(std::fs::read(scene.path("a.vdb")).unwrap() == before, "the file was changed");
}

#[test]
fn a_store_that_this_version_can_only_read_is_read() {
    let scene = scene();
    set_feature(&scene.path("a.vdb"), 1, 41);
    let before = std::fs::read(scene.path("a.vdb")).unwrap();
    for words in READING {
        let ran = scene.vdb(&at(words, "a.vdb"));
        assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)), "{words:?}");
    }
    for words in WRITING {
        let ran = scene.vdb(&at(words, "a.vdb"));
        let said = "vdb: writing is not available: a.vdb uses features that this version can only read";
        assert!(ran.stderr.starts_with(said) && ran.stderr.contains("hint: "), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(1)), "{words:?}");
    }
    assert!(std::fs::read(scene.path("a.vdb")).unwrap() == before, "the file was changed");
}

#[test]
fn a_wrong_dimension_names_both() {
    let scene = scene();
    let line = "{\"id\": \"b\", \"vector\": [1, 2, 3]}\n";
    std::fs::write(scene.path("b.jsonl"), line).unwrap();
    let hint = "err| hint: `--model none` or `--dim 3` makes a new store for such vectors\nexit 1";
    for (ran, place) in [
        (scene.fed(&["add", "a.vdb", "-"], line), "standard input"),
        (scene.vdb(&["import", "a.vdb", "b.jsonl"]), "b.jsonl"),
    ] {
        let wanted =
            format!("err| vdb: line 1 of {place}: vector of document \"b\" has 3 values, expected 2\n{hint}");
        assert_eq!(ran.picture(), wanted);
    }
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 2, 3]"]);
    assert_eq!(ran.picture(), "err| vdb: query vector has 3 values, expected 2\nexit 1");
    let asked = scene.fed(&["search", "a.vdb", "--queries", "-", "--json"], "{\"vector\": [1]}\n").error();
    let wanted = (&json!("shape"), &json!(2), &json!(1));
    assert_eq!((&asked["code"], &asked["expected"], &asked["found"]), wanted);
    assert_holds(&scene, "a.vdb", 1);
}

#[test]
fn values_that_are_not_finite_are_named_by_row_and_column() {
    let scene = scene();
    let good = "{\"id\": \"b\", \"vector\": [1, 1]}\n";
    // What Python's json module writes for them, and numbers that an f32 does not hold.
    for value in ["NaN", "Infinity", "-Infinity", "nan", "1e39", "-1e39", "null", "\"1\""] {
        let input = format!("{good}{{\"id\": \"c\", \"vector\": [0.5 , {value}]}}\n");
        std::fs::write(scene.path("b.jsonl"), &input).unwrap();
        let reason = format!("vector[1] is {value}, expected a number that an f32 holds");
        let wanted = |place: &str| format!("vdb: line 2 of {place}: document is not valid: {reason}\n");
        let ran = scene.fed(&["add", "new.vdb", "-", "--model", "none"], &input);
        assert_eq!((ran.stderr, ran.exit), (wanted("standard input"), Some(1)));
        assert!(!scene.path("new.vdb").exists());
        let ran = scene.vdb(&["import", "a.vdb", "b.jsonl", "--quiet"]);
        assert_eq!((ran.stderr, ran.exit), (wanted("b.jsonl"), Some(1)));
        let parts = format!(
            "{{\"text\": \"x\", \"parts\": [{{\"vector\":[0,{value} ], \"span\": [0, 1]}}], \"metadata\": {{\"l\": [[]]}}}}\n"
        );
        let ran = scene.fed(&["add", "a.vdb", "-"], &parts);
        assert!(ran.stderr.ends_with(&format!("{reason}\n")), "{}", ran.stderr);
        let ran = scene.vdb(&["search", "a.vdb", "--vector", &format!("[0,{value}]")]);
        let wanted = format!("err| vdb: vector of the query is not valid: {reason}\nexit 1");
        assert_eq!(ran.picture(), wanted);
    }
    // Elsewhere a word is no value of a vector.
    let ran = scene.fed(&["add", "a.vdb", "-"], "{\"metadata\": {\"list\": [1, NaN]}, \"vector\": [1, 1]}\n");
    assert!(ran.stderr.contains("expected a JSON value, found 'N' at byte 26"), "{}", ran.stderr);
    // The good document before each fault has stayed.
    assert_holds(&scene, "a.vdb", 2);
}

#[test]
fn values_of_an_array_that_are_not_finite_are_named_by_row_and_column() {
    let scene = scene();
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let values: Vec<u8> =
            [1.0, 2.0, 3.0, 4.0, 5.0, value].iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(scene.path("rows.npy"), npy("<f4", "(3, 2)", &values)).unwrap();
        let error = scene.vdb(&["import", "a.vdb", "rows.npy", "--json", "--quiet"]).stderr;
        let error: Value = serde_json::from_str(&error).unwrap();
        let (message, line) = (error["data"]["message"].as_str().unwrap(), &error["data"]["line"]);
        let reason = format!("the value in column 1 is {name}, expected a finite number");
        assert!(message.starts_with("line 3 of rows.npy: ") && message.ends_with(&reason), "{message}");
        assert_eq!((line, &error["data"]["code"]), (&json!(3), &json!("invalid")));
    }
    assert_holds(&scene, "a.vdb", 3);
}

#[test]
fn a_zero_vector_has_no_cosine() {
    let scene = scene();
    let reason = "it is zero, which has no direction for the metric cosine";
    let zero = "{\"id\": \"z\", \"vector\": [0, -0.0]}\n";
    std::fs::write(scene.path("z.jsonl"), zero).unwrap();
    for (ran, place) in [
        (scene.fed(&["add", "a.vdb", "-"], zero), "standard input"),
        (scene.vdb(&["import", "a.vdb", "z.jsonl"]), "z.jsonl"),
    ] {
        let what = format!("line 1 of {place}: vector of document \"z\"");
        assert_eq!(ran.picture(), format!("err| vdb: {what} is not valid: {reason}\nexit 1"));
    }
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[0, 0]"]);
    assert_eq!(ran.picture(), format!("err| vdb: query vector is not valid: {reason}\nexit 1"));
    assert_holds(&scene, "a.vdb", 1);
    for metric in ["l2", "ip"] {
        let file = format!("{metric}.vdb");
        let ran = scene.fed(&["add", &file, "-", "--model", "none", "--metric", metric, "--quiet"], zero);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        let found = scene.vdb(&["search", &file, "--vector", "[0, 0]", "--json"]).lines();
        assert_eq!(found[0]["data"]["id"], "z");
    }
}

#[test]
fn of_an_id_given_twice_the_last_wins_and_is_reported() {
    let scene = scene();
    let lines = "{\"id\": \"b\", \"text\": \"first\", \"vector\": [1, 0]}\n{\"id\": \"a\", \"vector\": [1, 1]}\n\
                 {\"id\": \"b\", \"text\": \"last\", \"vector\": [0, 1]}\n";
    std::fs::write(scene.path("b.jsonl"), lines).unwrap();
    let ran = scene.fed(&["add", "a.vdb", "-"], lines);
    assert_eq!(
        ran.picture(),
        "out| added a\nout| added b\n\
         out| 1 document added, 1 updated, 3 parts; 1 given again, first \"b\": the last of an id counts\nexit 0"
    );
    let found = scene.vdb(&["get", "a.vdb", "b", "--with-vector", "--json"]).lines();
    assert_eq!(
        (&found[0]["data"]["text"], &found[0]["data"]["vector"]),
        (&json!("last"), &json!([0.0, 1.0]))
    );
    assert_holds(&scene, "a.vdb", 2);
    assert_eq!(summary(&scene.fed(&["add", "a.vdb", "-", "--json"], lines))["duplicates"], json!(["b"]));
    assert_eq!(summary(&scene.vdb(&["add", "a.vdb", "one", "--json"]))["duplicates"], json!([]));

    let imported = summary(&scene.vdb(&["import", "i.vdb", "b.jsonl", "--model", "none", "--json"]));
    let counts = ["added", "updated", "skipped", "failed", "duplicates"].map(|name| &imported[name]);
    assert_eq!(counts, [2, 0, 0, 0, 1]);
    let ran = scene.vdb(&["import", "j.vdb", "b.jsonl", "--model", "none"]);
    assert!(ran.stdout.contains("0 failed, 1 given again in "), "{}", ran.stdout);
    assert_eq!(scene.vdb(&["get", "i.vdb", "b"]).stdout, "b\n  last\n");
    assert_holds(&scene, "i.vdb", 2);
}

#[test]
fn an_id_of_more_than_a_kibibyte_is_refused() {
    let scene = scene();
    let long = "가".repeat(ID_BYTES_MAX / 3 + 1);
    let line = format!("{{\"id\": \"{long}\", \"vector\": [1, 1]}}\n");
    std::fs::write(scene.path("long.jsonl"), &line).unwrap();
    for ran in [
        scene.vdb(&["add", "a.vdb", "text", "--id", &long, "--json"]),
        scene.fed(&["add", "a.vdb", "-", "--json"], &line),
        scene.vdb(&["import", "a.vdb", "long.jsonl", "--json"]),
    ] {
        let error = ran.error();
        let wanted = (&json!("limit"), &json!(ID_BYTES_MAX), &json!(long.len()));
        assert_eq!((&error["code"], &error["expected"], &error["found"]), wanted);
        let said = format!("document id in bytes is {}, the limit is {ID_BYTES_MAX}", long.len());
        assert!(error["message"].as_str().unwrap().ends_with(&said), "{error}");
        assert_eq!(ran.exit, Some(1));
    }
    // No document has such an id.
    let ran = scene.vdb(&["get", "a.vdb", &long, "--json"]);
    assert_eq!((ran.lines()[0]["type"].clone(), ran.exit), (json!("missing"), Some(0)));
    assert_eq!(summary(&scene.vdb(&["delete", "a.vdb", &long, "--json"]))["deleted"], 0);
    let longest = "i".repeat(ID_BYTES_MAX);
    assert_eq!(scene.vdb(&["add", "a.vdb", "text", "--id", &longest]).exit, Some(0));
    assert_holds(&scene, "a.vdb", 2);
}

#[test]
fn a_document_over_the_limits_is_refused() {
    let scene = scene();
    for (key, value, most) in [
        ("text", format!("\"{}\"", "t".repeat(TEXT_BYTES_MAX + 1)), TEXT_BYTES_MAX),
        ("metadata", format!("{{\"m\":\"{}\"}}", "m".repeat(METADATA_BYTES_MAX)), METADATA_BYTES_MAX),
    ] {
        let line =
            format!("{{\"id\": \"b\", \"vector\": [1, 1]}}\n{{\"id\": \"long\", \"{key}\": {value}}}\n");
        std::fs::write(scene.path("long.jsonl"), &line).unwrap();
        let added = scene.command(&["add", "a.vdb", "-", "--json", "--quiet"]);
        let imported = scene.command(&["import", "a.vdb", "long.jsonl", "--json", "--quiet"]);
        for (mut command, place) in [(added, "standard input"), (imported, "long.jsonl")] {
            command.stdin(std::fs::File::open(scene.path("long.jsonl")).unwrap());
            let ran = Ran::of(command.output().unwrap());
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            let error = &error["data"];
            let wanted = (&json!("limit"), &json!(most), &json!(2), Some(1));
            assert_eq!((&error["code"], &error["expected"], &error["line"], ran.exit), wanted, "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("line 2 of {place}: {key}")), "{message}");
        }
    }
    // What `add` was given is one transaction; what `import` read before the fault is there.
    assert_holds(&scene, "a.vdb", 2);
}

#[test]
fn paths_have_hangul_and_spaces() {
    let scene = Scene::new();
    let file = "내 문서 모음/회의록 2026 (최종).vdb";
    std::fs::create_dir(scene.path("내 문서 모음")).unwrap();
    let ran = scene.vdb(&["create", file, "--dim", "2"]);
    let model = "(model external:unnamed, dimension 2, metric cosine)";
    assert_eq!(ran.picture(), format!("out| created {file} {model}\nexit 0"));
    let line = "{\"id\": \"첫째 글\", \"text\": \"바닷가 모래\", \"vector\": [1, 0]}\n";
    assert_eq!(scene.fed(&["add", file, "-"], line).exit, Some(0));
    std::fs::write(scene.path("자료 모음.jsonl"), line.replace("첫째", "둘째").replace("1, 0", "0, 1"))
        .unwrap();
    assert_eq!(summary(&scene.vdb(&["import", file, "자료 모음.jsonl", "--json"]))["added"], 1);
    let found = scene.vdb(&["search", file, "--vector", "[0, 1]", "-k", "1"]);
    assert_eq!(found.picture(), "out|   1  1.0000  둘째 글\nout|      바닷가 모래\nexit 0");
    let found = scene.vdb(&["search", file, "바닷가", "--mode", "text", "--json"]).lines();
    assert_eq!(found.len(), 2);
    assert_eq!(scene.vdb(&["get", file, "첫째 글"]).stdout, "첫째 글\n  바닷가 모래\n");
    let ran = scene.vdb(&["check", file, "--deep"]);
    assert!(ran.stdout.starts_with(&format!("{file} is sound: ")), "{}", ran.picture());
    assert_eq!(scene.vdb(&["compact", file]).exit, Some(0));
    assert_holds(&scene, file, 2);
    let ran = scene.vdb(&["stats", "없는 파일.vdb"]);
    let hint = "hint: `vdb create 없는 파일.vdb` makes it";
    assert_eq!(
        ran.picture(),
        format!("err| vdb: file \"없는 파일.vdb\" does not exist\nerr| {hint}\nexit 1")
    );
    // A name that is no text at all.
    let bytes = OsStr::from_bytes(b"caf\xe9.vdb");
    for words in [&["create", "--dim", "2"][..], &["add", "--id", "a"], &["check"], &["list"]] {
        let mut command = scene.command(&[]);
        command.arg(words[0]).arg(bytes).args(&words[1..]).args((words[0] == "add").then_some("text"));
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.exit, Some(0), "{words:?}: {}", ran.stderr);
    }
}

/// Starts a command without waiting for it.
fn start(scene: &Scene, words: &[&str]) -> Child {
    scene.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn of_two_that_create_one_file_at_once_one_wins() {
    let scene = Scene::new();
    for round in 0..20 {
        let file = format!("{round}.vdb");
        let words = ["create", &file, "--dim", "2"];
        let racing = [start(&scene, &words), start(&scene, &words)];
        let mut ends = racing.map(|child| Ran::of(child.wait_with_output().unwrap()).picture());
        ends.sort();
        let lost = format!(
            "err| vdb: file \"{file}\" exists already\nerr| hint: vdb never overwrites a file: choose another name\nexit 1"
        );
        let won = format!("out| created {file} (model external:unnamed, dimension 2, metric cosine)\nexit 0");
        assert_eq!(ends, [lost, won]);
        assert_holds(&scene, &file, 0);
    }
    // Two that add make it once, and both add.
    for round in 0..5 {
        let file = format!("added {round}.vdb");
        let add =
            |id| start(&scene, &["add", &file, "text", "--id", id, "--dim", "2", "--wait", "60s", "--json"]);
        let ends = [add("a"), add("b")].map(|child| Ran::of(child.wait_with_output().unwrap()));
        let created = ends.iter().filter(|ran| ran.stderr.contains("\"created\"")).count();
        assert_eq!((created, ends.map(|ran| ran.exit)), (1, [Some(0), Some(0)]));
        assert_holds(&scene, &file, 2);
    }
    let mut names = std::fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        names.all(|name| Path::new(&name).extension() == Some(OsStr::new("vdb"))),
        "something was left over"
    );
}
