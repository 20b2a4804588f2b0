//! Exchange with FAISS: its index files, written and read.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use super::memory::Component;
use super::{Snapshot, WriteTxn};
use crate::codec::to_u64;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::limits::BATCH_DOCUMENTS;
use crate::metric::Metric;
use crate::vector::faiss_stream::{FlatHeader, FlatReader, FlatWriter, Naming, Scaling};

/// The ids of lists are kept by the reader of the vectors and by that of the ids, and copied once.
const LISTED_TIMES: u64 = 3;

impl Snapshot {
    /// Writes all vectors as a FAISS index (`IndexFlat`) that any FAISS opens; returns their number. They are in the
    /// order of [`Snapshot::documents`] and their parts. Cosine becomes the inner product of unit vectors.
    ///
    /// Cost: one pass. Memory: 64 KiB. Durable: yes, and the file appears at once and whole.
    /// # Errors
    /// `Exists` when there is something at `path`; `Unavailable` while the store has no vector, so no dimension; `Io`.
    pub fn export_faiss(&self, path: impl AsRef<Path>) -> Result<u64> {
        let (path, view) = (path.as_ref(), self.view());
        let dim = view.dim().ok_or_else(|| Error::Unavailable {
            feature: "exporting vectors",
            reason: "the store has none and no dimension yet".into(),
        })?;
        let rows = view.live_rows(self.txn())?;
        let header = FlatHeader { metric: view.metric.into(), dim, rows, naming: Naming::Position };
        let scaling = if view.metric == Metric::Cosine { Scaling::Unit } else { Scaling::AsGiven };
        publish(path, |out| {
            let mut out = out;
            let mut writer = FlatWriter::new(&mut out, path, header, scaling)?;
            view.for_each_live(self.txn(), &mut |_, vector| writer.vector(vector))?;
            writer.finish()
        })?;
        Ok(rows)
    }

    /// Writes the index of a store as the index of FAISS that it is, which any FAISS opens and finds the same neighbours
    /// with; returns the number of vectors, which are in the order of [`Snapshot::documents`] and their parts.
    ///
    /// `hnsw`, `hnsw-sq8` and `hnsw-f32` become `IndexHNSWSQ` and `IndexHNSWFlat`, `sq8` and `sq4` become
    /// `IndexScalarQuantizer`, `exact` becomes `IndexFlat`. Cosine becomes the inner product of unit vectors. An index covers
    /// one segment, so the store must have been compacted and be unchanged since. Durable: yes, and the file appears at
    /// once and whole.
    /// # Errors
    /// `Unavailable` for a store of several segments, or with vectors outside of them or dead ones in them: compact it;
    /// `Corrupt` for a damaged index; as [`Snapshot::export_faiss`].
    pub fn export_faiss_index(&self, path: impl AsRef<Path>) -> Result<u64> {
        let (path, view) = (path.as_ref(), self.view());
        let refuse = |reason: String| Err(Error::Unavailable { feature: "exporting an index", reason });
        let segment = match view.segments.as_slice() {
            [segment] if view.counters.tail_rows == 0 && segment.dead_count(&view.dead) == 0 => segment,
            segments => {
                let (count, tail) = (segments.len(), view.counters.tail_rows);
                let dead: u64 = segments.iter().map(|segment| segment.dead_count(&view.dead)).sum();
                return refuse(format!(
                    "{count} segments, {tail} vectors outside of them and {dead} dead ones in them; compact the store"
                ));
            }
        };
        let Some(index) = view.indexes.get(&segment.id()) else { return self.export_faiss(path) };
        index.check(self.txn(), true)?;
        match index.get() {
            Ok(index) => publish(path, |out| index.write_faiss(out, path))?,
            Err(damage) => return refuse(damage.to_string()),
        }
        Ok(segment.count())
    }
}

/// Lets a file appear at once and whole.
fn publish(path: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let io = |source| Error::Io { op: "write", path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
    write(temporary.as_file())?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { what: "file", name: path.display().to_string() },
        _ => io(error.error),
    })
}

impl WriteTxn {
    /// Adds a document without text for each vector of a FAISS index file. Returns their number.
    ///
    /// Read are `IndexFlat`, `IndexScalarQuantizer` of 8 bits, `IndexHNSWFlat` and `IndexHNSWSQ` over these, `IndexIVFFlat`,
    /// and an `IndexIDMap` over any but the last. Ids of an id map or of lists become the documents' ids; else they are the
    /// positions. Codes become the values that they stand for; graphs and lists are not kept.
    ///
    /// FAISS itself does not read the file; every number in it is checked. Memory: some hundred vectors, and of lists 8
    /// bytes for each vector, several times.
    /// # Errors
    /// `NotFound`; `Corrupt` naming the field; `Unavailable` for another kind of index; `Memory`; as [`WriteTxn::add`].
    pub fn import_faiss(&mut self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let mut vectors = open(path)?;
        let dim = vectors.header().dim;
        let needs = LISTED_TIMES.saturating_mul(vectors.listed_bytes());
        let memory = Arc::clone(self.store.accountant());
        let _listed = memory.grant(Component::Importing, "importing so many ids of lists", needs)?;
        let mut ids = Ids::open(path, vectors.header())?;
        let mut done = 0;
        loop {
            let chunk = vectors.vectors()?;
            if chunk.is_empty() {
                return Ok(done);
            }
            let mut batch = Vec::with_capacity(BATCH_DOCUMENTS);
            for vector in chunk.chunks_exact(dim) {
                batch.push(Document::from_vector(vector.to_vec()).id(ids.next()?));
            }
            done += to_u64(batch.len());
            self.add(batch)?;
        }
    }
}

type Reader = FlatReader<BufReader<File>>;

fn open(path: &Path) -> Result<Reader> {
    let file = File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound { what: "file", name: path.display().to_string() },
        _ => Error::Io { op: "open", path: path.to_owned(), source },
    })?;
    let len =
        file.metadata().map_err(|source| Error::Io { op: "read", path: path.to_owned(), source })?.len();
    FlatReader::open(BufReader::new(file), len, path)
}

/// The names of the vectors, in their order. A file has ids after all vectors, so they are read through a second handle.
enum Ids {
    Positions(u64),
    Listed { reader: Box<Reader>, chunk: std::vec::IntoIter<i64> },
}

impl Ids {
    fn open(path: &Path, header: FlatHeader) -> Result<Self> {
        if header.naming == Naming::Position {
            return Ok(Ids::Positions(0));
        }
        let mut reader = Box::new(open(path)?);
        while !reader.vectors()?.is_empty() {}
        Ok(Ids::Listed { reader, chunk: Vec::new().into_iter() })
    }

    fn next(&mut self) -> Result<String> {
        match self {
            Ids::Positions(next) => {
                *next += 1;
                Ok((*next - 1).to_string())
            }
            Ids::Listed { reader, chunk } => {
                if chunk.len() == 0 {
                    *chunk = reader.ids()?.to_vec().into_iter();
                }
                let id = chunk
                    .next()
                    .ok_or_else(|| Error::corrupt("FAISS id map", 0, "it has fewer ids than vectors"))?;
                Ok(id.to_string())
            }
        }
    }
}
