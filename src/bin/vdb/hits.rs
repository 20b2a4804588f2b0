//! Hits and plans of a search, as JSON and for people.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use vdb::{Hit, Metadata, Plan};

use crate::shown::{self, BOLD, DIM};

/// A hit and where it stands.
pub(crate) struct Found<'a> {
    pub(crate) rank: usize,
    pub(crate) hit: &'a Hit,
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

impl<'a> Found<'a> {
    /// As JSON.
    pub(crate) fn data(&self) -> HitData<'a> {
        let hit = self.hit;
        // In code points, as other languages count.
        let span = hit.text.as_deref().and_then(|text| {
            let start = text.get(..hit.span.start)?.chars().count();
            Some([start, start + text.get(hit.span.clone())?.chars().count()])
        });
        HitData {
            rank: self.rank,
            id: &hit.id,
            score: hit.score,
            distance: Some(hit.distance),
            text: hit.text.as_deref(),
            metadata: &hit.metadata,
            parts: Parts { vector: Some(hit.score), text: None },
            span,
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
        write!(f, "{:>3}  {:.4}  {BOLD}{id}{BOLD:#}", self.rank, hit.score)?;
        if let Some(file) = self.file {
            write!(f, "  {DIM}{}{DIM:#}", shown::tame(file))?;
        }
        let best = hit.text.as_deref().and_then(|text| text.get(hit.span.clone()));
        let best = best.map(shown::snippet).unwrap_or_default();
        for line in [best, shown::metadata(&hit.metadata)].iter().filter(|line| !line.is_empty()) {
            write!(f, "\n     {line}")?;
        }
        Ok(())
    }
}

/// What several stores did for one query.
#[derive(Default)]
pub(crate) struct Plans(pub(crate) Vec<Plan>);

impl Plans {
    /// The way of all, if it is the same.
    fn path(&self) -> &'static str {
        let first = self.0.first().map_or("exact", |plan| plan.path);
        if self.0.iter().all(|plan| plan.path == first) { first } else { "mixed" }
    }

    /// The data of the JSON line `plan`.
    pub(crate) fn data(&self, query: Option<&str>) -> Value {
        let sum = |part: fn(&Plan) -> u64| self.0.iter().map(part).sum::<u64>();
        let ms = |part: fn(&Plan) -> Duration| self.0.iter().map(part).sum::<Duration>().as_secs_f64() * 1e3;
        let recall = self.0.iter().map(|plan| plan.recall_promised).fold(1.0, f64::min);
        let mut data = json!({
            "mode": "vector", "path": self.path(),
            "segments": self.0.iter().map(|plan| plan.segments).sum::<usize>(),
            "allowed": sum(|plan| plan.allowed), "candidates": sum(|plan| plan.candidates),
            "rescored": sum(|plan| plan.rescored), "recall_promised": recall,
            "ms": {
                "target": ms(|plan| plan.target_time), "filter": ms(|plan| plan.filter_time),
                "graph": ms(|plan| plan.graph_time), "codes": ms(|plan| plan.codes_time),
                "scan": ms(|plan| plan.scan_time), "fetch": ms(|plan| plan.fetch_time),
            },
        });
        let notes: Vec<&String> = self.0.iter().flat_map(|plan| &plan.notes).collect();
        if let Some(data) = data.as_object_mut().filter(|_| !notes.is_empty()) {
            data.insert("notes".into(), json!(notes));
        }
        if let (Some(query), Some(data)) = (query, data.as_object_mut()) {
            data.insert("query".into(), query.into());
        }
        data
    }
}

impl Display for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data(None);
        let number = |name: &str| data[name].as_f64().unwrap_or(0.0);
        let ms: f64 = data["ms"].as_object().map_or(0.0, |ms| ms.values().filter_map(Value::as_f64).sum());
        write!(
            f,
            "{DIM}plan: {}, {} segments and the tail, {} vectors allowed, {} compared, {} rescored, recall {}, \
             {ms:.1} ms{DIM:#}",
            data["path"].as_str().unwrap_or_default(),
            number("segments"),
            number("allowed"),
            number("candidates"),
            number("rescored"),
            number("recall_promised"),
        )?;
        self.0
            .iter()
            .flat_map(|plan| &plan.notes)
            .try_for_each(|note| write!(f, "\n{DIM}plan: {note}{DIM:#}"))
    }
}
