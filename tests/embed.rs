//! Embedding with the real models: figures, independence, splitting, stores.

mod folders;
pub(crate) mod tiny;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use vdb::embed::{Chunking, DEFAULT_MODEL, LoadOptions, LocalModel, Models, SHREDDED_TOKENS_PER_CHAR};
use vdb::{Document, Embedder, Error, Filter, Metric, Mode, OpenOptions, Query};

const KOREAN: &str =
    "문서를 작은 조각으로 나누어 저장하면 검색이 더 정확해진다. 조각마다 벡터 하나를 계산한다. ";
const ENGLISH: &str =
    "A document is cut into parts before it is stored. Every part has a vector of its own. ";

/// The models of this machine.
fn models() -> Models {
    let root = std::env::var_os("VDB_MODELS").map(PathBuf::from);
    Models::at(root.expect("VDB_MODELS is not set: run `make test`"))
}

fn load(name: &str) -> LocalModel {
    LoadOptions::new().threads(2).load(&models(), name).unwrap()
}

/// The texts of the reference, and the vectors that were computed for them in 64-bit floats.
fn reference() -> Vec<(String, Vec<f32>)> {
    let json: Value = serde_json::from_str(include_str!("fixtures/embed/reference.json")).unwrap();
    let cases = json["texts"].as_array().unwrap();
    let vector = |case: &Value| serde_json::from_value(case["vector"].clone()).unwrap();
    cases.iter().map(|case| (case["text"].as_str().unwrap().to_owned(), vector(case))).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The largest difference between two vectors in any value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Whether a model leaves a text in one part.
fn is_whole(model: &LocalModel, text: &str) -> bool {
    model.split(text).into_iter().eq([(0, text.len())].map(|(start, end)| start..end))
}

#[test]
fn vectors_are_those_of_the_reference() {
    let reference = reference();
    let texts: Vec<&str> = reference.iter().map(|(text, _)| text.as_str()).collect();
    let model = load(DEFAULT_MODEL);
    let found = model.embed(&texts).unwrap();
    assert_eq!(found.truncated, 1);
    for ((text, expected), found) in reference.iter().zip(found.vectors.chunks_exact(384)) {
        assert!(difference(expected, found) < 2e-6, "{text:?}: {}", difference(expected, found));
    }
    let identity = model.identity();
    assert_eq!(
        (identity.name.as_str(), identity.dim, identity.pooling.as_str()),
        (DEFAULT_MODEL, 384, "mean")
    );
    assert!(identity.normalised);
    assert!(identity.weights_sha256.starts_with("53aa5117"));
    assert!(identity.tokenizer_sha256.starts_with("be50c362"));
    assert_eq!(model.tokens_max(), 256);
}

#[test]
fn a_model_loaded_late_is_the_same() {
    let now = load(DEFAULT_MODEL);
    let late = LoadOptions::new().threads(2).lazy().load(&models(), DEFAULT_MODEL).unwrap();
    assert_eq!(late.identity(), now.identity());
    let texts = vec![ENGLISH; 20];
    assert_eq!(late.embed(&texts).unwrap(), now.embed(&texts).unwrap());
}

#[test]
fn a_vector_does_not_depend_on_its_neighbours() {
    let texts: Vec<String> = (0..40)
        .map(|n| match n % 4 {
            0 => ENGLISH.repeat(n / 4 + 1),
            1 => KOREAN.repeat(n / 8 + 1),
            2 => format!("word {n}"),
            _ => String::new(),
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for name in [DEFAULT_MODEL, "all-MiniLM-L6-v2-int8"] {
        let model = load(name);
        let alone = LoadOptions::new().threads(1).load(&models(), name).unwrap();
        let together = model.embed(&texts).unwrap();
        for (text, found) in texts.iter().zip(together.vectors.chunks_exact(384)) {
            let expected = alone.embed(&[text]).unwrap().vectors;
            assert!(difference(&expected, found) <= 1e-6, "{name}: {text:?}");
        }
    }
}

#[test]
fn other_models_work() {
    let reference = reference();
    let texts: Vec<&str> = reference[..4].iter().map(|(text, _)| text.as_str()).collect();
    let int8 = load("all-MiniLM-L6-v2-int8").embed(&texts).unwrap().vectors;
    for ((text, expected), found) in reference.iter().zip(int8.chunks_exact(384)) {
        assert!(dot(expected, found) > 0.97, "{text:?}: {}", dot(expected, found));
    }
    let small = load("paraphrase-MiniLM-L3-v2");
    assert_eq!((small.identity().dim, small.tokens_max()), (384, 128));
    let texts = ["A man is eating food.", "A man is eating a meal.", "The stock market fell today."];
    let vectors = small.embed(&texts).unwrap().vectors;
    let vector = |n: usize| &vectors[384 * n..384 * (n + 1)];
    assert!(dot(vector(0), vector(1)) > 0.7 && dot(vector(0), vector(2)) < 0.3);
    assert!((dot(vector(0), vector(0)) - 1.0).abs() < 1e-5);
}

#[test]
fn stores_rank_texts_as_the_reference_does_under_cosine_and_l2() {
    let reference = reference();
    let (query, vector) = &reference[2];
    let mut expected: Vec<(String, f32)> = reference
        .iter()
        .enumerate()
        .filter(|(_, (text, _))| !text.is_empty() && text != query)
        .map(|(n, (_, other))| (format!("doc_{n}"), 2.0 * dot(vector, other) - 1.0))
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1));
    let options = LoadOptions::new().threads(2).chunking(Chunking::Off);
    let model = Arc::new(options.load(&models(), DEFAULT_MODEL).unwrap());
    for metric in [Metric::Cosine, Metric::L2] {
        let store = OpenOptions::new().metric(metric).embedder(model.clone()).in_memory().unwrap();
        let documents =
            reference.iter().enumerate().filter(|(_, (text, _))| !text.is_empty() && text != query);
        let documents = documents.map(|(n, (text, _))| {
            let metadata = format!(r#"{{"id": {n}, "source": "doc_{n}"}}"#);
            Document::new(text.clone()).id(format!("doc_{n}")).metadata_json(&metadata).unwrap()
        });
        let report = store.add(documents).unwrap();
        assert_eq!(report.truncated, 1);
        let hits = store.search(&Query::text(query.as_str()).mode(Mode::Vector).k(2)).unwrap();
        assert_eq!(hits.len(), 2);
        for (hit, (id, similarity)) in hits.iter().zip(&expected) {
            assert_eq!(hit.id, *id, "{metric}");
            let found = 1.0 - metric.distance(hit.score);
            assert!((found - similarity).abs() < 1e-4, "{metric} {id}: {found}, expected {similarity}");
        }
        let only = Filter::from_json(r#"{"source": "doc_1"}"#).unwrap();
        let hits = store.search(&Query::text(query.as_str()).mode(Mode::Vector).k(5).filter(only)).unwrap();
        assert_eq!(hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["doc_1"]);
    }
}

#[test]
fn a_store_refuses_another_model_and_names_both() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.vdb");
    let first = Arc::new(load(DEFAULT_MODEL));
    drop(OpenOptions::new().embedder(first).create(&path).unwrap());
    let other = Arc::new(load("paraphrase-MiniLM-L3-v2"));
    let error = OpenOptions::new().embedder(other).open(&path).unwrap_err();
    let Error::Model { expected, found } = &error else { panic!("{error}") };
    assert!(expected.starts_with("all-MiniLM-L6-v2 (384 dimensions, mean pooling"), "{expected}");
    assert!(found.starts_with("paraphrase-MiniLM-L3-v2 (384"), "{found}");
}

#[test]
fn long_texts_are_split_into_parts_that_are_read_whole() {
    let model = load(DEFAULT_MODEL);
    for text in [ENGLISH.repeat(100), KOREAN.repeat(40), "0123456789,".repeat(500), "한 글 ".repeat(900)] {
        let spans = model.split(&text);
        assert!(spans.len() > 3, "{}", spans.len());
        let parts: Vec<&str> = spans.iter().map(|span| &text[span.clone()]).collect();
        assert!(
            spans.windows(2).all(|pair| pair[0].end <= pair[1].start),
            "parts overlap or are out of order"
        );
        let kept: String = parts.concat().split_whitespace().collect();
        assert_eq!(kept, text.split_whitespace().collect::<String>(), "something is lost");
        assert_eq!(model.embed(&parts).unwrap().truncated, 0);
    }
    let sentences = ENGLISH.repeat(100);
    for span in model.split(&sentences) {
        assert!(sentences[span.clone()].ends_with('.'), "a part ends within a sentence: {span:?}");
    }
    for text in ["short", "", &" ".repeat(50_000)] {
        assert!(is_whole(&model, text), "{text:?}");
    }
}

#[test]
fn chunking_is_chosen() {
    let text = ENGLISH.repeat(20);
    let with =
        |chunking: Chunking| LoadOptions::new().threads(1).chunking(chunking).load(&models(), DEFAULT_MODEL);
    let off = with(Chunking::Off).unwrap();
    assert!(is_whole(&off, &text));
    assert_eq!(off.embed(&[&text, "short", &text]).unwrap().truncated, 2);
    let small = with("40".parse().unwrap()).unwrap();
    let overlapping = with("40,12".parse().unwrap()).unwrap();
    let (parts, more) = (small.split(&text), overlapping.split(&text));
    assert!(parts.len() >= 10 && more.len() > parts.len(), "{} {}", parts.len(), more.len());
    assert!(more.windows(2).any(|pair| pair[1].start < pair[0].end), "no part overlaps the next");
    for wrong in ["257", "2", "40,38", "0", "1000000000000000,5"] {
        let error = with(wrong.parse().unwrap()).unwrap_err();
        assert!(matches!(&error, Error::Invalid { what, .. } if what == "chunking"), "{wrong}: {error}");
    }
    for wrong in ["", "none", "40,", "-3", "40,2,1"] {
        assert!(matches!(wrong.parse::<Chunking>(), Err(Error::Invalid { .. })), "{wrong}");
    }
    assert_eq!("auto".parse::<Chunking>().unwrap(), Chunking::Auto);
    assert_eq!("off".parse::<Chunking>().unwrap(), Chunking::Off);
}

#[test]
fn a_language_that_the_model_shreds_shows_in_its_tokens() {
    let model = load(DEFAULT_MODEL);
    let (korean, english) = (model.tokens_per_char(&[KOREAN]), model.tokens_per_char(&[ENGLISH]));
    assert!(korean > 1.0, "{korean}");
    assert!((0.15..0.3).contains(&english), "{english}");
    let is_shredded = |text: &str| model.tokens_per_char(&[text]) > SHREDDED_TOKENS_PER_CHAR;
    for text in [
        "Die Quantenverschränkung ist ein physikalisches Phänomen der Wechselwirkungen.",
        "fn main() { let x: Vec<u32> = vec![1, 2]; println!(\"{:?}\", x.iter().sum::<u32>()); }",
        "2026-11-23T04:00:00 192.168.0.1 0x7ffde4 3.14159 42,17,99",
    ] {
        assert!(!is_shredded(text), "{text}");
    }
    for text in [
        "Машинное обучение изучает методы построения алгоритмов.",
        "機械学習はデータからパターンを学ぶ方法です。",
        "Η μηχανική μάθηση είναι πεδίο της πληροφορικής",
    ] {
        assert!(is_shredded(text), "{text}");
    }
    assert!(model.tokens_per_char(&[]).abs() < f64::EPSILON);
}
