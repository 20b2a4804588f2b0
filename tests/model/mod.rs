//! Random operations on a store and on a naive model of it, which must always agree.

mod naive;
mod operations;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use vdb::{
    Background, CheckLevel, ConflictPolicy, Control, Document, Durability, Embedder, Embeddings, Error,
    Filter, Hit, IndexKind, MergeLimits, Metadata, Metric, ModelIdentity, OpenOptions, Precision, Query,
    Snapshot,
};

use naive::{Best, Model};
use operations::{Change, Operation, Question, operations, questions};

/// Values of a vector: few and small, so that scores tie.
const DIM: usize = 4;
/// The vectors of so many rows fill the tail.
const TAIL_ROWS: usize = 9;
const SEQUENCES: u32 = 150;
const SCORE_TOLERANCE: f64 = 1e-5;
/// Snapshots held at a time.
const HELD_MAX: usize = 3;

/// An embedder whose vectors are counts of bytes.
struct Counting(ModelIdentity);

/// What the embedder makes of a text; never zero.
fn embedding(text: &str) -> Vec<f32> {
    let mut vector = vec![1.0; DIM];
    for byte in text.bytes() {
        vector[usize::from(byte) % DIM] += 1.0;
    }
    vector
}

impl Embedder for Counting {
    fn identity(&self) -> &ModelIdentity {
        &self.0
    }

    fn embed(&self, texts: &[&str]) -> vdb::Result<Embeddings> {
        Ok(Embeddings { vectors: texts.iter().flat_map(|text| embedding(text)).collect(), truncated: 0 })
    }
}

fn options(metric: Metric, embeds: bool) -> OpenOptions {
    let options = OpenOptions::new()
        .background(Background::None)
        .metric(metric)
        .durability(Durability::Process)
        .tail_bytes_max(TAIL_ROWS * DIM * size_of::<f32>())
        // Small whole numbers are the same in half precision.
        .vectors(if embeds { Precision::F16 } else { Precision::F32 })
        .index(match metric {
            Metric::Cosine => IndexKind::HnswSq8,
            Metric::InnerProduct => IndexKind::Sq4,
            Metric::L2 => IndexKind::Sq8,
        })
        .index_rows_min(8);
    if !embeds {
        return options;
    }
    options.embedder(Arc::new(Counting(ModelIdentity {
        name: "counting".into(),
        dim: DIM,
        pooling: "none".into(),
        normalised: false,
        weights_sha256: String::new(),
        tokenizer_sha256: String::new(),
    })))
}

/// One change in the transaction and in the model; both must refuse the same.
fn change(txn: &mut vdb::WriteTxn, model: &mut Model, change: &Change) {
    match change {
        Change::Add { documents, keep } => {
            let policy = if *keep { ConflictPolicy::Keep } else { ConflictPolicy::Replace };
            txn.on_conflict(policy).add(documents.iter().map(operations::Given::document)).unwrap();
            model.add(documents, *keep);
        }
        Change::Delete(ids) => {
            let report = txn.delete(ids).unwrap();
            assert_eq!(report.deleted, model.delete(ids));
        }
        Change::DeleteWhere(least) => {
            let report = txn.delete_where(&Filter::field("n").gte(*least)).unwrap();
            assert_eq!(report.deleted, model.delete_where(*least));
        }
        Change::Metadata(id, n) => {
            let patch = Metadata::from_json(&format!("{{\"n\":{n}}}")).unwrap();
            let known = model.patch(id, *n);
            refuses_unknown(txn.update_metadata(id, &patch).map(drop), known);
        }
        Change::Text(id, text) => {
            let known = model.replace_text(id, text);
            refuses_unknown(txn.update_text(id, text.clone()).map(drop), known);
        }
    }
}

fn refuses_unknown(result: vdb::Result<()>, known: bool) {
    match result {
        Ok(()) => assert!(known),
        Err(error) => assert!(!known && matches!(error, Error::NotFound { .. }), "{error}"),
    }
}

/// Whether a snapshot shows exactly the model.
fn compare(snapshot: &Snapshot, model: &Model, questions: &[Question]) {
    assert_eq!(snapshot.count(), model.entries.len() as u64);
    let found: Vec<Document> = snapshot.documents().with_vectors().collect::<vdb::Result<_>>().unwrap();
    let expected: Vec<Document> = model.entries.iter().map(naive::Entry::document).collect();
    assert_eq!(found, expected);
    for document in &expected {
        let id = document.id_ref().unwrap();
        assert_eq!(snapshot.get_with_vectors(id).unwrap().as_ref(), Some(document));
    }
    assert_eq!(snapshot.get("nobody").unwrap(), None);
    for question in questions {
        let least = Filter::field("n").gte(question.least);
        assert_eq!(snapshot.count_where(&least).unwrap(), model.matching(question.least).count() as u64);
        search(snapshot, model, question);
    }
}

/// Compares a search: the right documents, the right scores, ties by age.
fn search(snapshot: &Snapshot, model: &Model, question: &Question) {
    let mut query = Query::vector(question.vector.clone()).k(question.k);
    if question.filtered {
        query = query.filter(Filter::field("n").gte(question.least));
    }
    let expected = model.search(question);
    // So few rows are found whole by an index, too.
    for query in [query.clone(), query.exact()] {
        ranks(&snapshot.search(&query).unwrap(), &expected, model, question);
    }
}

fn ranks(hits: &[Hit], expected: &[Best], model: &Model, question: &Question) {
    assert_eq!(hits.len(), expected.len().min(question.k), "{hits:?} {expected:?}");
    for (hit, best) in hits.iter().zip(expected) {
        assert!((f64::from(hit.score) - best.score).abs() <= SCORE_TOLERANCE, "{hits:?} {expected:?}");
        if model.is_exact() {
            assert_eq!((&hit.id, &hit.span), (&best.id, &best.span), "{hits:?} {expected:?}");
        }
    }
    // Scores under the cosine are rounded: near ones may change places, equal ones may not.
    let place = |id: &str| expected.iter().find(|best| best.id == id).unwrap();
    for pair in hits.windows(2) {
        let (first, second) = (place(&pair[0].id), place(&pair[1].id));
        assert!((f64::from(pair[0].score) - first.score).abs() <= SCORE_TOLERANCE);
        let in_order = pair[0].score > pair[1].score
            || pair[0].score.to_bits() == pair[1].score.to_bits() && first.row < second.row;
        assert!(in_order, "{hits:?} {expected:?}");
    }
}

fn run(path: &Path, metric: Metric, embeds: bool, sequence: &[Operation], questions: &[Question]) {
    let mut store = options(metric, embeds).create(path).unwrap();
    let mut model = Model::new(metric, embeds);
    let mut held: Vec<(Snapshot, Model)> = Vec::new();
    for operation in sequence {
        match operation {
            Operation::Write { changes, commits } => {
                let (mut txn, mut changed) = (store.write().unwrap(), model.clone());
                for step in changes {
                    change(&mut txn, &mut changed, step);
                }
                if *commits {
                    txn.commit().unwrap();
                    model = changed;
                }
            }
            Operation::Merge => {
                store.merge(&MergeLimits::default(), &Control::new()).unwrap();
                assert_eq!(store.stats().unwrap().merges_due, 0);
            }
            Operation::Compact => drop(store.compact(&Control::new()).unwrap()),
            Operation::Reopen => {
                held.clear();
                store.close().unwrap();
                store = options(metric, embeds).open(path).unwrap();
            }
            Operation::Hold => {
                if held.len() == HELD_MAX {
                    held.remove(0);
                }
                held.push((store.snapshot().unwrap(), model.clone()));
            }
        }
        compare(&store.snapshot().unwrap(), &model, questions);
    }
    for (snapshot, model) in &held {
        compare(snapshot, model, questions);
    }
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

fn agrees(metric: Metric) {
    let config = Config {
        cases: SEQUENCES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = (any::<bool>(), operations(), questions());
    TestRunner::new(config)
        .run(&strategy, |(embeds, sequence, questions)| {
            let directory = tempfile::tempdir()?;
            run(&directory.path().join("model.vdb"), metric, embeds, &sequence, &questions);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_store_agrees_with_the_model_under_the_cosine() {
    agrees(Metric::Cosine);
}

#[test]
fn a_store_agrees_with_the_model_under_the_inner_product() {
    agrees(Metric::InnerProduct);
}

#[test]
fn a_store_agrees_with_the_model_under_l2() {
    agrees(Metric::L2);
}
