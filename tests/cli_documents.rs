//! The commands over documents, from outside: add, get, list, count, update, delete.

use serde_json::{Value, json};
use vdb::{Document, Metric, OpenOptions, Store};

use crate::scene::Scene;

const THREE: &str = r#"{"id": "a", "text": "Seoul", "metadata": {"id": 2.50, "source": "doc_1"}, "vector": [1, 0]}

{"id": 7, "text": "Busan", "metadata": {"year": 2021}, "vector": [0.6, 0.8]}
{"id": "c", "metadata": {"year": 2019, "source": "doc_1"}, "vector": [0, 1]}
"#;

fn three() -> Scene {
    let scene = Scene::new();
    let ran = scene.fed(&["add", "a.vdb", "-", "--model", "none"], THREE);
    assert_eq!(
        ran.picture(),
        "out| added a\nout| added 7\nout| added c\nout| 3 documents added, 0 updated, 3 parts\n\
         err| created a.vdb (model none, dimension any, metric cosine)\nexit 0"
    );
    scene
}

/// The types and data of JSON lines.
fn pairs(lines: &[Value]) -> Vec<(&str, &Value)> {
    lines.iter().map(|line| (line["type"].as_str().unwrap(), &line["data"])).collect()
}

#[test]
fn adding_texts() {
    let scene = Scene::new();
    let words = ["add", "a.vdb", "one", "two", "--id", "x", "--id", "y", "--meta", r#"{"n": 1.0}"#];
    let ran = scene.vdb(&[&words[..], &["--dim", "3", "--metric", "l2", "--quiet"]].concat());
    assert_eq!(
        ran.picture(),
        "out| added x\nout| added y\nout| 2 documents added, 0 updated, 2 parts\n\
         err| vdb: warning: 2 texts without a vector, for the store has no model: `search` finds such documents by \
         their words alone\nexit 0"
    );
    let ran =
        scene.vdb(&["add", "off.vdb", "one", "--id", "x", "--model", "none", "--text", "off", "--quiet"]);
    assert_eq!(
        ran.stderr,
        "vdb: warning: 1 text without a vector, for the store has no model: `get`, `list` and filters find such \
         documents, `search` does not\n"
    );
    let store = Store::open(scene.path("a.vdb")).unwrap();
    assert_eq!(store.get("y").unwrap().unwrap().metadata_ref().as_json(), r#"{"n":1.0}"#);
    let stats = store.stats().unwrap();
    assert_eq!((stats.dim, stats.metric), (Some(3), Metric::L2));
    store.close().unwrap();

    std::fs::write(scene.path("meta.json"), r#"{"from": "file"}"#).unwrap();
    let ran = scene.vdb(&["--json", "add", "a.vdb", "three", "--id", "x", "--meta", "@meta.json"]);
    let mut lines = ran.lines();
    assert!(lines[1]["data"]["seconds"].take().is_number());
    let sum = json!({
        "added": 0, "updated": 1, "skipped": 0, "parts": 1, "truncated": 0, "duplicates": [], "seconds": Value::Null,
    });
    assert_eq!(pairs(&lines), [("added", &json!({"id": "x", "parts": 1})), ("summary", &sum)]);
    let ran = scene.fed(&["add", "a.vdb", "four", "--id", "x", "--meta", "@-"], r#"{"from": "stdin"}"#);
    assert_eq!(ran.exit, Some(0));
    let ran = scene.vdb(&["get", "a.vdb", "x"]);
    assert_eq!(ran.picture(), "out| x  {\"from\":\"stdin\"}\nout|   four\nexit 0");

    // Without an id a document gets a fresh one.
    let lines = scene.vdb(&["--json", "add", "a.vdb", "five"]).lines();
    let id = lines[0]["data"]["id"].as_str().unwrap();
    assert_eq!(scene.vdb(&["get", "a.vdb", id]).stdout, format!("{id}\n  five\n"));
}

#[test]
fn adding_documents_of_several_parts_and_one_id_twice() {
    let scene = Scene::new();
    let input = r#"{"id": "a", "text": "one two", "parts": [{"span": [0, 3], "vector": [1, 0]}, {"span": [4, 7], "vector": [0, 1]}]}
{"id": "b", "text": "first", "vector": [1, 1]}
{"id": "b", "text": "last", "vector": [1, 2]}"#;
    let ran = scene.fed(&["add", "a.vdb", "-", "--json", "--quiet", "--model", "none"], input);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let lines = ran.lines();
    let added = [json!({"id": "a", "parts": 2}), json!({"id": "b", "parts": 1})];
    assert_eq!(pairs(&lines)[..2], [("added", &added[0]), ("added", &added[1])]);
    assert_eq!((&lines[2]["data"]["added"], lines.len()), (&json!(2), 3));
    assert_eq!(scene.vdb(&["get", "a.vdb", "b"]).stdout, "b\n  last\n");
}

#[test]
fn a_store_is_made_only_where_that_is_wanted() {
    let scene = three();
    let ran = scene.vdb(&["add", "b.vdb", "x", "--no-create"]);
    assert_eq!(
        ran.picture(),
        "err| vdb: file \"b.vdb\" does not exist\nerr| hint: `vdb create b.vdb` makes it\nexit 1"
    );
    for (flags, said) in [
        (["--metric", "l2"], "--metric is not valid: the store is there already and has cosine, not l2"),
        (["--dim", "3"], "--dim is not valid: the store is there already and has 2, not 3"),
    ] {
        let ran = scene.vdb(&["add", "a.vdb", "x", flags[0], flags[1]]);
        assert_eq!(ran.picture(), format!("err| vdb: {said}\nexit 1"));
    }
    assert_eq!(scene.vdb(&["add", "a.vdb", "x", "--metric", "cosine", "--dim", "2"]).exit, Some(0));
    let ran = scene.vdb(&["--json", "add", "new.vdb", "x", "--model", "mini"]);
    assert_eq!((ran.error()["code"].clone(), ran.exit), (json!("unavailable"), Some(1)));
    let ran = scene.fed(&["add", "new.vdb", "-"], "{\"id\": 1}\n");
    assert_eq!(ran.exit, Some(1));
    assert!(!scene.path("new.vdb").exists() && !scene.path("b.vdb").exists());
}

#[test]
fn getting() {
    let scene = three();
    let ran = scene.vdb(&["get", "a.vdb", "c", "a"]);
    assert_eq!(
        ran.picture(),
        "out| c  {\"year\":2019,\"source\":\"doc_1\"}\nout| a  {\"id\":2.50,\"source\":\"doc_1\"}\nout|   Seoul\nexit 0"
    );
    let ran = scene.fed(&["get", "a.vdb", "-", "--json", "--with-vector"], "a\n\nnope\r\n7\n");
    let wanted = r#"{"type":"document","data":{"id":"a","text":"Seoul","metadata":{"id":2.50,"source":"doc_1"},"vector":[1.0,0.0]}}
{"type":"missing","data":{"id":"nope"}}
{"type":"document","data":{"id":"7","text":"Busan","metadata":{"year":2021},"vector":[0.6,0.8]}}
"#;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.exit), (wanted, "", Some(0)));
    assert_eq!(scene.vdb(&["get", "a.vdb", "nope"]).picture(), "err| no document \"nope\"\nexit 0");
    assert_eq!(scene.vdb(&["get", "a.vdb", "nope", "--strict"]).exit, Some(1));
    assert_eq!(scene.vdb(&["get", "a.vdb", "a", "--strict"]).exit, Some(0));
    assert_eq!(scene.vdb(&["get", "a.vdb"]).exit, Some(2));
}

#[test]
fn listing() {
    let scene = three();
    let ran = scene.vdb(&["list", "a.vdb", "--limit", "2"]);
    assert_eq!(
        ran.picture(),
        "out| a  Seoul  {\"id\":2.50,\"source\":\"doc_1\"}\nout| 7  Busan  {\"year\":2021}\n\
         err| there are more: --after 2\nexit 0"
    );
    let (mut ids, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let lines = scene.vdb(&["list", "a.vdb", "--json", "--limit", "1", "--after", &cursor]).lines();
        let [document, next] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((&document["type"], &next["type"]), (&json!("document"), &json!("next")));
        ids.push(document["data"]["id"].as_str().unwrap().to_owned());
        let Some(next) = next["data"]["cursor"].as_str() else { break };
        next.clone_into(&mut cursor);
    }
    assert_eq!(ids, ["a", "7", "c"]);
    let words = ["list", "a.vdb", "--json", "--where", "source=doc_1", "--filter", r#"{"year": 2019}"#];
    let lines = scene.vdb(&[&words[..], &["--with-vector"]].concat()).lines();
    let document = json!(
        {"id": "c", "text": null, "metadata": {"year": 2019, "source": "doc_1"}, "vector": [0.0, 1.0]}
    );
    assert_eq!(pairs(&lines), [("document", &document), ("next", &json!({"cursor": null}))]);
    assert_eq!(scene.vdb(&["list", "a.vdb", "--after", "x"]).exit, Some(2));
}

#[test]
fn counting() {
    let scene = three();
    assert_eq!(scene.vdb(&["count", "a.vdb"]).picture(), "out| 3\nexit 0");
    for (condition, count) in [
        ("source=doc_1", 2),
        ("year>=2020", 1),
        ("year<2020", 1),
        ("year!=2021", 2),
        ("id=2.5", 1),
        ("id=\"2.5\"", 0),
        ("$id=c", 1),
        ("$id=\"7\"", 1),
    ] {
        let lines = scene.vdb(&["count", "a.vdb", "--json", "--where", condition]).lines();
        assert_eq!(pairs(&lines), [("count", &json!({"count": count}))], "{condition}");
    }
    std::fs::write(scene.path("filter.json"), r#"{"source": "doc_1"}"#).unwrap();
    let ran = scene.vdb(&["count", "a.vdb", "--filter", "@filter.json", "--where", "year>0"]);
    assert_eq!(ran.picture(), "out| 1\nexit 0");
    assert_eq!(scene.fed(&["count", "a.vdb", "--filter", "@-"], "{}").stdout, "3\n");
}

#[test]
fn updating_one() {
    let scene = three();
    let ran = scene.vdb(&["update", "a.vdb", "a", "--meta", r#"{"id": null, "new": [1, 2.0]}"#]);
    assert_eq!(ran.picture(), "out| a  {\"source\":\"doc_1\",\"new\":[1,2.0]}\nout|   Seoul\nexit 0");
    let ran = scene.vdb(&["update", "a.vdb", "a", "--replace-meta", r#"{"n": 1.10}"#, "--json"]);
    let wanted =
        "{\"type\":\"document\",\"data\":{\"id\":\"a\",\"text\":\"Seoul\",\"metadata\":{\"n\":1.10}}}\n";
    assert_eq!((ran.stdout.as_str(), ran.exit), (wanted, Some(0)));
    // Its vector is still there, and would be lost with the text it belongs to.
    let document = Store::open(scene.path("a.vdb")).unwrap().snapshot().unwrap().get_with_vectors("a");
    assert_eq!(document.unwrap().unwrap().parts()[0].vector, Some(vec![1.0, 0.0]));
    let error = scene.vdb(&["update", "a.vdb", "a", "--text", "Jeju", "--json"]).error();
    assert_eq!(error["code"], "unavailable");
    assert_eq!(scene.vdb(&["add", "a.vdb", "draft", "--id", "d"]).exit, Some(0));
    let ran = scene.vdb(&["update", "a.vdb", "d", "--text", "final", "--meta", r#"{"v": 2}"#]);
    assert_eq!(ran.picture(), "out| d  {\"v\":2}\nout|   final\nexit 0");
    let ran = scene.vdb(&["update", "a.vdb", "nope", "--meta", "{}"]);
    assert_eq!(ran.picture(), "err| vdb: document \"nope\" does not exist\nexit 1");
    assert_eq!(scene.vdb(&["update", "a.vdb", "d", "--text", ""]).exit, Some(1));
}

#[test]
fn updating_those_that_match() {
    let scene = three();
    let ran = scene.vdb(&["update", "a.vdb", "--where", "source=doc_1", "--meta", r#"{"seen": true}"#]);
    assert_eq!(ran.picture(), "out| updated 2 documents\nexit 0");
    let words = ["update", "a.vdb", "--filter", r#"{"seen": true}"#, "--replace-meta", "{}", "--json"];
    assert_eq!(pairs(&scene.vdb(&words).lines()), [("summary", &json!({"updated": 2}))]);
    assert_eq!(scene.vdb(&["count", "a.vdb", "--where", "seen=true"]).stdout, "0\n");
    for words in [
        &["a"][..],
        &["--meta", "{}"],
        &["a", "--where", "x=1", "--meta", "{}"],
        &["--where", "x=1", "--text", "new"],
        &["a", "--meta", "{}", "--replace-meta", "{}"],
    ] {
        let ran = scene.vdb(&[&["update", "a.vdb"], words].concat());
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(2)), "{words:?}");
    }
}

#[test]
fn deleting() {
    let scene = three();
    let ran = scene.vdb(&["delete", "a.vdb", "a", "nope", "--dry-run"]);
    assert_eq!(ran.picture(), "out| would delete 1 document\nout| no document \"nope\"\nexit 0");
    let ran = scene.vdb(&["delete", "a.vdb", "--where", "year>0", "--dry-run", "--json"]);
    let sum = |deleted: u64, missing: &[&str], dry: bool| json!({"deleted": deleted, "missing": missing, "dry_run": dry});
    assert_eq!(pairs(&ran.lines()), [("summary", &sum(2, &[], true))]);
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "3\n");

    let ran = scene.fed(&["delete", "a.vdb", "-", "--json", "--strict"], "z\na\nb\na\n");
    assert_eq!(pairs(&ran.lines()), [("summary", &sum(1, &["z", "b"], false))]);
    assert_eq!(ran.exit, Some(1));
    let ran = scene.vdb(&["delete", "a.vdb", "--filter", r#"{"year": 2021}"#]);
    assert_eq!(ran.picture(), "out| deleted 1 document\nexit 0");
    let ran = scene.vdb(&["delete", "a.vdb", "--all", "--filter", "{}"]);
    assert_eq!(ran.picture(), "out| deleted 1 document\nexit 0");
    assert_eq!(scene.vdb(&["delete", "a.vdb", "--all"]).picture(), "out| deleted 0 documents\nexit 0");
}

#[test]
fn nothing_is_deleted_by_mistake() {
    let scene = three();
    for (words, said) in [
        (&[][..], "nothing says what to delete\nerr| hint: give ids, --filter, --where, or --all"),
        (&["--filter", "{}"], "an empty filter matches every document\nerr| hint: `--all` deletes them all"),
        (&["--all", "--where", "year=2021"], "both --all and a filter are given"),
        (&["a", "--all"], "ids are given, and --all or a filter too"),
        (&["a", "--where", "year=2021"], "ids are given, and --all or a filter too"),
    ] {
        let ran = scene.vdb(&[&["delete", "a.vdb"], words].concat());
        assert_eq!(ran.picture(), format!("err| vdb: {said}\nexit 2"));
    }
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "3\n");
}

#[test]
fn a_text_cannot_command_the_terminal() {
    let scene = Scene::new();
    let store = OpenOptions::new().create(scene.path("a.vdb")).unwrap();
    store.add([Document::new("red \x1b[31m\nalert \x07").id("\x1b]0;x")]).unwrap();
    store.close().unwrap();
    for words in [["list", "a.vdb"], ["get", "a.vdb"]] {
        let id = if words[0] == "get" { vec!["\x1b]0;x"] } else { vec![] };
        let ran = scene.vdb(&[&words[..], &id, &["--color", "always"]].concat());
        let plain = ran.stdout.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert!(!plain.contains(['\x1b', '\x07']), "{plain:?}");
        assert!(plain.contains("alert"), "{plain:?}");
    }
}

#[test]
fn shells_learn_the_commands() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = scene.vdb(&["completions", shell]);
        assert!(ran.stdout.contains("search") && ran.stdout.contains("min-score"), "{shell}");
        assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    }
    assert_eq!(scene.vdb(&["completions", "bash", "--json"]).lines()[0]["data"]["shell"], "bash");
    assert_eq!(scene.vdb(&["completions", "csh"]).exit, Some(2));
}
