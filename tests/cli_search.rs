//! `vdb search` from outside.

use serde_json::{Value, json};
use vdb::Store;

use crate::scene::{Ran, Scene};

const CITIES: &str = r#"{"id": "a", "text": "서울 Seoul", "metadata": {"id": 2.50, "source": "doc_1"}, "parts": [{"span": [0, 2], "vector": [0, 1]}, {"span": [3, 8], "vector": [1, 0]}]}
{"id": "b", "text": "Busan", "metadata": {"year": 2021, "id": 2}, "vector": [0.6, 0.8]}
{"id": "c", "vector": [0, -1]}
"#;

fn cities(flags: &[&str]) -> Scene {
    let scene = Scene::new();
    assert_eq!(
        scene.fed(&[&["add", "a.vdb", "-", "--quiet", "--model", "none"], flags].concat(), CITIES).exit,
        Some(0)
    );
    scene
}

/// The ids of hits.
fn ids(ran: &Ran) -> Vec<String> {
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let hits = ran.lines().into_iter().filter(|line| line["type"] == "hit");
    hits.map(|hit| hit["data"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn hits_for_people() {
    let scene = cities(&[]);
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "-k", "2"]);
    assert_eq!(
        ran.picture(),
        "out|   1  1.0000  a\nout|      Seoul\nout|      {\"id\":2.50,\"source\":\"doc_1\"}\n\
         out|   2  0.6000  b\nout|      Busan\nout|      {\"year\":2021,\"id\":2}\nexit 0"
    );
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "--where", "year=1"]);
    assert_eq!(ran.picture(), "err| nothing found\nexit 0");
    assert_eq!(
        scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "--where", "x=1", "--strict"]).exit,
        Some(1)
    );
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "-k", "1", "--color", "always"]);
    assert!(ran.stdout.contains("\x1b[1ma\x1b[0m"), "{:?}", ran.stdout);
    assert!(ran.stdout.contains("\x1b[2m{"), "{:?}", ran.stdout);
}

#[test]
fn hits_as_json_are_verbatim() {
    let scene = cities(&["--metric", "l2"]);
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "--json"]);
    let wanted = [
        r#"{"type":"hit","data":{"rank":1,"id":"a","score":0.0,"distance":0.0,"text":"서울 Seoul","metadata":{"id":2.50,"source":"doc_1"},"parts":{"vector":0.0,"text":null},"span":[3,8],"highlights":null}}"#,
        r#"{"type":"hit","data":{"rank":2,"id":"b","score":-0.8,"distance":0.8,"text":"Busan","metadata":{"year":2021,"id":2},"parts":{"vector":-0.8,"text":null},"span":[0,5],"highlights":null}}"#,
        r#"{"type":"hit","data":{"rank":3,"id":"c","score":-2.0,"distance":2.0,"text":null,"metadata":{},"parts":{"vector":-2.0,"text":null},"span":null,"highlights":null}}"#,
    ];
    let found: Vec<&str> = ran.stdout.lines().collect();
    for (found, wanted) in found.iter().zip(wanted) {
        // The last digits of a sum are the machine's own.
        let tidy = found.replace("0.80000001", "0.8").replace("0.79999995", "0.8").replace("-0.0", "0.0");
        assert_eq!(tidy, wanted);
    }
    assert_eq!((found.len(), ran.exit), (3, Some(0)));
}

#[test]
fn filters_thresholds_and_neighbours() {
    let scene = cities(&[]);
    let search = |words: &[&str]| ids(&scene.vdb(&[&["--json", "search", "a.vdb"], words].concat()));
    assert_eq!(search(&["--vector", "[1,0]"]), ["a", "b", "c"]);
    assert_eq!(search(&["--vector", "[1,0]", "--where", "source=doc_1"]), ["a"]);
    assert_eq!(search(&["--vector", "[1,0]", "--filter", r#"{"id": 2}"#]), ["b"]);
    assert_eq!(search(&["--vector", "[1,0]", "--filter", r#"{"$id": "c"}"#]), ["c"]);
    assert_eq!(search(&["--vector", "[1,0]", "--min-score", "0.5"]), ["a", "b"]);
    assert_eq!(search(&["--vector", "[0,1]", "--min-score", "-0.5", "--mode", "vector"]), ["a", "b"]);
    assert_eq!(search(&["--like", "b"]), ["a", "c"]);
    assert_eq!(search(&["--vector", "[1,0]", "-k", "1", "--exact", "--recall", "0.9"]), ["a"]);
    assert_eq!(search(&["--vector", "[1,0]", "-k", "18446744073709551615"]).len(), 3);
    std::fs::write(scene.path("v.json"), "[0,\n -1]").unwrap();
    assert_eq!(search(&["--vector", "@v.json", "-k", "1"]), ["c"]);
    assert_eq!(ids(&scene.fed(&["--json", "search", "a.vdb", "--vector", "@-", "-k1"], "[0, -1]")), ["c"]);
}

#[test]
fn nothing_is_found_when_nothing_is_wanted() {
    let scene = cities(&[]);
    let none = |words: &[&str]| {
        let ran = scene.vdb(&[&["search", "a.vdb", "-k", "0"], words].concat());
        assert_eq!(ran.picture(), "err| nothing found\nexit 0", "{words:?}");
        let ran = scene.vdb(&[&["search", "a.vdb", "-k", "0", "--json"], words].concat());
        assert_eq!(ran.lines(), <[Value; 0]>::default(), "{words:?}");
        assert_eq!(ran.exit, Some(0), "{words:?}");
        let ran = scene.vdb(&[&["search", "a.vdb", "-k", "0", "--strict"], words].concat());
        assert_eq!(ran.exit, Some(1), "{words:?}");
    };
    none(&["--vector", "[1,0]"]);
    none(&["--vector", "[1,0]", "--exact"]);
    none(&["--vector", "[1,0]", "--where", "year=2021"]);
    none(&["--vector", "[1,0]", "--mmr"]);
    none(&["--vector", "[1,0]", "--mmr", "--lambda", "1", "--fetch-k", "3"]);
    none(&["--vector", "[1,0]", "--min-cosine", "0"]);
    none(&["--like", "a"]);
    none(&["Busan", "--mode", "text"]);
    let queries = r#"{"vector": [1, 0], "text": "Busan"}"#;
    std::fs::write(scene.path("queries.jsonl"), format!("{queries}\n{queries}\n")).unwrap();
    for flags in [&[][..], &["--mode", "hybrid"], &["--mode", "hybrid", "--mmr"], &["--mode", "text"]] {
        let words = ["search", "a.vdb", "--queries", "queries.jsonl", "-k", "0"];
        let ran = scene.vdb(&[&words, flags].concat());
        assert_eq!(ran.picture(), "err| nothing found\nerr| nothing found\nexit 0", "{flags:?}");
        let ran = scene.vdb(&[&words, flags, &["--json", "--explain"]].concat());
        let types: Vec<Value> = ran.lines().iter().map(|line| line["type"].clone()).collect();
        assert_eq!((types, ran.exit), (vec![json!("plan"); 2], Some(0)), "{flags:?}");
    }
}

#[test]
fn many_queries() {
    let scene = cities(&[]);
    let queries = "{\"id\": \"q\", \"vector\": [1, 0]}\n\n{\"vector\": [0, -1], \"text\": \"south\"}\n";
    let ran = scene.fed(&["search", "a.vdb", "--queries", "-", "-k", "1", "--json", "--explain"], queries);
    let named: Vec<(Value, Value, Value)> = ran
        .lines()
        .iter()
        .map(|line| (line["type"].clone(), line["data"]["query"].clone(), line["data"]["id"].clone()))
        .collect();
    let wanted = [
        (json!("plan"), json!("q"), Value::Null),
        (json!("hit"), json!("q"), json!("a")),
        (json!("plan"), json!("3"), Value::Null),
        (json!("hit"), json!("3"), json!("c")),
    ];
    assert_eq!(named, wanted);
    std::fs::write(scene.path("queries.jsonl"), queries).unwrap();
    let ran = scene.vdb(&["search", "a.vdb", "--queries", "queries.jsonl", "-k", "1"]);
    assert!(ran.stdout.starts_with("query q\n  1  1.0000  a\n"), "{}", ran.stdout);
    for (line, said) in [
        ("{\"id\": 1}", "it has neither a text nor a vector"),
        ("{\"vector\": [1, 0], \"k\": 3}", "unknown key \"k\""),
        ("{\"vector\": [1, 0], \"metadata\": {\"a\": 1}}", "the keys id, text, vector alone"),
        ("{\"text\": \" \"}", "its text is empty"),
        ("[1, 0]", "expected an object"),
    ] {
        let input = format!("{{\"id\": 1, \"vector\": [1, 0]}}\n{line}\n");
        let ran = scene.fed(&["search", "a.vdb", "--queries", "-", "--json"], input);
        let error = ran.error();
        assert_eq!((&error["code"], &error["line"], ran.exit), (&json!("invalid"), &json!(2), Some(1)));
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    }
}

#[test]
fn several_stores_as_one() {
    let scene = cities(&[]);
    let more = "{\"id\": \"d\", \"vector\": [0.9, 0.1]}\n{\"id\": \"e\", \"vector\": [0.1, 0.9]}\n";
    assert_eq!(scene.fed(&["add", "b.vdb", "-", "--model", "none"], more).exit, Some(0));
    let found = |words: &[&str]| -> Vec<(String, String, u64)> {
        let ran = scene.vdb(&[&["search", "a.vdb", "--with", "b.vdb", "--json", "-k", "3"], words].concat());
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = ran.lines();
        let data = lines.iter().map(|line| &line["data"]);
        data.map(|hit| (text(&hit["file"]), text(&hit["id"]), hit["rank"].as_u64().unwrap())).collect()
    };
    let hit = |file: &str, id: &str, rank| (file.to_owned(), id.to_owned(), rank);
    let wanted = [hit("a.vdb", "a", 1), hit("b.vdb", "d", 2), hit("a.vdb", "b", 3)];
    assert_eq!(found(&["--vector", "[1, 0]"]), wanted);
    let wanted = [hit("a.vdb", "a", 1), hit("a.vdb", "b", 2), hit("b.vdb", "e", 3)];
    assert_eq!(found(&["--like", "d"]), wanted);
    let lines = scene
        .vdb(&["search", "a.vdb", "--with", "b.vdb", "--vector", "[1,0]", "--explain", "--json"])
        .lines();
    assert_eq!((&lines[0]["type"], &lines[0]["data"]["candidates"]), (&json!("plan"), &json!(6)));

    assert_eq!(scene.vdb(&["create", "l2.vdb", "--metric", "l2", "--model", "none"]).exit, Some(0));
    assert_eq!(scene.vdb(&["create", "mine.vdb", "--dim", "2"]).exit, Some(0));
    for (other, code) in [("l2.vdb", "invalid"), ("mine.vdb", "model"), ("none.vdb", "not_found")] {
        let error = scene.vdb(&["search", "a.vdb", "--with", other, "--vector", "[1,0]", "--json"]).error();
        assert_eq!(error["code"], code);
    }
}

#[test]
fn plans() {
    let scene = cities(&[]);
    assert_eq!(scene.vdb(&["delete", "a.vdb", "c"]).exit, Some(0));
    let plan = |words: &[&str]| {
        let words = [&["search", "a.vdb", "--vector", "[1, 0]", "--explain", "--json"], words].concat();
        let mut lines = scene.vdb(&words).lines();
        assert_eq!(lines[0]["type"], "plan");
        lines[0]["data"].take()
    };
    let mut all = plan(&[]);
    let ms = all["ms"].take();
    assert!(
        ["target", "filter", "graph", "codes", "rescore", "scan", "text", "fetch"]
            .iter()
            .all(|step| ms[step].as_f64() >= Some(0.0)),
        "{ms}"
    );
    let wanted = json!({
        "mode": "vector", "path": "exact", "segments": 0, "allowed": 3, "candidates": 3, "rescored": 0,
        "recall_promised": 1.0, "ms": null, "filter_path": "none", "terms": null, "text": null, "fusion": null,
        "vector": {"found": 2, "best": 1.0, "least": 0.6},
    });
    let least = all["vector"]["least"].as_f64().unwrap();
    assert!((least - 0.6).abs() < 1e-6);
    all["vector"]["least"] = json!(0.6);
    assert_eq!(all, wanted);
    assert_eq!(plan(&["--where", "year=2021"])["allowed"], 1);
    assert_eq!(scene.vdb(&["compact", "a.vdb"]).exit, Some(0));
    let compacted = plan(&[]);
    assert_eq!((&compacted["segments"], &compacted["candidates"]), (&json!(1), &json!(3)));
    let ran = scene.vdb(&["search", "a.vdb", "--vector", "[1, 0]", "--explain", "-k", "1"]);
    assert!(
        ran.stdout.starts_with("plan: vector, exact, 1 segments and the tail, 3 vectors allowed, 3 compared"),
        "{}",
        ran.stdout
    );
}

#[test]
fn searching_needs_something_to_search_for() {
    let scene = cities(&[]);
    for (words, said) in [
        (&[][..], "<QUERY|--vector <JSON>|--like <ID>|--queries <FILE>>"),
        (&["x", "--vector", "[1,0]"], "cannot be used with"),
        (&["--vector", "[1,0]", "--like", "a"], "cannot be used with"),
        (&["--vectr", "[1,0]"], "'--vector'"),
        (&["x", "--mode", "hybrid", "--min-score", "0.5"], "or `--mode text`"),
        (&["x", "--lambda", "0.5"], "--mmr"),
        (&["x", "--mmr", "--lambda", "1.5"], "from 0 to 1"),
        (&["x", "--mmr", "--lambda", "NaN"], "from 0 to 1"),
        (&["x", "--text-weight=-0.1"], "from 0 to 1"),
        (&["x", "--min-cosine", "2"], "from -1 to 1"),
        (&["x", "--min-score", "0.5"], "needs `--mode vector`"),
        (&["--vector", "[1,0]", "--min-score", "NaN"], "`--min-score` is not a number"),
        (&["--vector", "[1,0]", "-k=-1"], "-k"),
        (&["--vector", "[1,0]", "--recall", "1.5"], "above 0 and up to 1"),
        (&["--vector", "[1,0]", "--where", "year"], "it has no operator"),
        (&["--vector", "[1,0]", "--where", "year==1"], "the operators are"),
        (&[" "], "the query is empty"),
    ] {
        let ran = scene.vdb(&[&["search", "a.vdb"], words].concat());
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(2)), "{words:?}");
    }
    let ran = scene.fed(&["search", "a.vdb", "--vector", "@-", "--filter", "@-"], "{}");
    assert_eq!(ran.picture(), "err| vdb: standard input is asked for twice\nexit 2");
    for (words, code) in [
        (&["--vector", "[1,0,0]"][..], "shape"),
        (&["hello", "--mode", "vector"], "unavailable"),
        (&["hello", "--mode", "hybrid"], "unavailable"),
        (&["hello", "--mmr"], "unavailable"),
        (&["--vector", "[1,0]", "--mode", "text"], "invalid"),
        (&["--vector", "[1,"], "invalid"),
        (&["--vector", "{}"], "invalid"),
        (&["--vector", "[1], \"id\": \"x\""], "invalid"),
        (&["--vector", "@none.json"], "io"),
        (&["--queries", "none.jsonl"], "io"),
        (&["--like", "nope"], "not_found"),
    ] {
        let ran = scene.vdb(&[&["search", "a.vdb", "--json"], words].concat());
        assert_eq!((&ran.error()["code"], ran.exit), (&json!(code), Some(1)), "{words:?}");
    }
}

#[test]
fn a_search_changes_nothing_and_an_empty_store_has_no_hits() {
    let scene = cities(&[]);
    let before = std::fs::read(scene.path("a.vdb")).unwrap();
    assert_eq!(scene.vdb(&["search", "a.vdb", "--vector", "[1,0]"]).exit, Some(0));
    assert!(before == std::fs::read(scene.path("a.vdb")).unwrap());
    Store::create(scene.path("new.vdb")).unwrap().close().unwrap();
    let ran = scene.vdb(&["search", "new.vdb", "--vector", "[1,0]", "--json"]);
    assert_eq!(ran.picture(), "exit 0");
}

#[test]
fn words_and_both() {
    let scene = cities(&[]);
    let search = |words: &[&str]| {
        let ran = scene.vdb(&[&["search", "a.vdb", "--json"], words].concat());
        assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)), "{words:?}");
        ran.lines().into_iter().map(|mut line| line["data"].take()).collect::<Vec<_>>()
    };
    // Without a model, words alone.
    let hits = search(&["울"]);
    assert_eq!((hits.len(), &hits[0]["id"]), (1, &json!("a")));
    assert_eq!((&hits[0]["distance"], &hits[0]["parts"]["vector"]), (&Value::Null, &Value::Null));
    assert_eq!(hits[0]["parts"]["text"], hits[0]["score"]);
    // In code points, in the part that was found.
    assert_eq!((&hits[0]["highlights"], &hits[0]["span"]), (&json!([[1, 2]]), &json!([0, 2])));
    assert!(search(&["?!"]).is_empty() && search(&["--", "-busan"]).len() == 1);
    assert_eq!(search(&["busan", "--mode", "text", "--min-score", "99"]).len(), 0);

    let input = "{\"id\": \"q\", \"text\": \"seoul -busan\", \"vector\": [0, 1]}\n";
    let ran = scene.fed(&["search", "a.vdb", "--queries", "-", "--explain", "--json"], input);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let lines = ran.lines();
    let plan = &lines[0]["data"];
    assert_eq!((&plan["mode"], &plan["terms"]), (&json!("hybrid"), &json!(["seoul"])));
    assert_eq!((&plan["allowed"], &plan["text"]["found"]), (&json!(3), &json!(1)));
    let (words, vectors) = (&plan["fusion"]["text_weight"], &plan["fusion"]["vector_weight"]);
    assert!((words.as_f64().unwrap() + vectors.as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert!(plan["fusion"]["reason"].as_str().unwrap().contains("not known"));
    let ids: Vec<&Value> = lines[1..].iter().map(|line| &line["data"]["id"]).collect();
    assert_eq!(ids, [&json!("a"), &json!("c")]);
    let shown = scene.fed(&["search", "a.vdb", "--queries", "-", "--explain"], input);
    assert!(shown.stdout.contains("plan: words seoul: 1 documents"), "{}", shown.stdout);
    assert!(shown.stdout.contains("plan: weighted fusion"), "{}", shown.stdout);

    let ran = scene.vdb(&["search", "a.vdb", "seoul", "--color", "always"]);
    assert!(ran.stdout.contains("\x1b[1mSeoul\x1b[0m") && ran.stdout.contains('\u{2588}'), "{}", ran.stdout);
    let ran = scene.vdb(&["search", "a.vdb", "seoul"]);
    assert!(!ran.stdout.contains(['\x1b', '\u{2588}']), "{}", ran.stdout);
    let diverse = search(&["--vector", "[1, 0]", "--mmr", "--lambda", "0", "-k", "2"]);
    assert_eq!((&diverse[0]["id"], &diverse[1]["id"]), (&json!("a"), &json!("c")));
    assert_eq!(search(&["--vector", "[1, 0]", "--min-cosine", "0.5"]).len(), 2);

    let scene = cities(&["--text", "off"]);
    let error = scene.vdb(&["search", "a.vdb", "hello", "--json"]).error();
    assert_eq!(error["code"], "unavailable");
    let error = scene.vdb(&["search", "a.vdb", "hello", "--mode", "text", "--json"]).error();
    assert!(error["message"].as_str().unwrap().contains("has no text index"), "{error}");
}

#[test]
fn what_is_no_text_is_refused_at_the_door() {
    use std::os::unix::ffi::OsStrExt as _;
    let scene = cities(&[]);
    let mut command = scene.command(&["search", "a.vdb"]);
    let lone = std::ffi::OsStr::from_bytes(b"\xed\xa0\x80");
    assert_eq!(Ran::of(command.arg(lone).output().unwrap()).exit, Some(2));
    let ran = scene.fed(&["search", "a.vdb", "--queries", "-", "--json"], "{\"text\": \"\\ud800\"}\n");
    assert_eq!((&ran.error()["code"], ran.exit), (&json!("invalid"), Some(1)));
}
