//! The commands that speak of fields, from outside: `fields`, `count --by`, `list --sort`.

use serde_json::{Value, json};

use crate::scene::Scene;

const DOCUMENTS: &str = r#"{"id": "a", "text": "1", "metadata": {"year": 2021, "tags": ["x", "y"], "author": {"name": "Kim"}}}
{"id": "b", "text": "2", "metadata": {"year": 2019.0, "tags": ["x"], "big": 123456789012345678901234567890}}
{"id": "c", "text": "3", "metadata": {"year": null, "tags": []}}
{"id": "d", "text": "4", "metadata": {"year": "unknown", "author": {"name": "Kim"}}}
{"id": "e", "text": "5", "metadata": {"year": 2019}}
{"id": "f", "text": "6"}
"#;

fn scene() -> Scene {
    let scene = Scene::new();
    let ran = scene.fed(&["add", "a.vdb", "-", "--model", "none", "--quiet"], DOCUMENTS);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    scene
}

fn data(lines: &[Value], kind: &str) -> Vec<Value> {
    assert!(lines.iter().all(|line| line["type"] == kind), "{lines:?}");
    lines.iter().map(|line| line["data"].clone()).collect()
}

#[test]
fn fields_and_their_types() {
    let scene = scene();
    let ran = scene.vdb(&["fields", "a.vdb"]);
    assert_eq!(
        ran.picture(),
        "out| author  2 documents, 0 values: other 2\n\
         out| author.name  2 documents, 1 value: string 2\n\
         out| big  1 document, 1 value: number 1\n\
         out| tags  3 documents, 2 values: string 2, other 1\n\
         out| year  5 documents, 4 values: null 1, number 3, string 1\nexit 0"
    );
    let lines = scene.vdb(&["fields", "a.vdb", "--json"]).lines();
    assert_eq!(
        data(&lines, "field")[4],
        json!({"field": "year", "documents": 5, "values": 4,
            "types": {"null": 1, "boolean": 0, "number": 3, "string": 1, "other": 0}})
    );
}

#[test]
fn counting_by_a_field() {
    let scene = scene();
    let ran = scene.vdb(&["count", "a.vdb", "--by", "year"]);
    assert_eq!(ran.picture(), "out| 2  2019\nout| 1  null\nout| 1  2021\nout| 1  \"unknown\"\nexit 0");
    let lines = scene.vdb(&["count", "a.vdb", "--by", "tags", "--where", "year>2000", "--json"]).lines();
    assert_eq!(data(&lines, "group"), [json!({"value": "x", "count": 2}), json!({"value": "y", "count": 1})]);
    let ran = scene.vdb(&["count", "a.vdb", "--by", "big", "--json"]);
    assert!(ran.stdout.contains(r#"{"value":123456789012345678901234567890,"count":1}"#), "{}", ran.stdout);
    assert_eq!(scene.vdb(&["count", "a.vdb", "--by", "none"]).picture(), "exit 0");
    assert_eq!(scene.vdb(&["count", "a.vdb", "--by", "$id", "--json"]).error()["code"], "invalid");
}

#[test]
fn sorting_by_a_field() {
    let scene = scene();
    let ids = |words: &[&str]| {
        let lines = scene.vdb(&[&["list", "a.vdb", "--json"], words].concat()).lines();
        let ids: Vec<String> =
            lines.iter().filter_map(|line| line["data"]["id"].as_str().map(str::to_owned)).collect();
        (ids.concat(), lines.last().unwrap()["data"]["cursor"].clone())
    };
    assert_eq!(ids(&["--sort", "year"]), ("cbeadf".into(), Value::Null));
    assert_eq!(ids(&["--sort", "year:asc"]).0, "cbeadf");
    assert_eq!(ids(&["--sort", "year:desc"]).0, "dabecf");
    assert_eq!(ids(&["--sort", "author.name", "--where", "year!=null"]).0, "adbe");
    let (first, cursor) = ids(&["--sort", "year", "--limit", "4"]);
    assert_eq!((first.as_str(), &cursor), ("cbea", &json!("4")));
    assert_eq!(ids(&["--sort", "year", "--after", cursor.as_str().unwrap()]).0, "df");
    assert_eq!(ids(&["--sort", "none"]).0, "abcdef");
    assert_eq!(scene.vdb(&["list", "a.vdb", "--sort", "$text", "--json"]).error()["code"], "invalid");
}
