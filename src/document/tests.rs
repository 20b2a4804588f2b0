//! Tests of documents, metadata and their JSON.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::limits::METADATA_BYTES_MAX;

fn metadata(json: &str) -> Metadata {
    Metadata::from_json(json).unwrap()
}

/// The message of what must fail.
fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn metadata_comes_back_as_given() {
    let given = r#"{ "z": 1.50, "a": 12345678901234567890123, "m": [1E5, -0.0, "\u0041"], "z2": { } }"#;
    let wanted = r#"{"z":1.50,"a":12345678901234567890123,"m":[1E5,-0.0,"\u0041"],"z2":{}}"#;
    assert_eq!(metadata(given).as_json(), wanted);
    assert_eq!(serde_json::to_string(&metadata(given)).unwrap(), wanted);
    let document = Document::new("t").metadata_json(given).unwrap();
    assert_eq!(document.to_json(false), format!(r#"{{"id":null,"text":"t","metadata":{wanted}}}"#));
}

#[test]
fn metadata_takes_and_gives_types() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        source: String,
        number: u64,
    }
    let page = Page { source: "a.pdf".into(), number: u64::MAX };
    let document = Document::new("t").metadata(&page).unwrap();
    assert_eq!(document.metadata_ref().as_json(), r#"{"source":"a.pdf","number":18446744073709551615}"#);
    assert_eq!(document.metadata_as::<Page>().unwrap(), page);
    assert_eq!(Document::new("t").metadata(document.metadata_ref()).unwrap(), document);
    assert_eq!(Metadata::from_serialize(&BTreeMap::from([("a", 1)])).unwrap(), metadata(r#"{"a":1}"#));
    assert!(message(document.metadata_as::<BTreeMap<String, bool>>()).starts_with("metadata is not valid: "));
    assert_eq!(
        message(Metadata::from_serialize("x")),
        "metadata is not valid: expected a JSON object, found \"x\""
    );
    assert!(
        Metadata::default().is_empty() && metadata(" { } ").is_empty() && !metadata(r#"{"":0}"#).is_empty()
    );
}

#[test]
fn metadata_out_of_bounds_is_refused() {
    assert_eq!(
        message(Metadata::from_json("[1]")),
        "metadata is not valid: expected a JSON object, found [1]"
    );
    assert_eq!(
        message(Metadata::from_json(r#"{"a": nul}"#)),
        "metadata is not valid: expected a JSON value, found 'n' at byte 6"
    );
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(METADATA_BYTES_MAX));
    assert!(matches!(
        Metadata::from_json(&long),
        Err(Error::Limit { found: 16_777_224, max: 16_777_216, .. })
    ));
    let spaced = format!(r#"{{"a":1{}}}"#, " ".repeat(METADATA_BYTES_MAX));
    assert!(Metadata::from_json(&spaced).is_ok());
    let deep = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
    assert!(Metadata::from_json(&deep(64)).is_ok());
    assert!(message(Metadata::from_json(&deep(65))).contains("nesting deeper than 64 at byte 320"));
    assert!(Document::from_json(&format!(r#"{{"text":"t","metadata":{}}}"#, deep(64))).is_ok());
    assert!(Document::from_json(&format!(r#"{{"text":"t","metadata":{}}}"#, deep(65))).is_err());
}

#[test]
fn patches_follow_rfc_7396_and_keep_the_rest() {
    for (target, patch, wanted) in [
        // The object cases of RFC 7396, appendix A.
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        // Tokens, order and places.
        (
            r#"{"z":1.00,"m":{"y":1E2,"x":0},"a":1}"#,
            r#"{"m":{"x":2.0}}"#,
            r#"{"z":1.00,"m":{"y":1E2,"x":2.0},"a":1}"#,
        ),
        (r#"{"a":1}"#, r#"{"b":[null,{"c":null}]}"#, r#"{"a":1,"b":[null,{"c":null}]}"#),
        (r#"{"\u0061":1,"b":2}"#, r#"{"a":3}"#, r#"{"\u0061":3,"b":2}"#),
        ("{}", r#"{"\u0061":3}"#, r#"{"\u0061":3}"#),
        // Equal keys: the last counts, on both sides.
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":4}"#, r#"{"a":1,"b":4,"a":3}"#),
        (r#"{"a":{"x":1},"b":2,"a":{"y":1}}"#, r#"{"a":{"z":1}}"#, r#"{"b":2,"a":{"y":1,"z":1}}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":null}"#, "{}"),
        ("{}", r#"{"x":1,"x":null}"#, "{}"),
        ("{}", r#"{"x":null,"y":0,"x":1}"#, r#"{"x":1,"y":0}"#),
    ] {
        assert_eq!(metadata(target).patch(&metadata(patch)).unwrap().as_json(), wanted, "{target} {patch}");
    }
}

#[test]
fn documents_read_and_write_json() {
    for (given, wanted) in [
        (r#"{"text":"a"}"#, r#"{"id":null,"text":"a","metadata":{},"vector":null}"#),
        (r#"{"vector":[1,0.5e0,-2]}"#, r#"{"id":null,"text":null,"metadata":{},"vector":[1.0,0.5,-2.0]}"#),
        (
            r#" { "id" : 17 , "text":"\u00e9\n", "metadata": {"b": 1.0, "a": 2}, "vector": null } "#,
            r#"{"id":"17","text":"é\n","metadata":{"b":1.0,"a":2},"vector":null}"#,
        ),
        (
            r#"{"id":"é","text":"한국어 text","parts":[{"span":[0,3]},{"span":[2,8],"vector":[0.1]}],"metadata":null}"#,
            r#"{"id":"é","text":"한국어 text","metadata":{},"parts":[{"span":[0,3],"vector":null},{"span":[2,8],"vector":[0.1]}]}"#,
        ),
    ] {
        let document = Document::from_json(given).unwrap();
        assert_eq!(document.to_json(true), wanted);
        assert_eq!(Document::from_json(wanted).unwrap(), document);
        document.validate().unwrap();
    }
    let parts = r#"{"text":"한국어","parts":[{"span":[1,2],"vector":[1]}]}"#;
    assert_eq!(Document::from_json(parts).unwrap().parts(), [Part { span: 3..6, vector: Some(vec![1.0]) }]);
}

#[test]
fn json_that_is_no_document_is_refused() {
    for (given, reason) in [
        ("[]", "expected an object, found '[' at byte 0"),
        (r#"{"text":"a"} 1"#, "expected the end of the text, found '1' at byte 13"),
        (
            r#"{"text":"a","source":1}"#,
            "unknown key \"source\", expected one of id, text, metadata, vector, parts",
        ),
        (r#"{"text":"a","text":"b"}"#, "key \"text\" is given twice"),
        (r#"{"id":"a"}"#, "it has neither a text nor a vector"),
        (r#"{"text":null,"vector":null}"#, "it has neither a text nor a vector"),
        (r#"{"text":1}"#, "text is 1, expected a string"),
        (r#"{"text":"a","id":true}"#, "id is true, expected a string"),
        (r#"{"vector":"a"}"#, "vector is \"a\", expected a list of numbers"),
        (r#"{"vector":[1,"2"]}"#, "vector[1] is \"2\", expected a number that an f32 holds"),
        (r#"{"vector":[1e39]}"#, "vector[0] is 1e39, expected a number that an f32 holds"),
        (r#"{"vector":[1],"parts":[]}"#, "it has both a vector and parts"),
        (
            r#"{"text":"a","parts":[{"span":[1,0]}]}"#,
            "parts[0] has no span of two positions such as [0, 120]",
        ),
        (r#"{"text":"a","parts":[{"at":1}]}"#, "unknown key \"at\" in parts, expected span, vector"),
    ] {
        assert_eq!(message(Document::from_json(given)), format!("document is not valid: {reason}"));
    }
    let past = Document::from_json(r#"{"text":"é","parts":[{"span":[0,2]}]}"#);
    assert_eq!(message(past), "span is not valid: position 2 is past the text of 1 code points");
}

#[test]
fn validate_keeps_the_limits() {
    Document::new("a").validate().unwrap();
    Document::new("a").id("x".repeat(1024)).validate().unwrap();
    Document::from_vector(vec![1.0]).validate().unwrap();
    for (document, wanted) in [
        (Document::new("a").id(""), "document id is not valid: it is empty"),
        (Document::new("a").id("x".repeat(1025)), "document id in bytes is 1025, the limit is 1024"),
        (Document::new("").id("b"), "document \"b\" is not valid: its text is empty"),
        (Document::default().id("b"), "document \"b\" is not valid: it has neither a text nor a vector"),
        (Document::default().part(0..0, None), "document is not valid: it has neither a text nor a vector"),
        (
            Document::new("é").id("b").part(0..1, None),
            "span 0..1 of part 0 of document \"b\" is not valid: it is no range of whole characters in a text of 2 bytes",
        ),
    ] {
        assert_eq!(message(document.validate()), wanted);
    }
    let long = Document::new("x".repeat(TEXT_BYTES_MAX + 1));
    assert!(matches!(long.validate(), Err(Error::Limit { .. })));
    let reversed = Range { start: 1, end: 0 };
    assert!(Document::new("ab").part(reversed, None).validate().is_err());
    assert!(Document::new("ab").part(0..3, None).validate().is_err());
    let many = (0..=PARTS_MAX).fold(Document::new("a"), |document, _| document.part(0..1, None));
    assert!(matches!(many.validate(), Err(Error::Limit { found: 65_537, .. })));
}

#[test]
fn one_vector_is_one_part_that_spans_the_text() {
    let document = Document::new("한국").part(0..3, None).vector(vec![1.0, 2.0]);
    assert_eq!(document.parts(), [Part { span: 0..6, vector: Some(vec![1.0, 2.0]) }]);
    assert_eq!(Document::from_vector(vec![]).parts(), [Part { span: 0..0, vector: Some(vec![]) }]);
    assert_eq!(Document::new("a").parts(), []);
}

/// RFC 7396, section 2, on trees.
fn merge_trees(target: serde_json::Value, patch: serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(patch) = patch else { return patch };
    let mut merged = match target {
        serde_json::Value::Object(members) => members,
        _ => serde_json::Map::new(),
    };
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(&key);
        } else {
            let old = merged.remove(&key).unwrap_or_default();
            merged.insert(key, merge_trees(old, value));
        }
    }
    merged.into()
}

fn object() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![Just(serde_json::Value::Null), (0..3).prop_map(Into::into)];
    let value = leaf
        .prop_recursive(3, 12, 3, |inner| prop::collection::btree_map("[ab\"]", inner, 0..3).prop_map(tree));
    prop::collection::btree_map("[abc\"]", value, 0..4).prop_map(tree)
}

fn tree(members: BTreeMap<String, serde_json::Value>) -> serde_json::Value {
    members.into_iter().collect::<serde_json::Map<_, _>>().into()
}

proptest! {
    #[test]
    fn patching_agrees_with_the_rfc(target in object(), patch in object()) {
        let patched = metadata(&target.to_string()).patch(&metadata(&patch.to_string())).unwrap();
        let value: serde_json::Value = patched.deserialize().unwrap();
        prop_assert_eq!(value, merge_trees(target, patch));
        prop_assert_eq!(metadata(patched.as_json()), patched);
    }

    #[test]
    fn documents_survive_json(
        id: Option<String>, text: String, values in prop::collection::vec(-1e30_f32..1e30, 0..4),
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let points: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut document = borders.iter().fold(Document::new(text.as_str()), |document, border| {
            let (start, end) = (points[border.index(points.len())], text.len());
            document.part(start..end, Some(values.clone()))
        });
        document.id = id;
        prop_assert_eq!(Document::from_json(&document.to_json(true)).unwrap(), document);
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = (Document::from_json(&text), Metadata::from_json(&text));
    }
}
