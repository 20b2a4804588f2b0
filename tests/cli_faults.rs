//! What goes wrong with the commands over documents: each fault is named, and nothing is lost.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::json;
use vdb::{Document, Store};

use crate::scene::Scene;

#[test]
fn a_bad_line_is_named_and_nothing_is_added() {
    let scene = Scene::new();
    assert_eq!(scene.vdb(&["create", "a.vdb", "--model", "none"]).exit, Some(0));
    let good = "{\"id\": \"a\", \"text\": \"fine\", \"vector\": [1, 0]}\n\n";
    for (line, code, said) in [
        (&b"{\"id\": \"b\", \"text\": \"x\""[..], "invalid", "at byte"),
        (b"not json", "invalid", "expected an object"),
        (b"{\"id\": \"b\", \"text\": \"x\", \"colour\": 1}", "invalid", "unknown key \"colour\""),
        (b"{\"id\": \"b\", \"text\": \"\xff\"}", "invalid", "byte 21 is not UTF-8"),
        (b"{\"id\": \"b\", \"text\": \"\"}", "invalid", "document \"b\" is not valid: its text is empty"),
        (b"{\"id\": \"b\"}", "invalid", "neither a text nor a vector"),
        (
            b"{\"id\": \"b\", \"vector\": [1, 2, 3]}",
            "shape",
            "vector of document \"b\" has 3 values, expected 2",
        ),
        (b"{\"id\": \"b\", \"vector\": [0, 0]}", "invalid", "zero"),
        (b"{\"id\": \"b\", \"vector\": [1, \"2\"]}", "invalid", "vector[1]"),
        (b"{\"id\": \"b\", \"text\": \"x\", \"metadata\": []}", "invalid", "metadata"),
        (b"{\"id\": \"\", \"text\": \"x\"}", "invalid", "document id is not valid: it is empty"),
    ] {
        let input = [good.as_bytes(), line, b"\n{\"id\": \"z\", \"text\": \"after\"}\n"].concat();
        let ran = scene.fed(&["add", "a.vdb", "-", "--json"], &input);
        let error = ran.error();
        assert_eq!((&error["code"], &error["line"], ran.exit), (&json!(code), &json!(3), Some(1)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("line 3 of standard input: ") && message.contains(said), "{message}");
        let ran = scene.fed(&["add", "a.vdb", "-"], &input);
        assert!(ran.stderr.starts_with("vdb: line 3 of standard input: "), "{}", ran.stderr);
    }
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "0\n");
    assert_eq!(scene.vdb(&["check", "a.vdb", "--deep"]).exit, Some(0));
}

#[test]
fn a_bad_line_after_many_good_ones() {
    let scene = Scene::new();
    let mut input = String::new();
    for n in 0..1500 {
        let _ = writeln!(input, "{{\"id\": {n}, \"text\": \"text\", \"vector\": [{n}, 1]}}");
    }
    input.push_str("{\"id\": 1500, \"vector\": [1]}\n");
    let ran = scene.fed(&["add", "a.vdb", "-", "--json", "--quiet", "--model", "none"], &input);
    let error = ran.error();
    assert_eq!((&error["code"], &error["line"]), (&json!("shape"), &json!(1501)));
    assert_eq!((&error["expected"], &error["found"]), (&json!(2), &json!(1)));
    assert_eq!(Store::open(scene.path("a.vdb")).unwrap().count().unwrap(), 0);
}

#[test]
fn a_line_that_is_too_long_is_not_kept_in_memory() {
    let scene = Scene::new();
    let mut child = scene
        .command(&["add", "a.vdb", "-", "--json", "--memory", "4GiB"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..300 {
        stdin.write_all(&chunk).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let error = &line["data"];
    assert_eq!((&error["code"], &error["line"]), (&json!("limit"), &json!(1)));
    assert_eq!((&error["found"], &error["expected"]), (&json!(300 << 20), &json!(256 << 20)));
    assert!(!scene.path("a.vdb").exists());
}

#[test]
fn a_line_fits_into_the_memory_budget() {
    let scene = Scene::new();
    let line = |bytes: usize| format!("{{\"id\": \"a\", \"text\": \"{}\"}}\n", "x".repeat(bytes));
    let little = ["--json", "--memory", "32MiB"];
    let add = [&["add", "a.vdb", "-", "--model", "none"][..], &little].concat();
    let search = [&["search", "a.vdb", "--queries", "-"][..], &little].concat();
    let too_long = |words: &[&str]| {
        let error = scene.fed(words, line(3 << 20).as_bytes()).error();
        assert_eq!((&error["code"], &error["line"]), (&json!("limit"), &json!(1)));
        assert_eq!(error["expected"], json!(2 << 20));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("within the memory budget"), "{message}");
    };
    too_long(&add);
    assert!(!scene.path("a.vdb").exists());
    assert_eq!(scene.fed(&add, line(1 << 20).as_bytes()).exit, Some(0));
    too_long(&add);
    too_long(&search);
    assert_eq!(scene.fed(&search, line(1000).as_bytes()).exit, Some(0));
    assert_eq!(scene.fed(&add[..5], line(3 << 20).as_bytes()).exit, Some(0));
}

#[test]
fn wrong_words_for_add() {
    let scene = Scene::new();
    for (words, said) in [
        (&["a.vdb"][..], "<TEXT>"),
        (&["a.vdb", "one", "two", "--id", "1"], "2 texts with 1 ids"),
        (&["a.vdb", "-", "more"], "`-` reads whole documents"),
        (&["a.vdb", "-", "--meta", "{}"], "`-` reads whole documents"),
        (&["a.vdb", "x", "--metadata", "{}"], "'--meta'"),
    ] {
        let ran = scene.vdb(&[&["add"], words].concat());
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(2)));
    }
    for (words, said) in [
        (&[""][..], "its text is empty"),
        (&["x", "--meta", "[1]"], "expected a JSON object"),
        (&["x", "--meta", "{\"a\": }"], "metadata is not valid"),
        (&["x", "--meta", "@none.json"], "cannot read none.json"),
        (&["x", "--id", ""], "document id is not valid"),
    ] {
        let ran = scene.vdb(&[&["add", "a.vdb"], words].concat());
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(1)));
    }
    assert!(!scene.path("a.vdb").exists());
}

#[test]
fn a_filter_with_a_typing_error_is_shown() {
    let scene = Scene::new();
    scene.filled("a.vdb");
    let filter = r#"{"year": {"$gtt": 3}}"#;
    for words in [
        &["count", "a.vdb"][..],
        &["list", "a.vdb"],
        &["search", "a.vdb", "--vector", "[1,0]"],
        &["delete", "a.vdb"],
        &["update", "a.vdb", "--meta", "{}"],
    ] {
        let ran = scene.vdb(&[words, &["--filter", filter]].concat());
        assert_eq!(
            ran.picture(),
            "err| vdb: filter is not valid at $.year.$gtt: unknown operator \"$gtt\", did you mean $gt?\n\
             err|   {\"year\": {\"$gtt\": 3}}\nerr|             ^^^^^^\nexit 1"
        );
        let ran = scene.vdb(&[words, &["--filter", filter, "--json"]].concat());
        assert_eq!((&ran.error()["code"], ran.exit), (&json!("filter"), Some(1)));
        assert_eq!(scene.vdb(&[words, &["--where", "year>true"]].concat()).exit, Some(1));
        let ran = scene.vdb(&[words, &["--filtr", filter]].concat());
        assert!(ran.stderr.contains("'--filter'"), "{}", ran.stderr);
        assert_eq!(ran.exit, Some(2));
    }
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "30\n");
}

#[test]
fn files_that_are_something_else() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("dir")).unwrap();
    std::fs::write(scene.path("notes.vdb"), "dear diary\n").unwrap();
    std::fs::write(scene.path("empty.vdb"), "").unwrap();
    let commands = [
        &["add", "FILE", "text"][..],
        &["search", "FILE", "--vector", "[1]"],
        &["get", "FILE", "a"],
        &["delete", "FILE", "a"],
        &["update", "FILE", "a", "--meta", "{}"],
        &["list", "FILE"],
        &["count", "FILE"],
    ];
    for command in commands {
        for (file, found) in
            [("dir", "it is a directory"), ("notes.vdb", "it looks like text"), ("empty.vdb", "it is empty")]
        {
            let words: Vec<&str> =
                command.iter().map(|&word| if word == "FILE" { file } else { word }).collect();
            let ran = scene.vdb(&words);
            assert_eq!(
                ran.picture(),
                format!("err| vdb: {file} is not a vdb file: {found}\nexit 1"),
                "{words:?}"
            );
            let ran = scene.vdb(&[&["--json"], words.as_slice()].concat());
            let error = ran.error();
            assert_eq!((&error["code"], &error["path"]), (&json!("not_a_store"), &json!(file)));
        }
        if command[0] != "add" {
            let words: Vec<&str> =
                command.iter().map(|&word| if word == "FILE" { "none.vdb" } else { word }).collect();
            let error = scene.vdb(&[&["--json"], words.as_slice()].concat()).error();
            assert_eq!((&error["code"], &error["path"]), (&json!("not_found"), &json!("none.vdb")));
        }
    }
    assert_eq!(std::fs::read(scene.path("notes.vdb")).unwrap(), b"dear diary\n");
    assert_eq!(scene.vdb(&["add", "missing/a.vdb", "x"]).exit, Some(1));
}

#[test]
fn a_store_that_another_process_writes() {
    let scene = Scene::new();
    let store = Store::open(scene.filled("a.vdb")).unwrap();
    for words in [
        &["add", "a.vdb", "text"][..],
        &["delete", "a.vdb", "30"],
        &["delete", "a.vdb", "--all"],
        &["update", "a.vdb", "30", "--meta", "{}"],
        &["update", "a.vdb", "--where", "x=1", "--meta", "{}"],
    ] {
        let ran = scene.vdb(words);
        let holder = format!("vdb: a.vdb is being written by process {} on ", std::process::id());
        assert!(ran.stderr.starts_with(&holder) && ran.stderr.contains("--wait 10s"), "{}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(4)));
        let ran = scene.vdb(&[words, &["--json", "--wait", "50ms"]].concat());
        assert_eq!((&ran.error()["code"], ran.exit), (&json!("busy"), Some(4)));
    }
    // Readers need no lock.
    for words in [
        &["list", "a.vdb"][..],
        &["count", "a.vdb"],
        &["get", "a.vdb", "30"],
        &["search", "a.vdb", "--vector", "[1, 1]"],
        &["delete", "a.vdb", "--all", "--dry-run"],
        &["repair", "a.vdb", "--dry-run"],
    ] {
        let ran = scene.vdb(words);
        assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)), "{words:?}");
    }
    let child = scene
        .command(&["add", "a.vdb", "text", "--wait", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    store.close().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "31\n");
}

#[test]
fn a_model_that_is_not_on_this_machine() {
    let scene = Scene::new();
    scene.with_model_mini("a.vdb");
    for words in [
        &["add", "a.vdb", "new"][..],
        &["search", "a.vdb", "text"],
        &["update", "a.vdb", "a", "--text", "new"],
    ] {
        let ran = scene.vdb(&[words, &["--json"]].concat());
        let error = ran.error();
        assert_eq!((&error["code"], ran.exit), (&json!("unavailable"), Some(1)), "{words:?}");
        assert!(error["message"].as_str().unwrap().contains("mini is not in"), "{error}");
    }
    // What needs no model works without.
    let line = "{\"id\": \"b\", \"text\": \"other\", \"vector\": [0, 1]}\n";
    assert_eq!(scene.fed(&["add", "a.vdb", "-"], line).exit, Some(0));
    let ran = scene.vdb(&["search", "a.vdb", "--like", "b", "--json"]);
    assert_eq!((ran.lines()[0]["data"]["id"].clone(), ran.exit), (json!("a"), Some(0)));
    assert_eq!(scene.vdb(&["update", "a.vdb", "b", "--meta", "{\"n\": 1}"]).exit, Some(0));
}

#[test]
fn nobody_reads_what_we_print() {
    let scene = Scene::new();
    let store = Store::create(scene.path("a.vdb")).unwrap();
    let long = "word ".repeat(2000);
    store.add((0..200).map(|n| Document::new(&long).id(format!("{n}")).vector(vec![1.0, 1.0]))).unwrap();
    store.close().unwrap();
    for words in [
        &["search", "a.vdb", "--vector", "[1, 1]", "-k", "200", "--json"][..],
        &["list", "a.vdb", "--json"],
        &["completions", "zsh"],
    ] {
        let mut child = scene.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.len() > 5, "{words:?}");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}");
    }
}
