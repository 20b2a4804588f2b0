//! What is done at random, and what is asked after each step.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use vdb::{Document, Metadata};

use super::DIM;

/// Ids that there are: few, so that they meet.
const IDS: u8 = 14;

/// A document as given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) id: String,
    pub(super) text: Option<String>,
    pub(super) n: i64,
    /// Given parts; none when the whole text is one.
    pub(super) parts: Vec<(Range<usize>, Option<Vec<f32>>)>,
}

/// Metadata as text.
pub(super) fn metadata(n: i64) -> Metadata {
    Metadata::from_json(&format!("{{\"n\":{n},\"tag\":\"가\"}}")).unwrap()
}

impl Given {
    pub(super) fn document(&self) -> Document {
        let mut document = match &self.text {
            Some(text) => Document::new(text.clone()),
            None => Document::default(),
        };
        for (span, vector) in &self.parts {
            document = document.part(span.clone(), vector.clone());
        }
        document.id(self.id.clone()).with_metadata(metadata(self.n))
    }
}

/// A step of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Add { documents: Vec<Given>, keep: bool },
    Delete(Vec<String>),
    DeleteWhere(i64),
    Metadata(String, i64),
    Text(String, String),
}

/// A step of a sequence.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Write { changes: Vec<Change>, commits: bool },
    Merge,
    Compact,
    Reopen,
    Hold,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) vector: Vec<f32>,
    pub(super) k: usize,
    /// The least `n` that matches.
    pub(super) least: i64,
    pub(super) filtered: bool,
}

fn id() -> impl Strategy<Value = String> {
    (0..IDS).prop_map(|n| format!("문서{n}"))
}

fn n() -> impl Strategy<Value = i64> {
    0..6_i64
}

fn vector() -> impl Strategy<Value = Vec<f32>> {
    vec(-2..=2_i8, DIM).prop_map(|mut values| {
        if values.iter().all(|&value| value == 0) {
            values[0] = 1;
        }
        values.into_iter().map(f32::from).collect()
    })
}

fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just("서울 "), Just("a"), Just("강 "), Just("😀")], 1..6).prop_map(|words| words.concat())
}

fn given() -> impl Strategy<Value = Given> {
    let whole = (text(), proptest::option::of(vector())).prop_map(|(text, vector)| {
        let parts = vector.map(|vector| (0..text.len(), Some(vector)));
        (Some(text), parts.into_iter().collect())
    });
    let several =
        (text(), vec(proptest::option::weighted(0.7, vector()), 2..5)).prop_map(|(text, vectors)| {
            // The parts overlap: each begins at the same place and ends one character later.
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let parts =
                vectors.into_iter().enumerate().map(|(n, vector)| (0..ends[n.min(ends.len() - 1)], vector));
            let parts = parts.collect::<Vec<_>>();
            (Some(text), parts)
        });
    let without_text = vector().prop_map(|vector| (None, vec![(0..0, Some(vector))]));
    let body = prop_oneof![3 => whole, 2 => several, 1 => without_text];
    (id(), n(), body).prop_map(|(id, n, (text, parts))| Given { id, text, n, parts })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (vec(given(), 1..7), proptest::bool::weighted(0.2))
            .prop_map(|(documents, keep)| Change::Add { documents, keep }),
        2 => vec(id(), 1..4).prop_map(Change::Delete),
        1 => (2..7_i64).prop_map(Change::DeleteWhere),
        2 => (id(), n()).prop_map(|(id, n)| Change::Metadata(id, n)),
        2 => (id(), text()).prop_map(|(id, text)| Change::Text(id, text)),
    ]
}

/// A sequence of operations.
pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        8 => (vec(change(), 1..4), proptest::bool::weighted(0.85))
            .prop_map(|(changes, commits)| Operation::Write { changes, commits }),
        2 => Just(Operation::Merge),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Reopen),
        2 => Just(Operation::Hold),
    ];
    vec(operation, 1..24)
}

/// What is asked after each operation.
pub(super) fn questions() -> impl Strategy<Value = Vec<Question>> {
    let question = (vector(), 1..12_usize, n(), any::<bool>())
        .prop_map(|(vector, k, least, filtered)| Question { vector, k, least, filtered });
    vec(question, 2..4)
}
