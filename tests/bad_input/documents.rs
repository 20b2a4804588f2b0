//! Documents, queries and options that cannot be taken.

use vdb::limits::{DEPTH_MAX, DIM_MAX, ID_BYTES_MAX, MEMORY_BUDGET_MIN, METADATA_BYTES_MAX, TEXT_BYTES_MAX};
use vdb::{ConflictPolicy, Document, Error, Metadata, Metric, OpenOptions, Query, Result, Store, WriteTxn};

use super::{assert_invalid, assert_limit, document, sound_count, store};

fn vector(id: &str, values: &[f32]) -> Document {
    Document::from_vector(values.to_vec()).id(id)
}

#[test]
fn a_wrong_dimension_names_both() {
    let store = store();
    let error = store.add([document("b"), vector("c", &[1.0, 2.0, 3.0])]).unwrap_err();
    assert_eq!(error.to_string(), "vector of document \"c\" (row 1) has 3 values, expected 2");
    let Error::Shape { expected: 2, found: 3, .. } = error else { panic!("{error:?}") };
    let error = store.search(&Query::vector(vec![1.0])).unwrap_err();
    assert_eq!(error.to_string(), "query vector has 1 values, expected 2");
    assert_invalid(store.search(&Query::vector(vec![])), "query vector", "it is empty");
    let given = OpenOptions::new().dim(4).in_memory().unwrap();
    assert!(matches!(given.add([document("a")]), Err(Error::Shape { expected: 4, found: 2, .. })));
    assert!(matches!(given.add([vector("a", &[])]), Err(Error::Shape { expected: 4, found: 0, .. })));
    assert_invalid(OpenOptions::new().dim(0).in_memory(), "dimension", "it is zero");
    assert_limit(OpenOptions::new().dim(DIM_MAX + 1).in_memory(), "dimension", DIM_MAX + 1, DIM_MAX);
    let fresh = Store::in_memory().unwrap();
    let long = vec![1.0; DIM_MAX + 1];
    assert_limit(fresh.add([vector("a", &long)]), "dimension", DIM_MAX + 1, DIM_MAX);
    assert_invalid(fresh.add([vector("a", &[])]), "vector of document \"a\" (row 0)", "it has no values");
    assert_eq!((sound_count(&store), sound_count(&given), sound_count(&fresh)), (1, 0, 0));
    // The failed calls have not settled the dimension.
    fresh.add([vector("a", &[1.0, 2.0, 3.0])]).unwrap();
}

#[test]
fn values_that_are_not_finite_are_named_by_row_and_column() {
    let store = store();
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let bad = store.add([document("b"), document("c"), vector("d", &[0.5, value])]);
        let reason = format!("the value in column 1 is {name}, expected a finite number");
        assert_invalid(bad, "vector of document \"d\" (row 2)", &reason);
        let reason = format!("value 0 is {name}, expected a finite number");
        assert_invalid(store.search(&Query::vector(vec![value, 1.0])), "query vector", &reason);
    }
    let many = (0..2000).map(|n| vector(&n.to_string(), &[1.0, if n == 1500 { f32::NAN } else { 1.0 }]));
    let reason = "the value in column 1 is NaN, expected a finite number";
    assert_invalid(store.add(many), "vector of document \"1500\" (row 1500)", reason);
    let parts = Document::new("one two")
        .id("e")
        .part(0..3, Some(vec![1.0, 1.0]))
        .part(3..7, Some(vec![f32::NAN, 0.0]));
    let reason = "the value in column 0 is NaN, expected a finite number";
    assert_invalid(store.add([parts]), "vector of part 1 of document \"e\" (row 0)", reason);
    assert_eq!(sound_count(&store), 1);
}

#[test]
fn a_zero_vector_has_no_cosine() {
    let store = store();
    let reason = "it is zero, which has no direction for the metric cosine";
    assert_invalid(store.add([vector("z", &[0.0, -0.0])]), "vector of document \"z\" (row 0)", reason);
    assert_invalid(store.search(&Query::vector(vec![0.0, 0.0])), "query vector", reason);
    for metric in [Metric::L2, Metric::InnerProduct] {
        let other = OpenOptions::new().metric(metric).in_memory().unwrap();
        other.add([vector("z", &[0.0, 0.0])]).unwrap();
        let hits = other.search(&Query::vector(vec![0.0, 0.0])).unwrap();
        assert!(hits[0].score.abs() < f32::EPSILON, "{hits:?}");
    }
    // Numbers so small or large that their squares do not fit are vectors like others.
    for value in [1e-38, 1e38] {
        let other = Store::in_memory().unwrap();
        other.add([vector("a", &[value, 0.0]), vector("b", &[0.0, value])]).unwrap();
        let hits = other.search(&Query::vector(vec![value, value / 2.0])).unwrap();
        assert_eq!((&*hits[0].id, hits.len()), ("a", 2));
        assert!(
            (hits[0].score - 0.894_427).abs() < 1e-5 && (hits[1].score - 0.447_214).abs() < 1e-5,
            "{hits:?}"
        );
    }
}

#[test]
fn of_an_id_given_twice_the_last_wins_and_is_reported() {
    let store = store();
    let twice = [vector("b", &[1.0, 0.0]), document("c"), vector("b", &[0.0, 1.0]), document("a")];
    let report = store.add(twice).unwrap();
    assert_eq!(report.duplicates, ["b"]);
    assert_eq!((report.added, report.updated, report.skipped), (2, 1, 0));
    let kept = store.snapshot().unwrap().get_with_vectors("b").unwrap().unwrap();
    assert_eq!(kept.parts()[0].vector.as_deref(), Some(&[0.0, 1.0][..]));
    assert_eq!(store.search(&Query::vector(vec![1.0, 0.0]).k(9)).unwrap().len(), 3);
    assert_eq!(sound_count(&store), 3);
}

#[test]
fn policies_keep_and_fail_do_as_they_say() {
    let store = store();
    let mut txn = store.write().unwrap();
    txn.on_conflict(ConflictPolicy::Keep).add([vector("a", &[9.0, 9.0]), document("b")]).unwrap();
    let report = txn.commit().unwrap();
    assert_eq!((report.added, report.updated, report.skipped), (1, 0, 1));
    assert_eq!(store.get("a").unwrap().unwrap().text(), Some("text of a"));
    let mut txn = store.write().unwrap();
    let error = txn.on_conflict(ConflictPolicy::Fail).add([document("c"), document("b")]).unwrap_err();
    assert_eq!(error.to_string(), "document \"b\" exists already");
    assert!(matches!(error, Error::Exists { what: "document", name } if name == "b"));
    drop(txn);
    assert_eq!(sound_count(&store), 2);
    let patch = Metadata::from_json("{}").unwrap();
    let in_txn =
        |change: &dyn Fn(&mut WriteTxn) -> Result<()>| change(&mut store.write().unwrap()).unwrap_err();
    for error in [
        store.update_metadata("x", &patch).unwrap_err(),
        in_txn(&|txn| txn.update_text("x", "text").map(drop)),
        in_txn(&|txn| txn.replace_metadata("x", &patch).map(drop)),
        store.search(&Query::like("x")).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "document \"x\" does not exist");
        assert!(matches!(error, Error::NotFound { what: "document", .. }));
    }
    let report = store.delete(["x", "a", "y"]).unwrap();
    assert_eq!((report.deleted, report.missing), (1, vec!["x".to_owned(), "y".to_owned()]));
}

#[test]
fn ids_and_texts_keep_their_limits() {
    let store = store();
    assert_invalid(store.add([document("")]), "document id", "it is empty");
    let id = "가".repeat(ID_BYTES_MAX / 3 + 1);
    assert_limit(store.add([document(&id)]), "document id in bytes", id.len(), ID_BYTES_MAX);
    store.add([document(&"i".repeat(ID_BYTES_MAX))]).unwrap();
    assert_eq!(store.get(&id).unwrap(), None);
    let long = Document::new("t".repeat(TEXT_BYTES_MAX + 1)).id("long");
    assert_limit(store.add([long]), "text of document \"long\" in bytes", TEXT_BYTES_MAX + 1, TEXT_BYTES_MAX);
    let neither = "it has neither a text nor a vector";
    assert_invalid(store.add([Document::default().id("n")]), "document \"n\"", neither);
    let reversed = Document::new("가나").id("s").part(0..1, None);
    let reason = "it is no range of whole characters in a text of 6 bytes";
    assert_invalid(store.add([reversed]), "span 0..1 of part 0 of document \"s\"", reason);
    assert_eq!(sound_count(&store), 2);
}

#[test]
fn metadata_keep_their_limits() {
    let deep = |levels: usize| format!("{}0{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    Metadata::from_json(&deep(DEPTH_MAX)).unwrap();
    for levels in [DEPTH_MAX + 1, 100_000] {
        let Err(Error::Invalid { what, reason }) = Metadata::from_json(&deep(levels)) else {
            panic!("{levels} levels were taken")
        };
        assert_eq!(what, "metadata");
        assert!(reason.contains(&DEPTH_MAX.to_string()), "{reason}");
    }
    let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let what = "metadata in bytes of compact JSON";
    let bytes = METADATA_BYTES_MAX + 1;
    assert_limit(Metadata::from_json(&long(bytes)), what, bytes, METADATA_BYTES_MAX);
    let store = store();
    let most = Metadata::from_json(&long(METADATA_BYTES_MAX)).unwrap();
    store.add([document("a").with_metadata(most.clone())]).unwrap();
    let more = Metadata::from_json("{\"b\":1}").unwrap();
    let bytes = METADATA_BYTES_MAX + 6;
    assert_limit(store.update_metadata("a", &more), what, bytes, METADATA_BYTES_MAX);
    assert_eq!(store.get("a").unwrap().unwrap().metadata_ref(), &most);
    for (json, reason) in
        [("[1]", "expected a JSON object, found [1]"), ("7", "expected a JSON object, found 7")]
    {
        assert_invalid(Metadata::from_json(json), "metadata", reason);
    }
    for json in ["", "{", "{'a':1}", "{\"a\":1,}", "{\"a\":NaN}", "{\"a\":1} x", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(Metadata::from_json(json), Err(Error::Invalid { .. })), "{json:?} was taken");
    }
}

#[test]
fn a_memory_budget_below_the_minimum_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small.vdb");
    let options = || OpenOptions::new().memory_budget(MEMORY_BUDGET_MIN - 1);
    let reason = format!("{} bytes are less than the minimum of {MEMORY_BUDGET_MIN}", MEMORY_BUDGET_MIN - 1);
    assert_invalid(options().create(&path), "memory budget", &reason);
    assert!(!path.exists());
    assert_invalid(options().in_memory(), "memory budget", &reason);
    Store::create(&path).unwrap();
    assert_invalid(options().open(&path), "memory budget", &reason);
    OpenOptions::new().memory_budget(MEMORY_BUDGET_MIN).open(&path).unwrap();
}

#[test]
fn every_k_is_a_number_of_hits() {
    let store = store();
    store.add((0..9).map(|n| document(&n.to_string()))).unwrap();
    let hits = |k| store.search(&Query::vector(vec![1.0, 1.0]).k(k)).unwrap().len();
    assert_eq!((hits(0), hits(1), hits(10), hits(11), hits(usize::MAX)), (0, 1, 10, 10, 10));
    let like = |k| store.search(&Query::like("a").k(k)).unwrap().len();
    assert_eq!((like(0), like(9), like(usize::MAX)), (0, 9, 9));
    let empty = Store::in_memory().unwrap();
    assert!(empty.search(&Query::vector(vec![1.0])).unwrap().is_empty());
}
