//! `vdb import` and `vdb model` from outside.

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
    let ran = scene.vdb(&["import", "a.vdb", "a.jsonl", "--json"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let printed = ran.lines();
    let (summary, steps) = printed.split_last().unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|step| step["type"] == "committed"));
    assert_eq!(steps.last().unwrap()["data"], json!({"documents": 700, "row": 700}));
    assert_eq!((&summary["type"], &summary["data"]["added"]), (&json!("summary"), &json!(700)));
    assert!(summary["data"]["peak_memory"].as_u64().unwrap() > 1 << 20);
    let again = scene.vdb(&["import", "a.vdb", "a.jsonl", "--json"]);
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
    std::fs::write(scene.path("a.jsonl"), lines(3) + "{\"text\": \"x\", \"colour\": 1}\n").unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "a.jsonl", "--json"]);
    assert_eq!(ran.exit, Some(1));
    // The batch before it was printed, too.
    let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    let error = &error["data"];
    assert_eq!((&error["code"], &error["line"]), (&json!("invalid"), &json!(4)));
    assert!(error["message"].as_str().unwrap().contains("colour"), "{error}");
    assert_eq!(scene.vdb(&["count", "a.vdb", "--json"]).lines()[0]["data"]["count"], 3);
    let ran = scene.vdb(&["import", "a.vdb", "a.jsonl", "--on-error", "file=bad.jsonl", "--json"]);
    assert_eq!((ran.exit, &ran.lines().last().unwrap()["data"]["failed"]), (Some(0), &json!(1)));
    assert!(std::fs::read_to_string(scene.path("bad.jsonl")).unwrap().contains("colour"));
}

#[test]
fn texts_of_a_directory_are_found_by_meaning() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("notes")).unwrap();
    std::fs::write(scene.path("notes/cat.txt"), "A kitten sleeps on the sofa.").unwrap();
    std::fs::write(scene.path("notes/tax.md"), "The tax return is due in May.").unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "notes", "--model", "all-MiniLM-L6-v2"]);
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
    assert_eq!(scene.vdb(&["import", "a.vdb", "x", "--on-error", "ignore"]).exit, Some(2));
    assert_eq!(scene.vdb(&["import", "a.vdb"]).exit, Some(2));
    assert!(!scene.path("a.vdb").exists());
}
