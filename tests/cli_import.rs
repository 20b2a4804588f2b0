//! `vdb import` and `vdb model` from outside.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::scene::Scene;

fn lines(count: u32) -> String {
    let line = |n| {
        format!(
            "{{\"id\": {n}, \"text\": \"문서 {n}\", \"metadata\": {{\"n\": {n}}}, \"vector\": [{n}, 1]}}\n"
        )
    };
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn import_makes_a_store_and_a_second_run_adds_nothing() {
    let scene = Scene::new();
    std::fs::write(scene.path("a.jsonl"), lines(700)).unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "a.jsonl", "--model", "none", "--json"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let printed = ran.lines();
    let (summary, steps) = printed.split_last().unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|step| step["type"] == "committed"));
    assert_eq!(steps.last().unwrap()["data"], json!({"documents": 700, "row": 700}));
    assert_eq!((&summary["type"], &summary["data"]["added"]), (&json!("summary"), &json!(700)));
    assert!(summary["data"]["peak_memory"].as_u64().unwrap() > 1 << 20);
    let again = scene.vdb(&["import", "a.vdb", "a.jsonl", "--model", "none", "--json"]);
    let summary = again.lines().last().unwrap()["data"].clone();
    assert_eq!(
        (&summary["added"], &summary["updated"], &summary["skipped"]),
        (&json!(0), &json!(0), &json!(700))
    );
    let found = scene.vdb(&["count", "a.vdb", "--where", "n>=690", "--json"]);
    assert_eq!(found.lines()[0]["data"]["count"], 10);
}

#[test]
fn a_bad_line_is_named_and_the_lines_before_it_stay() {
    let scene = Scene::new();
    let vector = |values: &str| format!("{{\"id\": \"b\", \"vector\": {values}}}").into_bytes();
    let cases: [(Vec<u8>, &str, &str); 8] = [
        (b"{\"text\": \"x\"".to_vec(), "invalid", "at byte"),
        (b"not json".to_vec(), "invalid", "expected an object"),
        (b"{\"text\": \"x\", \"colour\": 1}".to_vec(), "invalid", "unknown key \"colour\""),
        (b"{\"text\": \"\xff\"}".to_vec(), "invalid", "byte 10 is not UTF-8"),
        (b"{\"id\": \"b\", \"text\": \"\"}".to_vec(), "invalid", "its text is empty"),
        (vector("[1, 2, 3]"), "shape", "has 3 values, expected 2"),
        (vector("[0, 0]"), "invalid", "it is zero"),
        (vector("[1e39, 0]"), "invalid", "vector"),
    ];
    for (n, (line, code, said)) in cases.into_iter().enumerate() {
        let good = "{\"id\": \"last\", \"text\": \"z\", \"vector\": [1, 1]}\n";
        std::fs::write(scene.path("a.jsonl"), [lines(3).as_bytes(), &line, b"\n", good.as_bytes()].concat())
            .unwrap();
        let file = format!("{n}.vdb");
        let import = |flags: &[&str]| {
            scene.vdb(&[&["import", &file, "a.jsonl", "--model", "none", "--json"], flags].concat())
        };
        let ran = import(&[]);
        assert_eq!(ran.exit, Some(1));
        // The batch before it was printed, too.
        assert_eq!(ran.lines().last().unwrap()["data"]["documents"], 3, "{said}");
        let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        let error = &error["data"];
        let wanted = (&json!(code), &json!(4), &json!("a.jsonl"));
        assert_eq!((&error["code"], &error["line"], &error["path"]), wanted, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("line 4 of a.jsonl: ") && message.contains(said), "{message}");
        assert!(!message.contains("(row "), "{message}");
        assert_eq!(scene.vdb(&["count", &file]).stdout, "3\n");

        let collected = import(&["--on-error", "file=bad.jsonl"]).lines();
        let summary = &collected.last().unwrap()["data"];
        assert_eq!((&summary["added"], &summary["failed"]), (&json!(1), &json!(1)), "{said}");
        let bad = std::fs::read_to_string(scene.path("bad.jsonl")).unwrap();
        let fault: Value = serde_json::from_str(&bad).unwrap();
        assert_eq!((&fault["path"], &fault["line"]), (&json!("a.jsonl"), &json!(4)));
        assert!(fault["error"].as_str().unwrap().contains(said), "{fault}");
        assert!(fault["input"].as_str().is_some_and(|input| !input.is_empty()), "{fault}");
        let again = import(&["--on-error", "skip"]).lines();
        let summary = &again.last().unwrap()["data"];
        assert_eq!((&summary["skipped"], &summary["failed"]), (&json!(4), &json!(1)), "{said}");
        assert_eq!(scene.vdb(&["count", &file]).stdout, "4\n");
    }
}

#[test]
fn a_line_of_a_gigabyte_is_not_kept_in_memory() {
    let scene = Scene::new();
    let good = "{\"id\": \"last\", \"text\": \"z\", \"vector\": [1, 1]}\n";
    let hole = 1_u64 << 30;
    let mut file = std::fs::File::create(scene.path("a.jsonl")).unwrap();
    file.write_all(lines(3).as_bytes()).unwrap();
    let start = file.metadata().unwrap().len();
    file.set_len(start + hole).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"\n").unwrap();
    file.write_all(good.as_bytes()).unwrap();
    let import = |flags: &[&str]| {
        scene.vdb(&[&["import", "a.vdb", "a.jsonl", "--model", "none", "--json", "--quiet"], flags].concat())
    };
    let ran = import(&[]);
    assert_eq!(ran.exit, Some(1));
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    let error = &error["data"];
    assert_eq!((&error["code"], &error["line"]), (&json!("limit"), &json!(4)));
    assert_eq!(
        (&error["found"], &error["expected"]),
        (&json!(hole + 1), &json!(vdb::limits::LINE_BYTES_MAX))
    );
    let ran = import(&["--on-error", "skip"]);
    let summary = ran.lines().last().unwrap()["data"].clone();
    assert_eq!(
        (&summary["added"], &summary["failed"], &summary["skipped"]),
        (&json!(1), &json!(1), &json!(3))
    );
    let peak = summary["peak_memory"].as_u64().unwrap();
    assert!(peak < hole / 2, "{peak} bytes");
}

#[test]
fn nobody_reads_what_an_import_prints() {
    let scene = Scene::new();
    std::fs::write(scene.path("a.jsonl"), lines(700)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let words = ["import", "a.vdb", "a.jsonl", "--model", "none", "--json", "--quiet"];
    let output = scene.command(&words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "700\n");
}

#[test]
fn texts_of_a_directory_are_found_by_meaning() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("notes")).unwrap();
    std::fs::write(scene.path("notes/cat.txt"), "A kitten sleeps on the sofa.").unwrap();
    std::fs::write(scene.path("notes/tax.md"), "The tax return is due in May.").unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "notes"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let found = scene.vdb(&["search", "a.vdb", "my pet is tired", "-k", "1", "--json"]);
    assert_eq!(found.lines()[0]["data"]["id"], "cat.txt", "{}", found.stderr);
    let listed = scene.vdb(&["model", "list", "--json"]);
    assert!(listed.lines().iter().any(|model| model["data"]["name"] == "all-MiniLM-L6-v2"));
    assert_eq!(scene.vdb(&["model", "path", "nothing"]).exit, Some(1));
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_refused_before_a_store_is_made() {
    let scene = Scene::new();
    let ran = scene.vdb(&["import", "a.vdb", "nowhere.jsonl", "--json"]);
    assert_eq!((ran.exit, &ran.error()["code"]), (Some(1), &json!("not_found")));
    // What is to be read is not to be created.
    assert_eq!((&ran.error()["path"], &ran.error()["hint"]), (&json!("nowhere.jsonl"), &Value::Null));
    assert_eq!(scene.vdb(&["import", "a.vdb", "x", "--on-error", "ignore"]).exit, Some(2));
    assert_eq!(scene.vdb(&["import", "a.vdb"]).exit, Some(2));
    assert!(!scene.path("a.vdb").exists());
}
