//! Adding a batch of documents: everything is checked and embedded before anything is written.

use std::ops::Range;

use super::Store;
use super::vectors::NewVectors;
use super::write::{ConflictPolicy, TxnState, WriteTxn, fresh_id, record};
use crate::catalog::{self, DocumentRecord, PartRecord, Table, Tables};
use crate::codec::{key, to_u64};
use crate::document::{Document, Part};
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::limits::{DIM_MAX, PARTS_MAX};
use crate::metric::Metric;
use crate::vector::kernel::{first_non_finite, halved, widened};
use crate::vector::segment::Precision;

/// A document that passed every check.
struct Ready {
    id: String,
    document: Document,
    parts: Vec<Part>,
}

impl WriteTxn {
    /// Adds some documents, all or none of them. `position` is the place of the first in the caller's call.
    pub(super) fn add_batch(&mut self, position: u64, batch: Vec<Document>) -> Result<()> {
        let store = self.store.clone();
        let policy = self.policy;
        let mut ready = Vec::with_capacity(batch.len());
        for document in batch {
            document.validate()?;
            let id = document.id_ref().map_or_else(fresh_id, str::to_owned);
            let (parts, document) = split(document, store.embedder())?;
            ready.push(Ready { id, document, parts });
        }
        if policy != ConflictPolicy::Replace {
            let skipped =
                self.change(|tables, state| existing(tables, &mut ready, policy, state.first_row))?;
            self.state.report.skipped += skipped;
        }
        if let Some(embedder) = store.embedder() {
            self.state.report.truncated += to_u64(embed(&store, embedder, &mut ready)?);
        }
        let dim = self.state.check_vectors(position, &mut ready)?;
        self.change(|tables, state| {
            state.space.dim = dim.map(|dim| u32::try_from(dim).unwrap_or(u32::MAX));
            for document in ready {
                state.insert(tables, document)?;
            }
            Ok(())
        })
    }
}

/// The parts of a document: those given, those that the embedder makes of its text, or the whole text; and what is left.
fn split(mut document: Document, embedder: Option<&dyn Embedder>) -> Result<(Vec<Part>, Document)> {
    let given = document.take_parts();
    let parts = if given.is_empty() { parts_of(&document, embedder)? } else { given };
    Ok((parts, document))
}

fn parts_of(document: &Document, embedder: Option<&dyn Embedder>) -> Result<Vec<Part>> {
    let text = document.text().unwrap_or_default();
    let whole = |span: Range<usize>| Part { span, vector: None };
    let Some(embedder) = embedder else { return Ok(vec![whole(0..text.len())]) };
    let spans = embedder.split(text);
    if spans.is_empty() {
        return Ok(vec![whole(0..text.len())]);
    }
    let (found, max) = (to_u64(spans.len()), to_u64(PARTS_MAX));
    if found > max {
        return Err(Error::Limit { what: "number of parts of a document".into(), found, max });
    }
    if spans.iter().any(|span| text.get(span.clone()).is_none()) {
        return Err(Error::invalid("split of a text", "the embedder gave a span that is not in the text"));
    }
    Ok(spans.into_iter().map(whole).collect())
}

/// Applies `Keep` and `Fail` to ids that exist; returns how many documents were left out.
fn existing(
    tables: &Tables<'_>,
    ready: &mut Vec<Ready>,
    policy: ConflictPolicy,
    first_row: u64,
) -> Result<u64> {
    let mut keep = Vec::with_capacity(ready.len());
    for document in ready.iter() {
        let found = catalog::id_row(tables, &document.id)?;
        if policy == ConflictPolicy::Fail && found.is_some_and(|row| row < first_row) {
            return Err(Error::Exists { what: "document", name: document.id.clone() });
        }
        keep.push(policy != ConflictPolicy::Keep || found.is_none());
    }
    let before = ready.len();
    let mut keep = keep.into_iter();
    ready.retain(|_| keep.next().unwrap_or(true));
    Ok(to_u64(before - ready.len()))
}

/// Computes the vectors that are missing; returns how many texts were cut.
fn embed(store: &Store, embedder: &dyn Embedder, ready: &mut [Ready]) -> Result<usize> {
    let mut texts = Vec::new();
    for document in ready.iter() {
        let text = document.document.text().unwrap_or_default();
        texts.extend(
            document.parts.iter().filter(|part| part.vector.is_none()).map(|part| &text[part.span.clone()]),
        );
    }
    if texts.is_empty() {
        return Ok(0);
    }
    let embeddings = store.embed(embedder, &texts)?;
    let mut vectors = embeddings.vectors.chunks_exact(embedder.identity().dim);
    for document in ready {
        for part in document.parts.iter_mut().filter(|part| part.vector.is_none()) {
            part.vector = vectors.next().map(<[f32]>::to_vec);
        }
    }
    Ok(embeddings.truncated)
}

/// Rounds values to half precision.
fn round(vector: &mut [f32]) -> std::result::Result<(), String> {
    let halves: Vec<u16> = halved(vector).collect();
    for (column, (value, wide)) in vector.iter_mut().zip(widened(&halves)).enumerate() {
        if !wide.is_finite() {
            return Err(format!("the value in column {column} is {value}, and f16 ends at 65504"));
        }
        *value = wide;
    }
    Ok(())
}

impl TxnState {
    /// Checks every vector and rounds it to what is stored; returns the dimension, which the first vector decides where
    /// nothing else has.
    fn check_vectors(&self, position: u64, ready: &mut [Ready]) -> Result<Option<usize>> {
        let mut dim = self.dim();
        for (n, document) in ready.iter_mut().enumerate() {
            let (row, parts, id) = (position + to_u64(n), document.parts.len(), &document.id);
            for (p, vector) in
                document.parts.iter_mut().enumerate().filter_map(|(p, part)| Some((p, part.vector.as_mut()?)))
            {
                let what = || match parts {
                    1 => format!("vector of document {id:?} (row {row})"),
                    _ => format!("vector of part {p} of document {id:?} (row {row})"),
                };
                let expected = *dim.get_or_insert(vector.len());
                if vector.len() != expected {
                    return Err(Error::Shape { what: what(), expected, found: vector.len() });
                }
                if !(1..=DIM_MAX).contains(&expected) {
                    let (found, max) = (to_u64(expected), to_u64(DIM_MAX));
                    return Err(if expected == 0 {
                        Error::invalid(what(), "it has no values")
                    } else {
                        Error::Limit { what: "dimension".into(), found, max }
                    });
                }
                if let Some((_, column)) = first_non_finite(vector, expected) {
                    let reason = format!(
                        "the value in column {column} is {}, expected a finite number",
                        vector[column]
                    );
                    return Err(Error::invalid(what(), reason));
                }
                if self.space.precision() == Precision::F16 {
                    round(vector).map_err(|reason| Error::invalid(what(), reason))?;
                }
                if self.metric == Metric::Cosine && vector.iter().all(|&value| value == 0.0) {
                    return Err(Error::invalid(
                        what(),
                        "it is zero, which has no direction for the metric cosine",
                    ));
                }
            }
        }
        Ok(dim)
    }

    /// Writes one document, after removing the one of the same id.
    fn insert(&mut self, tables: &mut Tables<'_>, ready: Ready) -> Result<()> {
        match catalog::id_row(tables, &ready.id)? {
            Some(old) => {
                self.remove(tables, &ready.id, old, &record(tables, old)?)?;
                if old >= self.first_row {
                    self.report.duplicates.push(ready.id.clone());
                } else {
                    self.report.updated += 1;
                }
            }
            None => self.report.added += 1,
        }
        let row = self.counters.next_row;
        let count = to_u64(ready.parts.len());
        let mut parts = Vec::with_capacity(ready.parts.len());
        for (n, part) in ready.parts.iter().enumerate() {
            if let Some(vector) = &part.vector {
                self.push_vector(tables, row + to_u64(n), vector)?;
            }
            let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (start, end) = (narrow(part.span.start), narrow(part.span.end));
            parts.push(PartRecord { start, end, vector: part.vector.is_some() });
        }
        let record = DocumentRecord {
            id: ready.id,
            text: ready.document.text().map(str::to_owned),
            metadata: ready.document.metadata_ref().as_json().to_owned(),
            parts,
        };
        self.changed = true;
        tables.put_record(Table::Documents, &key(row), &record)?;
        self.index.add(tables, row, &record.metadata)?;
        tables.put(Table::Ids, record.id.as_bytes(), key(row).to_vec())?;
        self.continuation.insert_range(row + 1..row + count);
        self.counters.next_row += count;
        self.counters.documents += 1;
        self.counters.parts += count;
        if let Some(text) = &mut self.text {
            text.added(tables, &self.counters, &record)?;
        }
        self.report.parts += count;
        self.report.ids.push(record.id);
        self.report.part_counts.push(count);
        Ok(())
    }

    fn push_vector(&mut self, tables: &mut Tables<'_>, row: u64, vector: &[f32]) -> Result<()> {
        let vectors = match &mut self.vectors {
            Some(vectors) => vectors,
            none => none.insert(NewVectors::new(
                &self.container,
                self.space_id,
                (vector.len(), self.space.precision()),
                self.metric,
                self.tail_bytes_max,
                &self.memory,
            )?),
        };
        vectors.push(tables, &mut self.counters, &self.dead, row, vector)
    }
}
