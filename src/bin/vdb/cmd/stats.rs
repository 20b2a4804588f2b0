//! `vdb stats`: numbers about a store.

use std::fmt::{self, Display};
use std::path::PathBuf;

use bytesize::ByteSize;
use serde_json::{Value, json};
use vdb::{Language, ModelIdentity, RecallPoint, SegmentStats, Stats, TextStats};

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::{Output, memory_json};
use crate::resident::resident;

/// Print counts, sizes on disk and in memory, segments, model and format
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
}

/// Prints the numbers.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let store = open::to_read(&args.file, globals)?;
    let stats = store.stats()?;
    let path = args.file.display().to_string();
    output.result("stats", &data(&path, &stats), Table::of(&path, &stats))?;
    Ok(Exit::Done)
}

fn data(path: &str, stats: &Stats) -> Value {
    let segments = stats.segments.iter().map(|segment| {
        // Exact search finds everything.
        let recall = segment.recall.last().map_or(1.0, |best| best.recall);
        let curve = segment.recall.iter().map(|point| {
            json!({"effort": point.effort, "recall": point.recall, "error": point.error, "computed": point.computed})
        });
        json!({
            "id": segment.id, "rows": segment.rows, "dead": segment.dead, "bytes": segment.bytes, "index": segment.index,
            "recall": recall, "index_bytes": segment.index_bytes, "curve": curve.collect::<Vec<_>>(),
            "sampled_recall": segment.sampled_recall, "note": segment.note,
        })
    });
    json!({
        "path": path, "documents": stats.documents, "parts": stats.parts, "dead": stats.dead,
        "tail_rows": stats.tail_rows, "segments": segments.collect::<Vec<_>>(),
        "merges": {"due": stats.merges_due, "rows": stats.merge_rows},
        "model": stats.model.as_ref().map(model), "dim": stats.dim, "metric": stats.metric.name(),
        "vectors": stats.vectors.name(), "text": stats.text.as_ref().map(text),
        "index": stats.index.name(), "indexes_due": stats.indexes_due, "commit": stats.commit, "format": stats.format,
        "uuid": stats.uuid,
        "bytes": {
            "file": stats.occupancy.file, "catalog": stats.occupancy.stream, "vectors": vectors(stats),
            "indexes": stats.index_bytes, "text": stats.text.as_ref().map_or(0, |text| text.bytes),
            "free": stats.occupancy.free, "pending": stats.occupancy.pending,
        },
        "memory": memory(stats),
        "backups": null,
    })
}

/// What is granted, and what is there.
fn memory(stats: &Stats) -> Value {
    let mut memory = memory_json(&stats.memory);
    let [anonymous, mapped] = ["RssAnon", "RssFile"].map(resident);
    memory["tail"] = json!(stats.tail_bytes);
    memory["text_tail"] = json!(stats.text.as_ref().map_or(0, |text| text.tail_memory));
    memory["row_sets"] = json!(stats.row_set_bytes);
    memory["resident"] = json!({"anonymous": anonymous, "mapped": mapped});
    memory
}

/// Bytes of the segments of vectors.
fn vectors(stats: &Stats) -> u64 {
    let other = stats.index_bytes + stats.text.as_ref().map_or(0, |text| text.bytes);
    stats.blob_bytes.saturating_sub(other)
}

fn text(text: &TextStats) -> Value {
    json!({
        "stem": text.stem.map(Language::name), "segments": text.segments, "rows": text.rows, "dead": text.dead,
        "bytes": text.bytes, "tail_bytes": text.tail_bytes,
    })
}

fn model(model: &ModelIdentity) -> Value {
    json!({
        "name": model.name, "dim": model.dim, "pooling": model.pooling, "normalised": model.normalised,
        "weights_sha256": model.weights_sha256, "tokenizer_sha256": model.tokenizer_sha256,
    })
}

/// What to say of the index of a segment.
fn index(segment: &SegmentStats) -> String {
    let note = segment.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
    if segment.recall.is_empty() {
        return note;
    }
    let measured = |point: &RecallPoint| format!("{:.3} at {}", point.recall, point.effort);
    let curve: Vec<String> = segment.recall.iter().step_by(2).map(measured).collect();
    format!("{note}, {}, recall {}", ByteSize::b(segment.index_bytes).display().iec(), curve.join(", "))
}

/// What to say of the text index.
fn text_line(text: &TextStats) -> String {
    let stem = text.stem.map_or_else(String::new, |language| format!(", stems of {language}"));
    format!(
        "{} segments of {} rows, {} of them dead, {} of text not in one yet{stem}",
        text.segments,
        text.rows,
        text.dead,
        ByteSize::b(text.tail_bytes).display().iec()
    )
}

/// Names and values in two columns.
struct Table(Vec<(String, String)>);

impl Table {
    fn of(path: &str, stats: &Stats) -> Self {
        let size = |bytes: u64| ByteSize::b(bytes).display().iec().to_string();
        let mut table = Table(Vec::new());
        let mut row = |name: &str, value: String| table.0.push((name.to_owned(), value));
        row("file", path.to_owned());
        row("documents", stats.documents.to_string());
        row("parts", stats.parts.to_string());
        row("dead rows", stats.dead.to_string());
        let dim = stats.dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string());
        row("vectors", format!("dimension {dim}, metric {}, {}", stats.metric, stats.vectors.name()));
        row("model", stats.model.as_ref().map_or("none", |model| &model.name).to_owned());
        row("tail", format!("{} vectors, {} in memory", stats.tail_rows, size(stats.tail_bytes)));
        row("segments", stats.segments.len().to_string());
        for segment in &stats.segments {
            let (rows, dead, bytes) = (segment.rows, segment.dead, size(segment.bytes));
            let text = format!("{rows} vectors, {dead} of them dead, {bytes}, {}", segment.index);
            row(&format!("  segment {}", segment.id), text + &index(segment));
        }
        if stats.merges_due > 0 {
            let text = format!("{} due, of {} vectors", stats.merges_due, stats.merge_rows);
            row("merges", text);
        }
        row("text", stats.text.as_ref().map_or_else(|| "none".to_owned(), text_line));
        if stats.indexes_due > 0 {
            row("indexes", format!("{} due", stats.indexes_due));
        }
        row("size on disk", size(stats.occupancy.file));
        row("  catalog", size(stats.occupancy.stream));
        row("  vectors", size(vectors(stats)));
        row("  indexes", size(stats.index_bytes));
        row("  text", size(stats.text.as_ref().map_or(0, |text| text.bytes)));
        row("  free", size(stats.occupancy.free));
        row("  pending", size(stats.occupancy.pending));
        let memory = &stats.memory;
        row("memory budget", format!("{} granted of {}", size(memory.granted), size(memory.budget)));
        for share in memory.components.iter().filter(|share| share.bytes > 0) {
            row(&format!("  {}", share.component), size(share.bytes));
        }
        row("commit", stats.commit.to_string());
        row("file format", stats.format.to_string());
        row("uuid", stats.uuid.clone());
        table
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (n, (name, value)) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{name:width$}  {value}")?;
        }
        Ok(())
    }
}
