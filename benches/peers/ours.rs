//! vdb in the comparison: a store as its users have it.

use std::hash::{DefaultHasher, Hasher as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use vdb::{Background, Control, Document, IndexKind, OpenOptions, Query, Store};

use crate::common::time;
use crate::data::Data;
use crate::peer::Found;
use crate::{Fault, K};

/// The recalls to ask for.
const RECALLS: [f32; 12] = [0.5, 0.8, 0.86, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995];
/// Documents that are read at a time to be added.
const BATCH: usize = 10_000;

/// The file of the store.
pub(crate) fn path(data: &Data) -> PathBuf {
    data.directory.join("store.vdb")
}

/// The seconds that making a store takes.
#[derive(Clone, Copy, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Made {
    /// To add the documents.
    pub(crate) adding: f64,
    /// To merge what was added into large segments.
    pub(crate) merging: f64,
    /// To build their indexes and write them.
    pub(crate) indexing: f64,
}

/// A number for this program, which has vdb in it: another for other code.
pub(crate) fn program() -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(std::env::current_exe()?)?);
    Ok(hasher.finish())
}

/// Does something while this process is kept to one processor, as peers.py keeps itself: what it starts stays there, too.
pub(crate) fn on_one_processor<T>(work: impl FnOnce() -> T) -> std::io::Result<T> {
    let all = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one)?;
    let done = work();
    sched_setaffinity(None, &all)?;
    Ok(done)
}

/// Makes the store.
pub(crate) fn build(data: &Data) -> Result<Made, Fault> {
    let file = path(data);
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    let threads = NonZero::new(2).unwrap_or(NonZero::<usize>::MIN);
    // What is chosen by itself, from 10,000 rows on.
    let kind = IndexKind::HnswSq8;
    let options = OpenOptions::new().index(kind).threads(threads).background(Background::None);
    let store = options.create(&file)?;
    let mut adding = 0.0;
    data.for_each_batch(data.rows, BATCH, |batch| {
        let documents: vdb::Result<Vec<Document>> = batch
            .into_iter()
            .map(|(vector, one)| {
                let text = one["text"].as_str().unwrap_or_default();
                let document = Document::new(text).id(one["id"].as_str().unwrap_or_default()).vector(vector);
                document.metadata_json(&one["metadata"].to_string())
            })
            .collect();
        let documents = documents?;
        let (seconds, _) = time(|| store.add(documents))?;
        adding += seconds;
        Ok(())
    })?;
    let started = Instant::now();
    let merging = Arc::new(OnceLock::new());
    let merged = Arc::clone(&merging);
    store.compact(&Control::new().on_progress(move |progress| {
        if progress.stage == "index" {
            merged.get_or_init(|| started.elapsed().as_secs_f64());
        }
    }))?;
    let (merging, all) = (merging.get().copied().unwrap_or_default(), started.elapsed().as_secs_f64());
    store.close()?;
    Ok(Made { adding, merging, indexing: all - merging })
}

/// Opens a store as its readers do.
pub(crate) fn open(file: &Path) -> vdb::Result<Store> {
    OpenOptions::new().read_only(true).open(file)
}

/// The recalls for which the store uses its graphs; of several at which it finds the same the first.
pub(crate) fn settings(store: &Store, data: &Data) -> Result<Vec<Value>, Fault> {
    let (mut settings, mut last) = (Vec::new(), Vec::new());
    for recall in RECALLS {
        let query = Query::vector(data.queries[0].clone()).recall(recall);
        if store.snapshot()?.explain(&query)?.plan.path == "exact" {
            continue;
        }
        // As it is written above, not as f64 has it.
        let setting = serde_json::from_str(&recall.to_string())?;
        let (_, found) = search(store, data, &setting, "ids")?;
        if found != last {
            settings.push(setting);
            last = found;
        }
    }
    Ok(settings)
}

/// Searches with the first queries; returns the seconds, and what each found.
pub(crate) fn search(store: &Store, data: &Data, setting: &Value, mode: &str) -> Result<Found, Fault> {
    let recall: f32 = serde_json::from_value(setting.clone())?;
    let query = |vector: &Vec<f32>| {
        let query = Query::vector(vector.clone()).k(K).recall(recall);
        if mode == "ids" { query.ids_only() } else { query }
    };
    let queries: Vec<Query> = data.queries.iter().map(query).collect();
    let (seconds, found) =
        time(|| queries.iter().map(|query| store.search(query)).collect::<vdb::Result<Vec<_>>>())?;
    let rows = found.into_iter().map(|hits| hits.iter().map(|hit| Ok(hit.id.parse()?)).collect());
    Ok((seconds, rows.collect::<Result<_, Fault>>()?))
}
