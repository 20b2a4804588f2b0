//! Hits and plans of a search, as JSON and for people.

use std::fmt::{self, Display};
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use vdb::{Hit, Metadata, Plan, Side};

use crate::shown::{self, BOLD, DIM};

/// A hit and where it stands.
pub(crate) struct Found<'a> {
    pub(crate) rank: usize,
    pub(crate) hit: &'a Hit,
    /// The score of the best hit, for a bar; none for plain output.
    pub(crate) best: Option<f32>,
    /// Where the text has words of the query.
    pub(crate) highlights: Vec<Range<usize>>,
    /// The id of its query, if there are many.
    pub(crate) query: Option<&'a str>,
    /// Its store, if there are several.
    pub(crate) file: Option<&'a str>,
}

/// The data of the JSON line `hit`.
#[derive(Serialize)]
pub(crate) struct HitData<'a> {
    rank: usize,
    id: &'a str,
    score: f32,
    distance: Option<f32>,
    text: Option<&'a str>,
    metadata: &'a Metadata,
    parts: Parts,
    span: Option<[usize; 2]>,
    highlights: Option<Vec<[usize; 2]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
}

/// The scores that a hit's score is made of.
#[derive(Serialize)]
struct Parts {
    vector: Option<f32>,
    text: Option<f32>,
}

/// Ranges in code points, as other languages count; of bytes that rise.
fn in_code_points(text: &str, ranges: &[Range<usize>]) -> Option<Vec<[usize; 2]>> {
    let (mut byte, mut count) = (0, 0);
    let mut to = |end: usize| {
        count += text.get(byte..end)?.chars().count();
        byte = end;
        Some(count)
    };
    ranges.iter().map(|range| Some([to(range.start)?, to(range.end)?])).collect()
}

impl<'a> Found<'a> {
    /// As JSON.
    pub(crate) fn data(&self) -> HitData<'a> {
        let hit = self.hit;
        let text = hit.text.as_deref();
        let span = text.and_then(|text| in_code_points(text, std::slice::from_ref(&hit.span)));
        let highlights = text.filter(|_| !self.highlights.is_empty());
        HitData {
            rank: self.rank,
            id: &hit.id,
            score: hit.score,
            distance: hit.distance,
            text,
            metadata: &hit.metadata,
            parts: Parts { vector: hit.parts.vector, text: hit.parts.text },
            span: span.and_then(|span| span.first().copied()),
            highlights: highlights.and_then(|text| in_code_points(text, &self.highlights)),
            query: self.query,
            file: self.file,
        }
    }
}

/// For people: rank, score, id, then the best part and the metadata.
impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hit = self.hit;
        let id = shown::tame(&hit.id);
        if let Some(query) = self.query.filter(|_| self.rank == 1) {
            writeln!(f, "{DIM}query{DIM:#} {}", shown::tame(query))?;
        }
        write!(f, "{:>3}  {:.4}  ", self.rank, hit.score)?;
        if let Some(best) = self.best.filter(|best| *best > 0.0) {
            write!(f, "{DIM}{}{DIM:#}  ", shown::bar(hit.score / best))?;
        }
        write!(f, "{BOLD}{id}{BOLD:#}")?;
        if let Some(file) = self.file {
            write!(f, "  {DIM}{}{DIM:#}", shown::tame(file))?;
        }
        let text = hit.text.as_deref().unwrap_or_default();
        let best = shown::marked_snippet(text, hit.span.clone(), &self.highlights);
        for line in [best, shown::metadata(&hit.metadata)].iter().filter(|line| !line.is_empty()) {
            write!(f, "\n     {line}")?;
        }
        Ok(())
    }
}

/// How a query was answered.
pub(crate) struct PlanData<'a> {
    pub(crate) plan: &'a Plan,
    /// The id of the query, if there are many.
    pub(crate) query: Option<&'a str>,
}

impl PlanData<'_> {
    /// The data of the JSON line `plan`.
    pub(crate) fn data(&self) -> Value {
        let plan = self.plan;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let side = |side: &Option<Side>| {
            side.as_ref().map(|side| json!({"found": side.found, "best": side.best, "least": side.least}))
        };
        let weighing = plan.weighing.as_ref();
        // As it was written, not as f64 has one less it.
        let tidy = |weight: f64| (weight * 1e6).round() / 1e6;
        let mut data = json!({
            "mode": plan.mode.name(), "path": plan.path, "segments": plan.segments,
            "filter_path": plan.filter_path, "allowed": plan.allowed, "candidates": plan.candidates,
            "rescored": plan.rescored, "recall_promised": plan.recall_promised,
            "terms": plan.text.map(|_| &plan.terms),
            "vector": side(&plan.vector), "text": side(&plan.text),
            "fusion": weighing.map(|weighing| json!({
                "method": plan.fusion.name(), "text_weight": tidy(weighing.text_weight),
                "vector_weight": tidy(1.0 - weighing.text_weight), "reason": weighing.reason,
            })),
            "ms": {
                "target": ms(plan.target_time), "filter": ms(plan.filter_time), "graph": ms(plan.graph_time),
                "codes": ms(plan.codes_time), "rescore": ms(plan.rescore_time), "scan": ms(plan.scan_time),
                "text": ms(plan.text_time), "fetch": ms(plan.fetch_time),
            },
        });
        if let Some(data) = data.as_object_mut() {
            if !plan.notes.is_empty() {
                data.insert("notes".into(), json!(plan.notes));
            }
            if let Some(query) = self.query {
                data.insert("query".into(), query.into());
            }
        }
        data
    }
}

impl Display for PlanData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        let data = self.data();
        let ms: f64 = data["ms"].as_object().map_or(0.0, |ms| ms.values().filter_map(Value::as_f64).sum());
        write!(f, "{DIM}plan: {}, {}, ", plan.mode.name(), plan.path)?;
        write!(f, "{} segments and the tail, {} vectors allowed, ", plan.segments, plan.allowed)?;
        write!(f, "{} compared, {} rescored, ", plan.candidates, plan.rescored)?;
        write!(f, "recall {}, {ms:.1} ms{DIM:#}", plan.recall_promised)?;
        if plan.filter_path != "none" {
            write!(f, "\n{DIM}plan: filter by {}{DIM:#}", plan.filter_path)?;
        }
        if let Some(text) = &plan.text {
            let terms: Vec<String> = plan.terms.iter().map(|term| shown::tame(term)).collect();
            write!(f, "\n{DIM}plan: words {}: {} documents, ", terms.join(" "), text.found)?;
            write!(f, "BM25 {:.2} to {:.2}{DIM:#}", text.best, text.least)?;
        }
        if let (Some(vector), Some(_)) = (&plan.vector, &plan.text) {
            let (best, least) = (vector.best, vector.least);
            write!(f, "\n{DIM}plan: vectors: {} documents, {best:.4} to {least:.4}{DIM:#}", vector.found)?;
        }
        if let Some(weighing) = &plan.weighing {
            let (text, vector) = (weighing.text_weight, 1.0 - weighing.text_weight);
            write!(f, "\n{DIM}plan: {} fusion, {text:.2} of words ", plan.fusion.name())?;
            write!(f, "and {vector:.2} of vectors: {}{DIM:#}", weighing.reason)?;
        }
        plan.notes.iter().try_for_each(|note| write!(f, "\n{DIM}plan: {}{DIM:#}", shown::tame(note)))
    }
}
