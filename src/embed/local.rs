//! Embedding models that run in this process.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::{fmt, ops::Range};

use tokenizers::{Tokenizer, TruncationParams};

use super::chunking::{Chunking, Measure};
use super::folder::Folder;
use super::models::Models;
use super::session::{Sessions, Worker};
use super::{Embedder, Embeddings, Fit, ModelIdentity};
use crate::error::{Error, Result};

/// The texts that make it worth to wake another worker.
const TEXTS_PER_WORKER: usize = 8;

/// What the words of a tokenizer take, in bytes.
const TOKENIZER_BYTES: u64 = 16 << 20;

/// A model that needs more tokens than this for a character of some texts was not made for their language: it cuts words
/// into letters, and finds little.
///
/// all-MiniLM-L6-v2 needs 0.23 for English, 0.32 for German and French, 0.65 for program code; 0.83 for Greek, 0.87 for
/// Russian, 1.0 for Chinese and Japanese, 1.22 for Korean. A script of which it knows no letter at all, such as Thai, does
/// not show: its words become one unknown token each.
pub const SHREDDED_TOKENS_PER_CHAR: f64 = 0.75;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    threads: usize,
    chunking: Chunking,
    lazy: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions::new()
    }
}

impl LoadOptions {
    /// One worker for each processor, texts cut into parts as long as the model reads.
    pub fn new() -> Self {
        LoadOptions {
            threads: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            chunking: Chunking::Auto,
            lazy: false,
        }
    }

    /// The most texts that are embedded at once, each by one thread; 0 counts as 1. Replaces what was set before.
    ///
    /// Every worker that is needed takes memory of its own: what it computes from the longest text. The weights of a model in
    /// safetensors are shared; of one in an ONNX file each worker has a copy.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How long texts are cut. Replaces what was set before.
    #[must_use]
    pub fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// Makes the first worker, too, when the first text comes: loading reads the small files of the model alone, and
    /// embedding fails where the ONNX Runtime is missing.
    #[must_use]
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Loads a model and its first worker.
    ///
    /// # Errors
    /// `Unavailable` if the model or the ONNX Runtime is not on this machine; `Invalid` if the model's folder or the
    /// chunking is not valid; `Embed` with the runtime's own error.
    pub fn load(&self, models: &Models, name: &str) -> Result<LocalModel> {
        let folder = Folder::read(&models.path(name)?)?;
        let identity = folder.identity(name)?;
        let measure = Measure::new(folder.tokenizer.clone(), folder.tokens_max, self.chunking)?;
        let tokenizer = truncating(&folder)?;
        let workers = (0..self.threads).map(|_| Mutex::new(None)).collect();
        let (models, sessions) = (models.clone(), Mutex::new(None));
        let model = LocalModel { identity, measure, folder, tokenizer, models, sessions, workers };
        if !self.lazy {
            model.wake()?;
        }
        Ok(model)
    }
}

/// An embedding model that runs in this process, on its processors.
///
/// The vector of a text does not depend on the texts beside it, nor on the number of workers. Vectors are one long.
/// A text that is longer than the model reads is read up to there, and counted in [`Embeddings::truncated`].
pub struct LocalModel {
    identity: ModelIdentity,
    measure: Measure,
    folder: Folder,
    /// Cuts texts where the model stops reading.
    tokenizer: Tokenizer,
    models: Models,
    /// What makes sessions, made when the first is needed.
    sessions: Mutex<Option<Sessions>>,
    /// Each with a session of one thread, made when it is first needed.
    workers: Vec<Mutex<Option<Worker>>>,
}

impl LocalModel {
    /// Loads a model with the options of [`LoadOptions::new`].
    ///
    /// # Errors
    /// Those of [`LoadOptions::load`].
    pub fn load(models: &Models, name: &str) -> Result<Self> {
        LoadOptions::new().load(models, name)
    }

    /// Makes the first worker, unless it is there: see [`LoadOptions::lazy`].
    ///
    /// # Errors
    /// `Unavailable` if the ONNX Runtime is not on this machine; `Embed` with its own error.
    pub fn wake(&self) -> Result<()> {
        self.worker(0).map(drop)
    }

    /// The folder of the model.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The most tokens of a text that the model reads, with the marks that it puts around it.
    pub fn tokens_max(&self) -> usize {
        self.measure.tokens_max()
    }

    /// The tokens that the model needs for a character of such texts: see [`SHREDDED_TOKENS_PER_CHAR`].
    ///
    /// Of each text the first 8 KiB are looked at.
    pub fn tokens_per_char(&self, sample: &[&str]) -> f64 {
        self.measure.tokens_per_char(sample)
    }

    /// How many workers embed so many texts.
    fn workers_for(&self, texts: usize) -> usize {
        self.workers.len().min(texts.div_ceil(TEXTS_PER_WORKER))
    }

    /// A worker with its session.
    fn worker(&self, n: usize) -> Result<MutexGuard<'_, Option<Worker>>> {
        let mut worker = self.workers[n].lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            // One after the other: what the first makes of the weights is there for the second.
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let sessions = match &mut *sessions {
                Some(sessions) => sessions,
                none => none.insert(Sessions::new(&self.folder, &self.models)?),
            };
            *worker = Some(sessions.make(&self.folder)?);
        }
        Ok(worker)
    }

    /// Takes texts from the queue, until it is empty, into `(place, vector)`.
    fn work(&self, n: usize, queue: &Queue<'_>) -> Result<Vec<(usize, Vec<f32>)>> {
        let mut worker = self.worker(n)?;
        let mut done = Vec::new();
        while let (Some((place, text)), Some(session)) = (queue.next(), worker.as_mut()) {
            // One text a run: no padding, so that neighbours cannot matter, and the runtime's memory stays that of the
            // longest text.
            let tokens = self.tokenizer.encode(text, true).map_err(|source| Error::Embed { source })?;
            done.push((place, session.embed(&self.identity.name, &tokens)?));
        }
        Ok(done)
    }
}

/// Texts to embed, the longest first, so that the workers end together.
struct Queue<'a> {
    texts: Vec<(usize, &'a str)>,
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn next(&self) -> Option<(usize, &'a str)> {
        self.texts.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

impl Embedder for LocalModel {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// Cost: one run of the model for each text, in order of length, on as many threads as the model has workers.
    fn embed(&self, texts: &[&str]) -> Result<Embeddings> {
        let mut truncated = 0;
        let mut sized = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            let (read, tokens) = self.measure.read(text);
            truncated += usize::from(tokens > self.measure.tokens_max());
            sized.push((tokens, place, read));
        }
        sized.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let texts_in_order = sized.into_iter().map(|(_, place, text)| (place, text)).collect();
        let queue = Queue { texts: texts_in_order, next: AtomicUsize::new(0) };
        let workers = self.workers_for(texts.len());
        let done = thread::scope(|scope| {
            let queue = &queue;
            let others: Vec<_> = (1..workers).map(|n| scope.spawn(move || self.work(n, queue))).collect();
            let mut done = vec![self.work(0, queue)];
            done.extend(others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| {
                    Err(Error::Native { call: "embed", message: "a worker panicked".into() })
                })
            }));
            done.into_iter().collect::<Result<Vec<_>>>()
        })?;
        let dim = self.identity.dim;
        let mut vectors = vec![0.0; texts.len() * dim];
        for (place, vector) in done.into_iter().flatten() {
            vectors[place * dim..(place + 1) * dim].copy_from_slice(&vector);
        }
        Ok(Embeddings { vectors, truncated })
    }

    /// The tokenizer, the weights, and a session for each worker that is needed.
    fn memory_bytes(&self, texts: usize) -> u64 {
        self.folder.sessions_bytes(self.workers_for(texts)).saturating_add(TOKENIZER_BYTES)
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        self.measure.split(text)
    }

    fn fit(&self, text: &str) -> Option<Fit> {
        self.measure.fit(text)
    }
}

impl fmt::Debug for LocalModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalModel")
            .field("identity", &self.identity)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

/// The tokenizer of a folder, that cuts texts where the model stops reading. It pads nothing: there is one text a run.
fn truncating(folder: &Folder) -> Result<Tokenizer> {
    let mut tokenizer = folder.tokenizer.clone();
    let truncation = TruncationParams { max_length: folder.tokens_max, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|source| Error::Embed { source })?;
    Ok(tokenizer)
}
