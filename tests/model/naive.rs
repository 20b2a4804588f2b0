//! The model: a list of documents in the order in which they were added.

use std::cmp::Ordering;
use std::ops::Range;

use vdb::{Document, Metric};

use super::embedding;
use super::operations::{Given, Question};

/// A document as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    id: String,
    text: Option<String>,
    n: i64,
    parts: Vec<(Range<usize>, Option<Vec<f32>>)>,
    /// The number of its first part among all parts ever added.
    row: usize,
}

impl Entry {
    /// As the store gives it back.
    pub(super) fn document(&self) -> Document {
        let (id, text, n, parts) = (self.id.clone(), self.text.clone(), self.n, self.parts.clone());
        Given { id, text, n, parts }.document()
    }
}

/// A hit as it has to be.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) id: String,
    pub(super) score: f64,
    pub(super) span: Range<usize>,
    pub(super) row: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    metric: Metric,
    embeds: bool,
    next_row: usize,
    pub(super) entries: Vec<Entry>,
}

impl Model {
    pub(super) fn new(metric: Metric, embeds: bool) -> Self {
        Model { metric, embeds, next_row: 0, entries: Vec::new() }
    }

    /// Whether scores of small whole numbers have no rounding error.
    pub(super) fn is_exact(&self) -> bool {
        self.metric != Metric::Cosine
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    pub(super) fn add(&mut self, documents: &[Given], keep: bool) {
        let kept: Vec<bool> =
            documents.iter().map(|given| keep && self.position(&given.id).is_some()).collect();
        for (given, kept) in documents.iter().zip(kept) {
            if !kept {
                self.put(given.clone());
            }
        }
    }

    fn put(&mut self, given: Given) {
        self.entries.retain(|entry| entry.id != given.id);
        let Given { id, text, n, mut parts } = given;
        let content = text.as_deref().unwrap_or_default();
        if parts.is_empty() {
            parts.push((0..content.len(), None));
        }
        if self.embeds {
            for (span, vector) in &mut parts {
                vector.get_or_insert_with(|| embedding(&content[span.clone()]));
            }
        }
        let row = self.next_row;
        self.next_row += parts.len();
        self.entries.push(Entry { id, text, n, parts, row });
    }

    pub(super) fn delete(&mut self, ids: &[String]) -> u64 {
        let before = self.entries.len();
        self.entries.retain(|entry| !ids.contains(&entry.id));
        (before - self.entries.len()) as u64
    }

    pub(super) fn delete_where(&mut self, least: i64) -> u64 {
        let ids: Vec<String> = self.matching(least).map(|entry| entry.id.clone()).collect();
        self.delete(&ids)
    }

    pub(super) fn matching(&self, least: i64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.n >= least)
    }

    /// Returns whether there is such a document.
    pub(super) fn patch(&mut self, id: &str, n: i64) -> bool {
        let Some(at) = self.position(id) else { return false };
        self.entries[at].n = n;
        true
    }

    /// Returns whether there is such a document.
    pub(super) fn replace_text(&mut self, id: &str, text: &str) -> bool {
        let Some(at) = self.position(id) else { return false };
        let n = self.entries[at].n;
        self.put(Given { id: id.to_owned(), text: Some(text.to_owned()), n, parts: Vec::new() });
        true
    }

    /// Every document that can be found, best first.
    pub(super) fn search(&self, question: &Question) -> Vec<Best> {
        let least = if question.filtered { question.least } else { i64::MIN };
        let mut all: Vec<Best> = self
            .matching(least)
            .filter_map(|entry| {
                let of_part = |(n, (span, vector)): (usize, &(Range<usize>, Option<Vec<f32>>))| {
                    let score = score(self.metric, &question.vector, vector.as_ref()?);
                    Some(Best { id: entry.id.clone(), score, span: span.clone(), row: entry.row + n })
                };
                entry.parts.iter().enumerate().filter_map(of_part).min_by(order)
            })
            .collect();
        all.sort_by(order);
        all
    }
}

/// Higher scores first, then lower rows.
fn order(a: &Best, b: &Best) -> Ordering {
    b.score.total_cmp(&a.score).then(a.row.cmp(&b.row))
}

fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f64 {
    let pairs = || query.iter().zip(vector).map(|(&q, &v)| (f64::from(q), f64::from(v)));
    let product: f64 = pairs().map(|(q, v)| q * v).sum();
    // Adding zero turns minus zero into zero, as a tie needs.
    match metric {
        Metric::InnerProduct => product + 0.0,
        Metric::L2 => -pairs().map(|(q, v)| (q - v) * (q - v)).sum::<f64>() + 0.0,
        Metric::Cosine => {
            let squares = |side: &[f32]| side.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
            product / (squares(query) * squares(vector)).sqrt() + 0.0
        }
    }
}
