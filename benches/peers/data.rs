//! The data of the comparison: vectors, queries and documents, in files that every library reads.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vdb::Embedder;
use vdb::embed::{DEFAULT_MODEL, LoadOptions, Models};

use crate::common::{Clusters, Shape};
use crate::{Fault, K};

/// The queries of made data, at most.
const QUERIES: usize = 1000;
/// A query compares with every row once for the truth; so many products are enough.
const PRODUCTS_MAX: usize = 400_000_000_000;
/// The bytes of a text of made documents.
const TEXT_BYTES: usize = 200;
/// The texts that are embedded at a time.
const BATCH: usize = 256;

/// Vectors with their queries, in a directory.
pub(crate) struct Data {
    pub(crate) name: String,
    /// What it is, in a sentence.
    pub(crate) about: String,
    pub(crate) directory: PathBuf,
    pub(crate) dim: usize,
    pub(crate) rows: usize,
    pub(crate) queries: Vec<Vec<f32>>,
    /// The ten nearest rows of each query.
    pub(crate) truth: Vec<Vec<u64>>,
}

impl Data {
    /// Clustered vectors, made as `ROWSxDIM` says.
    pub(crate) fn made(place: &Path, shape: &str) -> Result<Self, Fault> {
        let numbers = shape.split_once('x').map(|(rows, dim)| Ok((rows.parse()?, dim.parse()?)));
        let (rows, dim): (usize, usize) = numbers
            .unwrap_or_else(|| Err(format!("{shape}: ROWSxDIM expected, such as 100000x384").into()))
            .map_err(|fault: Fault| format!("{shape}: {fault}"))?;
        let queries = (PRODUCTS_MAX / (rows * dim).max(1)).clamp(200, QUERIES);
        let directory = place.join(shape);
        if !directory.join("shape.json").exists() {
            fs::create_dir_all(&directory)?;
            let mut clusters = Clusters::new(dim);
            write_vectors(&directory.join("base.f32"), rows, || clusters.next_unit())?;
            write_vectors(&directory.join("queries.f32"), queries, || clusters.next_unit())?;
            let mut out = BufWriter::new(File::create(directory.join("documents.jsonl"))?);
            let shape = Shape { dim: 0, text: TEXT_BYTES };
            for number in 0..rows {
                let document = shape.document(number as u64);
                let metadata: Value = serde_json::from_str(document.metadata_ref().as_json())?;
                let text = document.text().unwrap_or_default();
                writeln!(out, "{}", json!({"id": number.to_string(), "text": text, "metadata": metadata}))?;
            }
            out.flush()?;
            write_shape(&directory, dim)?;
        }
        let about = format!("{rows} clustered vectors of {dim} values, {queries} queries");
        Data::open(shape, about, directory)
    }

    /// The texts of every `corpus.jsonl` in a directory and in those within it, under all-MiniLM-L6-v2.
    pub(crate) fn embedded(place: &Path, texts: &Path) -> Result<Self, Fault> {
        let directory = place.join("texts");
        if !directory.join("shape.json").exists() {
            fs::create_dir_all(&directory)?;
            let (mut corpus, mut queries) = (Vec::new(), Vec::new());
            let within = fs::read_dir(texts)?.filter_map(|entry| Some(entry.ok()?.path()));
            let mut folders: Vec<PathBuf> = within.chain([texts.to_owned()]).collect();
            folders.sort();
            for folder in folders.iter().filter(|folder| folder.join("corpus.jsonl").exists()) {
                corpus.extend(read_lines(&folder.join("corpus.jsonl"))?);
                queries.extend(read_lines(&folder.join("queries.jsonl"))?);
            }
            if corpus.is_empty() {
                return Err(format!("{}: no corpus.jsonl is there or a level below", texts.display()).into());
            }
            // Every set has its part among them.
            let step = queries.len().div_ceil(QUERIES).max(1);
            let queries: Vec<Value> = queries.into_iter().step_by(step).collect();
            embed(&directory.join("base.f32"), &corpus)?;
            embed(&directory.join("queries.f32"), &queries)?;
            let mut out = BufWriter::new(File::create(directory.join("documents.jsonl"))?);
            for (number, one) in corpus.iter().enumerate() {
                let metadata = json!({"number": number});
                writeln!(
                    out,
                    "{}",
                    json!({"id": number.to_string(), "text": one["text"], "metadata": metadata})
                )?;
            }
            out.flush()?;
            write_shape(&directory, DIM_OF_MODEL)?;
        }
        let rows = fs::metadata(directory.join("base.f32"))?.len() / (4 * DIM_OF_MODEL as u64);
        Data::open("texts", format!("{rows} texts under {DEFAULT_MODEL}"), directory)
    }

    fn open(name: &str, about: String, directory: PathBuf) -> Result<Self, Fault> {
        let shape: Value = serde_json::from_slice(&fs::read(directory.join("shape.json"))?)?;
        let dim = shape["dim"].as_u64().and_then(|dim| usize::try_from(dim).ok()).ok_or("no dimension")?;
        let rows = fs::metadata(directory.join("base.f32"))?.len() / (4 * dim as u64);
        let queries = floats(&fs::read(directory.join("queries.f32"))?);
        Ok(Data {
            name: name.to_owned(),
            about,
            dim,
            rows: usize::try_from(rows)?,
            queries: queries.chunks_exact(dim).map(<[f32]>::to_vec).collect(),
            truth: Vec::new(),
            directory,
        })
    }

    /// Reads the truth, once it is there.
    pub(crate) fn read_truth(&mut self) -> Result<(), Fault> {
        let bytes = fs::read(self.directory.join("truth.u32"))?;
        let rows: Vec<u64> = bytes
            .chunks_exact(4)
            .map(|row| u64::from(u32::from_le_bytes([row[0], row[1], row[2], row[3]])))
            .collect();
        self.truth = rows.chunks_exact(K).map(<[u64]>::to_vec).collect();
        if self.truth.len() == self.queries.len() {
            Ok(())
        } else {
            Err("truth.u32 has another length".into())
        }
    }

    /// Calls `visit` with batches of the first rows: their vectors and their documents.
    pub(crate) fn for_each_batch(
        &self,
        rows: usize,
        size: usize,
        mut visit: impl FnMut(Vec<(Vec<f32>, Value)>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut vectors = BufReader::with_capacity(1 << 20, File::open(self.directory.join("base.f32"))?);
        let mut documents = BufReader::new(File::open(self.directory.join("documents.jsonl"))?).lines();
        let mut bytes = vec![0; 4 * self.dim];
        let rows = rows.min(self.rows);
        for start in (0..rows).step_by(size) {
            let mut batch = Vec::with_capacity(size);
            for _ in start..(start + size).min(rows) {
                std::io::Read::read_exact(&mut vectors, &mut bytes)?;
                let document = documents.next().ok_or("there are fewer documents than vectors")??;
                batch.push((floats(&bytes), serde_json::from_str(&document)?));
            }
            visit(batch)?;
        }
        Ok(())
    }
}

/// The values of a vector of the model.
const DIM_OF_MODEL: usize = 384;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]])).collect()
}

fn write_vectors(path: &Path, count: usize, mut next: impl FnMut() -> Vec<f32>) -> Result<(), Fault> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..count {
        for value in next() {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}

/// Last of all files: with it the directory is whole.
fn write_shape(directory: &Path, dim: usize) -> Result<(), Fault> {
    Ok(fs::write(directory.join("shape.json"), json!({ "dim": dim }).to_string())?)
}

fn read_lines(path: &Path) -> Result<Vec<Value>, Fault> {
    let file = BufReader::new(File::open(path).map_err(|fault| format!("{}: {fault}", path.display()))?);
    file.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// Writes the vectors of texts; those that a model's limit cuts are searched by their beginning.
fn embed(path: &Path, texts: &[Value]) -> Result<(), Fault> {
    let embedder = LoadOptions::new().load(&Models::of_user()?, DEFAULT_MODEL)?;
    let mut out = BufWriter::new(File::create(path)?);
    for batch in texts.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|one| one["text"].as_str().unwrap_or_default()).collect();
        for value in embedder.embed(&texts)?.vectors {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}
