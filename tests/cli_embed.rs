//! Texts and models through the command line: the default model, how texts are cut, what is said when a model is not
//! here, is another one, or does not know the language.

use std::path::Path;

use serde_json::{Value, json};

use crate::embed::tiny;
use crate::scene::{Ran, Scene};

const QUESTION: &str = "딥러닝과 머신러닝의 차이점";

fn sample(name: &str) -> String {
    format!("{}/samples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The data of the last JSON line.
fn last(ran: &Ran) -> Value {
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.lines().last().unwrap()["data"].clone()
}

/// The messages of the warnings on stderr.
fn warnings(ran: &Ran) -> Vec<String> {
    let lines = ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warnings = lines.filter(|line| line["type"] == "warning");
    warnings.map(|line| line["data"]["message"].as_str().unwrap().to_owned()).collect()
}

/// The figures of the note that the project began with.
#[test]
fn five_korean_sentences_are_found_as_the_first_user_found_them() {
    let scene = Scene::new();
    for (file, metric) in [("cosine.vdb", None), ("l2.vdb", Some("l2"))] {
        let flags = metric.map_or_else(Vec::new, |metric| vec!["--metric", metric]);
        let korean = sample("korean.jsonl");
        let ran = scene.vdb(&[&["import", file, &korean, "--json"], flags.as_slice()].concat());
        assert_eq!(last(&ran)["added"], 5);
        let search = |words: &[&str]| -> Vec<Value> {
            let ran = scene.vdb(&[&["search", file, QUESTION, "--json"], words].concat());
            assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
            ran.lines().into_iter().map(|mut line| line["data"].take()).collect()
        };
        let ids = |hits: &[Value]| -> Vec<String> {
            hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
        };
        let hits = search(&["-k", "2"]);
        assert_eq!(ids(&hits), ["doc_2", "doc_1"]);
        for (hit, expected) in hits.iter().zip([0.5892, 0.4567]) {
            let found = 1.0 - hit["distance"].as_f64().unwrap();
            assert!((found - expected).abs() <= 0.0001, "{file}: {found}, expected {expected}");
        }
        assert_eq!(hits[0]["metadata"].to_string(), r#"{"id":2,"source":"doc_2"}"#);
        assert!(hits[0]["metadata"]["id"].is_u64());
        assert_eq!(ids(&search(&["--where", "source=doc_1"])), ["doc_1"]);
        assert_eq!(ids(&search(&["--filter", r#"{"id": 2}"#])), ["doc_2"]);
        assert_eq!(ids(&search(&["--filter", r#"{"$id": "doc_2"}"#])), ["doc_2"]);
        assert!(search(&["--filter", r#"{"$id": "2"}"#]).is_empty());
        assert!(search(&["--filter", r#"{"id": "doc_2"}"#]).is_empty());
    }
}

/// Some versions of the ONNX Runtime keep a device number and a database for their maker in the user's cache.
#[test]
fn embedding_leaves_nothing_in_the_home_directory() {
    let scene = Scene::new();
    let home = scene.path("home");
    std::fs::create_dir(&home).unwrap();
    let korean = sample("korean.jsonl");
    let mut command = scene.command(&["import", "a.vdb", &korean, "--json"]);
    command.env("HOME", &home).env_remove("XDG_CACHE_HOME");
    assert_eq!(last(&Ran::of(command.output().unwrap()))["added"], 5);
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
}

#[test]
fn a_language_that_the_model_does_not_know_is_said_once() {
    let scene = Scene::new();
    let ran = scene.vdb(&["import", "a.vdb", &sample("korean.jsonl"), "--json"]);
    let said = warnings(&ran);
    let [warning] = said.as_slice() else { panic!("{said:?}") };
    assert!(warning.starts_with("all-MiniLM-L6-v2 cuts these texts into 1."), "{warning}");
    assert!(warning.contains("`vdb model add NAME DIR|WHEEL`"), "{warning}");
    // Nothing is embedded the second time, and nothing is said.
    assert!(warnings(&scene.vdb(&["import", "a.vdb", &sample("korean.jsonl"), "--json"])).is_empty());
    let ran = scene.vdb(&["import", "b.vdb", &sample("korean.jsonl")]);
    assert_eq!(ran.stderr.matches("vdb: warning: all-MiniLM-L6-v2 cuts").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    std::fs::write(scene.path("c.jsonl"), "{\"text\": \"Seoul is the capital of Korea.\"}\n").unwrap();
    assert!(warnings(&scene.vdb(&["import", "c.vdb", "c.jsonl", "--json"])).is_empty());
}

/// Twenty tokens for the tiny model, which reads sixteen.
const LONG: &str = "a b c d e f g h i j a b c d e f g h i j";

#[test]
fn texts_are_cut_as_asked() {
    let (root, _) = tiny::models();
    tiny::write(root.path(), "tiny");
    let scene = Scene::new();
    let input =
        format!("{{\"id\": \"long\", \"text\": \"{LONG}\"}}\n{{\"id\": \"short\", \"text\": \"a b\"}}\n");
    std::fs::write(scene.path("a.jsonl"), input).unwrap();
    let every = |step: usize, count: usize| -> Vec<[usize; 2]> {
        (0..count).map(|n| [step * n, (step * n + 7).min(LONG.len())]).collect()
    };
    for (chunk, spans, truncated) in [
        ("auto", vec![[0, 31], [32, 39]], 0),
        ("off", vec![[0, 39]], 1),
        ("4", every(8, 5), 0),
        ("4,2", every(4, 9), 0),
        ("16,0", vec![[0, 31], [32, 39]], 0),
    ] {
        let file = format!("{chunk}.vdb");
        let words = ["import", &file, "a.jsonl", "--model", "tiny", "--chunk", chunk, "--json"];
        let summary = last(&scene.with_models(root.path(), &words));
        let counts = (&summary["parts"], &summary["truncated"], &summary["added"]);
        assert_eq!(counts, (&json!(spans.len() + 1), &json!(truncated), &json!(2)), "{chunk}");
        let lines = scene.vdb(&["get", &file, "long", "--with-vector", "--json"]).lines();
        let document = &lines[0]["data"];
        let found: Vec<Value> = document["parts"].as_array().map_or_else(
            || vec![json!([0, LONG.len()])],
            |parts| parts.iter().map(|part| part["span"].clone()).collect(),
        );
        assert_eq!(Value::from(found), json!(spans), "{chunk}");
    }
    // `add` cuts, too, and both say how many texts were cut off.
    let words = ["add", "off.vdb", LONG, "--id", "long", "--chunk", "off", "--json"];
    let summary = last(&scene.with_models(root.path(), &words));
    assert_eq!((&summary["parts"], &summary["truncated"]), (&json!(1), &json!(1)));
    let words = ["add", "off.vdb", LONG, "--id", "long", "--json"];
    assert_eq!(last(&scene.with_models(root.path(), &words))["parts"], 2);
    let words = ["import", "said.vdb", "a.jsonl", "--model", "tiny", "--chunk", "off"];
    let ran = scene.with_models(root.path(), &words);
    assert!(ran.stdout.contains("0 failed, 1 truncated in "), "{}", ran.stdout);
}

#[test]
fn parts_that_cannot_be_are_refused_before_a_store_is_made() {
    let (root, _) = tiny::models();
    tiny::write(root.path(), "tiny");
    let scene = Scene::new();
    std::fs::write(scene.path("a.jsonl"), "{\"text\": \"a b\"}\n").unwrap();
    for (chunk, said) in [
        ("17", "a part of 17 tokens with an overlap of 0 cannot be, expected 1 to 16 tokens"),
        ("4,4", "a part of 4 tokens with an overlap of 4 cannot be, expected 5 to 16 tokens"),
        ("0", "a part of 0 tokens"),
    ] {
        for command in [&["import", "a.vdb", "a.jsonl"][..], &["add", "a.vdb", "a b"]] {
            let words = [command, &["--model", "tiny", "--chunk", chunk]].concat();
            let ran = scene.with_models(root.path(), &words);
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
            assert_eq!((ran.stdout.as_str(), ran.exit), ("", Some(1)));
        }
    }
    for (words, said) in [
        (["--chunk", "some", "--model", "tiny"], "none of auto, off, TOKENS and TOKENS,OVERLAP"),
        (["--chunk", "off", "--model", "none"], "the store has none"),
    ] {
        let ran = scene.with_models(root.path(), &[&["import", "a.vdb", "a.jsonl"], &words[..]].concat());
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(ran.exit, Some(2));
    }
    assert!(!scene.path("a.vdb").exists());
}

#[test]
fn a_default_model_that_is_not_here_comes_with_its_command_and_nothing_is_made() {
    let scene = Scene::new();
    std::fs::write(scene.path("a.jsonl"), "{\"text\": \"a b\"}\n").unwrap();
    let remedy = format!("`make models VDB_MODELS={}`", scene.path("models").display());
    for words in [&["create", "a.vdb"][..], &["add", "a.vdb", "text"], &["import", "a.vdb", "a.jsonl"]] {
        let ran = scene.with_models(scene.path("models"), &[words, &["--json"]].concat());
        let error = ran.error();
        assert_eq!((&error["code"], ran.exit), (&json!("unavailable"), Some(1)));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("all-MiniLM-L6-v2 is not in") && message.contains(&remedy), "{message}");
    }
    assert!(!scene.path("a.vdb").exists());
    // Without a model nothing is missed.
    let ran = scene.with_models("nowhere", &["create", "a.vdb", "--model", "none"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
}

#[test]
fn a_store_is_read_without_its_model() {
    let scene = Scene::new();
    let ran = scene.vdb(&["add", "a.vdb", "Seoul is the capital of Korea.", "--id", "a", "--quiet"]);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)));
    let vector = json!(vec![0.5; 384]).to_string();
    for words in [
        &["stats", "a.vdb"][..],
        &["check", "a.vdb", "--deep"],
        &["list", "a.vdb"],
        &["get", "a.vdb", "a", "--with-vector"],
        &["count", "a.vdb", "--where", "$id=a"],
        &["search", "a.vdb", "--vector", &vector],
        &["search", "a.vdb", "--like", "a"],
        &["update", "a.vdb", "a", "--meta", "{\"n\": 1}"],
        &["compact", "a.vdb"],
    ] {
        let ran = scene.with_models("nowhere", &[words, &["--quiet"]].concat());
        assert_eq!((ran.stderr.as_str(), ran.exit), ("", Some(0)), "{words:?}");
    }
    // What has to be embedded is not stored without its vector.
    std::fs::write(scene.path("a.jsonl"), "{\"text\": \"a b\"}\n").unwrap();
    let ran = scene.with_models("nowhere", &["import", "a.vdb", "a.jsonl"]);
    assert!(ran.stderr.contains("`make models VDB_MODELS="), "{}", ran.stderr);
    assert_eq!(ran.exit, Some(1));
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "1\n");
}

#[test]
fn vectors_of_another_dimension_than_the_default_models_come_with_the_way_out() {
    let scene = Scene::new();
    let line = "{\"id\": \"a\", \"vector\": [1, 2, 3]}\n";
    std::fs::write(scene.path("a.jsonl"), line).unwrap();
    for ran in [
        scene.fed(&["add", "a.vdb", "-", "--json"], line),
        scene.vdb(&["import", "a.vdb", "a.jsonl", "--json"]),
    ] {
        let error = ran.error();
        assert_eq!((&error["code"], &error["line"], ran.exit), (&json!("shape"), &json!(1), Some(1)));
        assert_eq!((&error["expected"], &error["found"]), (&json!(384), &json!(3)));
        assert_eq!(error["hint"], "`--model none` or `--dim 3` makes a new store for such vectors");
    }
    assert!(!scene.path("a.vdb").exists());
    assert_eq!(scene.vdb(&["import", "a.vdb", "a.jsonl", "--dim", "3"]).exit, Some(0));
    assert_eq!(scene.vdb(&["import", "b.vdb", "a.jsonl", "--model", "none"]).exit, Some(0));
    assert_eq!(last(&scene.vdb(&["stats", "a.vdb", "--json"]))["model"]["name"], "external:unnamed");
    assert_eq!(last(&scene.vdb(&["stats", "b.vdb", "--json"]))["model"], Value::Null);
}

#[test]
fn no_empty_store_is_left_where_nothing_could_be_added() {
    let (root, _) = tiny::models();
    std::fs::remove_file(root.path().join("onnxruntime")).unwrap();
    tiny::write(root.path(), "tiny");
    let scene = Scene::new();
    let zero = "{\"vector\": [0, 0]}\n";
    std::fs::write(scene.path("zero.jsonl"), zero).unwrap();
    std::fs::write(scene.path("text.jsonl"), "{\"text\": \"a b\"}\n").unwrap();
    let ran = scene.vdb(&["import", "a.vdb", "zero.jsonl", "--model", "none", "--json"]);
    assert_eq!((&ran.error()["line"], ran.exit), (&json!(1), Some(1)));
    assert_eq!(scene.fed(&["add", "a.vdb", "-", "--model", "none"], zero).exit, Some(1));
    assert_eq!(scene.fed(&["add", "a.vdb", "-"], "{\"text\": \"\"}\n").exit, Some(1));
    // The runtime is missed at the first text, with whatever policy for documents at fault.
    for words in [
        &["add", "a.vdb", "a b"][..],
        &["import", "a.vdb", "text.jsonl"],
        &["import", "a.vdb", "text.jsonl", "--on-error", "skip"],
    ] {
        let mut command = scene.command(&[words, &["--model", "tiny", "--json"]].concat());
        let output =
            command.env("VDB_MODELS", root.path()).env("ORT_DYLIB_PATH", "none.so").output().unwrap();
        let line: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((&line["data"]["code"], output.status.code()), (&json!("unavailable"), Some(1)), "{line}");
    }
    assert!(!scene.path("a.vdb").exists());
    // Those who asked to go on get what there is, which is nothing.
    let words = ["import", "a.vdb", "zero.jsonl", "--model", "none", "--on-error", "skip", "--json"];
    assert_eq!(last(&scene.vdb(&words))["failed"], 1);
    assert!(scene.path("a.vdb").exists());
}

#[test]
fn another_model_than_the_stores_is_refused() {
    let (root, _) = tiny::models();
    let folder = tiny::write(root.path(), "tiny");
    tiny::write(root.path(), "other");
    let scene = Scene::new();
    let ran = scene.with_models(root.path(), &["add", "a.vdb", "a b", "--id", "a", "--model", "tiny"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    std::fs::write(scene.path("a.jsonl"), "{\"text\": \"a b\"}\n").unwrap();
    let asked = ["--model", "other", "--json"];
    for words in [&["add", "a.vdb", "c d"][..], &["import", "a.vdb", "a.jsonl"]] {
        let error = scene.with_models(root.path(), &[words, &asked].concat()).error();
        let wanted = (&json!("model"), &json!("tiny"), &json!("other"));
        assert_eq!((&error["code"], &error["expected"], &error["found"]), wanted);
    }
    // A model of the same name whose tokenizer is another one.
    let tokenizer = std::fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer + "\n").unwrap();
    for words in [
        &["add", "a.vdb", "c d"][..],
        &["import", "a.vdb", "a.jsonl"],
        &["search", "a.vdb", "a b"],
        &["update", "a.vdb", "a", "--text", "c d"],
    ] {
        let ran = scene.with_models(root.path(), &[words, &["--json"]].concat());
        let error = ran.error();
        assert_eq!((&error["code"], ran.exit), (&json!("model"), Some(1)), "{words:?}: {error}");
        assert!(
            error["expected"] != error["found"] && error["found"].as_str().unwrap().starts_with("tiny (")
        );
    }
    assert_eq!(scene.vdb(&["search", "a.vdb", "--like", "a"]).exit, Some(0));
}

/// What makes a model folder unusable.
type Spoil = fn(&Path);

#[test]
fn a_model_folder_with_parts_that_are_missing_or_do_not_fit() {
    let (root, _) = tiny::models();
    let scene = Scene::new();
    let cases: [(Spoil, &[&str]); 2] = [
        (
            |folder| {
                for file in ["tokenizer.json", "model.safetensors"] {
                    std::fs::remove_file(folder.join(file)).unwrap();
                }
            },
            &["tokenizer.json is missing", "model.safetensors or model.onnx is missing"],
        ),
        (
            |folder| {
                let mut config = tiny::config();
                config["num_hidden_layers"] = json!(3);
                tiny::put(folder, "config.json", &config);
            },
            &["encoder.layer.2"],
        ),
    ];
    for (n, (spoil, said)) in cases.into_iter().enumerate() {
        let name = format!("spoiled{n}");
        let folder = tiny::write(root.path(), &name);
        spoil(&folder);
        let outside = folder.to_string_lossy();
        for words in [
            &["create", "a.vdb", "--model", &name][..],
            &["add", "a.vdb", "a b", "--model", &name],
            &["model", "add", "copy", &outside],
        ] {
            let ran = scene.with_models(root.path(), &[words, &["--json"]].concat());
            let error = ran.error();
            assert_eq!((&error["code"], ran.exit), (&json!("invalid"), Some(1)), "{words:?}");
            let message = error["message"].as_str().unwrap();
            // What is no model at all is not looked at any closer when it is to be added.
            let said = if words[0] == "model" { &said[said.len() - 1..] } else { said };
            assert!(said.iter().all(|said| message.contains(said)), "{message}");
        }
        let listed = scene.with_models(root.path(), &["model", "list", "--json"]).lines();
        let found = listed.iter().find(|model| model["data"]["name"] == name.as_str()).unwrap();
        assert!(found["data"]["problem"].as_str().unwrap().contains(said[0]), "{found}");
    }
    assert!(!scene.path("a.vdb").exists() && !root.path().join("copy").exists());
}

#[test]
fn a_model_that_nobody_knows_is_added_with_a_command() {
    let scene = Scene::new();
    scene.with_model_mini("a.vdb");
    let error = scene.vdb(&["search", "a.vdb", "text", "--json"]).error();
    assert_eq!(error["code"], "unavailable");
    assert!(error["message"].as_str().unwrap().contains("`vdb model add mini DIR|WHEEL` adds it"), "{error}");
}

#[test]
fn a_model_that_the_budget_has_no_room_for_is_not_loaded() {
    let scene = Scene::new();
    let added = scene.vdb(&["add", "a.vdb", "the cat sleeps", "rain", "--id", "a", "--id", "b", "--quiet"]);
    assert_eq!(added.exit, Some(0), "{}", added.stderr);
    std::fs::write(scene.path("a.jsonl"), "{\"id\": \"c\", \"text\": \"new\"}\n").unwrap();
    let small = ["--memory", "64MiB", "--json", "--quiet"];
    for words in [
        &["search", "a.vdb", "a kitten"][..],
        &["add", "a.vdb", "new"],
        &["import", "a.vdb", "a.jsonl"],
        &["update", "a.vdb", "a", "--text", "new"],
        &["add", "new.vdb", "new"],
    ] {
        // It would fail otherwise if it were loaded first.
        for runtime in [None, Some("none.so")] {
            let mut command = scene.command(&[words, &small].concat());
            command.envs(runtime.map(|path| ("ORT_DYLIB_PATH", path)));
            let ran = Ran::of(command.output().unwrap());
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            let error = &error["data"];
            assert_eq!((&error["code"], ran.exit), (&json!("memory"), Some(1)), "{words:?}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with("the embedding model all-MiniLM-L6-v2 needs "), "{message}");
            let bytes = ["expected", "found"].map(|name| error[name].as_u64().unwrap());
            assert!(bytes[0] > bytes[1] && bytes[0] < 256 << 20, "{error}");
        }
    }
    assert!(!scene.path("new.vdb").exists());
    // What needs no model works.
    for words in [&["search", "a.vdb", "--like", "a"][..], &["search", "a.vdb", "cat", "--mode", "text"]] {
        let ran = scene.vdb(&[words, &small, &["--strict"]].concat());
        assert_eq!(ran.exit, Some(0), "{words:?}: {}", ran.stderr);
    }
    let found = scene.vdb(&["search", "a.vdb", "a kitten", "--memory", "192MiB", "--json"]).lines();
    assert_eq!(found[0]["data"]["id"], "a");
    assert_eq!(scene.vdb(&["count", "a.vdb"]).stdout, "2\n");
}
