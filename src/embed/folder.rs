//! A model folder: what its files say, checked against each other.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use super::ModelIdentity;
use super::bert_graph::{self, BertConfig};
use super::digest;
use super::onnx;
use super::weights::Matrix;
use crate::codec::to_u64;
use crate::error::{Error, Result};

/// The names of the files of a model folder.
pub(super) const WEIGHTS_SAFETENSORS: &str = "model.safetensors";
pub(super) const WEIGHTS_ONNX: &str = "model.onnx";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const CONFIG: &str = "config.json";
pub(super) const POOLING: &str = "1_Pooling/config.json";
pub(super) const LENGTH: &str = "sentence_bert_config.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const MODULES: &str = "modules.json";

/// The largest of the files that are not weights.
pub(super) const JSON_BYTES_MAX: u64 = 64 << 20;
/// The most tokens of a text that a folder may ask for.
const TOKENS_MAX: usize = 1 << 20;
/// The tokens of a text that are read where a folder does not say.
const TOKENS_DEFAULT: usize = 512;
/// What a session of the ONNX Runtime takes besides weights and computed values, and its thread, in bytes.
const SESSION_BYTES: u64 = 16 << 20;

/// How token vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    Cls,
    /// The model does it.
    Built,
}

impl Pooling {
    pub(super) fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Built => "built-in",
        }
    }
}

/// Where the graph and the weights of a model are.
#[derive(Clone, Debug)]
pub(super) enum Network {
    /// Weights in safetensors; the graph is built by us.
    Bert(BertConfig),
    /// Both in `model.onnx`, vectors in this output.
    Onnx(onnx::Output),
}

/// A folder whose parts fit each other.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) network: Network,
    pub(super) pooling: Pooling,
    pub(super) dim: usize,
    /// The tokens of a text that are read, with the marks that the model puts around it.
    pub(super) tokens_max: usize,
    /// Neither cuts nor pads.
    pub(super) tokenizer: Tokenizer,
    /// The weights that sessions share: none where the graph was read, or where values are not at multiples of four bytes.
    pub(super) matrices: Vec<Matrix>,
}

/// What is wrong with a folder, all of it.
struct Problems(Vec<String>);

impl Problems {
    /// Keeps a value, or notes what is wrong.
    fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}

impl Folder {
    /// Reads a folder.
    ///
    /// Cost: the small files, and of `model.onnx` all bytes; some 20 ms for a tokenizer of 30,000 entries.
    /// # Errors
    /// `Invalid` that names every missing part and every part that does not fit the others.
    pub(super) fn read(path: &Path) -> Result<Folder> {
        let mut problems = Problems(Vec::new());
        let folder = Self::examine(path, &mut problems);
        if let Some(folder) = folder
            && problems.0.is_empty()
        {
            return Ok(folder);
        }
        Err(Error::invalid(format!("model folder {}", path.display()), problems.0.join("; ")))
    }

    /// The most anonymous memory that so many sessions take: the weights of the layers as the processor wants them, once if
    /// they are shared, and what each computes from the longest text, in an arena that doubles. The weights of words stay
    /// mapped.
    pub(super) fn sessions_bytes(&self, sessions: usize) -> u64 {
        let tokens = to_u64(self.tokens_max).min(to_u64(TOKENS_DEFAULT) * 16);
        let (weights, computed) = match &self.network {
            Network::Bert(config) => (config.layer_bytes(), config.computed_bytes(tokens)),
            Network::Onnx(_) => {
                let file = fs::metadata(self.path.join(WEIGHTS_ONNX)).map_or(0, |found| found.len());
                // The graph does not say its sizes in a way that is worth reading: as if it were a small BERT.
                (file.saturating_mul(2), tokens.saturating_mul(tokens * 96 + to_u64(self.dim) * 64))
            }
        };
        let sessions = to_u64(sessions);
        let copies = if self.matrices.is_empty() { sessions } else { 1 };
        let each = computed.saturating_mul(2).saturating_add(SESSION_BYTES);
        weights.saturating_mul(copies).saturating_add(each.saturating_mul(sessions))
    }

    fn examine(path: &Path, problems: &mut Problems) -> Option<Folder> {
        let is_onnx = !path.join(WEIGHTS_SAFETENSORS).exists() && path.join(WEIGHTS_ONNX).exists();
        if !is_onnx && !path.join(WEIGHTS_SAFETENSORS).exists() {
            problems.0.push(format!("{WEIGHTS_SAFETENSORS} or {WEIGHTS_ONNX} is missing"));
        }
        let read = |file: &str| optional(path, file);
        let needed = |file: &str| read(file)?.ok_or_else(|| format!("{file} is missing"));
        let tokenizer = problems.take(needed(TOKENIZER).and_then(|bytes| tokenizer(&bytes)));
        let network = if is_onnx {
            problems.take(onnx_network(path))
        } else {
            let config = needed(CONFIG).and_then(|bytes| BertConfig::parse(CONFIG, &bytes).map_err(reason));
            problems.take(config).map(Network::Bert)
        };
        let mut matrices = Vec::new();
        if let Some(Network::Bert(config)) = &network
            && path.join(WEIGHTS_SAFETENSORS).exists()
        {
            let built = bert_graph::build(config, &path.join(WEIGHTS_SAFETENSORS)).map_err(reason);
            matrices = problems.take(built).map_or_else(Vec::new, |built| built.matrices);
        }
        if !matrices.iter().all(Matrix::is_aligned) {
            matrices.clear();
        }
        if let Some(Err(problem)) = read(MODULES).transpose().map(|bytes| modules(&bytes?)) {
            problems.0.push(problem);
        }
        let declared = match read(POOLING) {
            Ok(Some(bytes)) => problems.take(pooling(&bytes)).map(Some),
            Ok(None) if is_onnx => Some(None),
            Ok(None) => problems.take(Err(format!("{POOLING} is missing"))),
            Err(problem) => problems.take(Err(problem)),
        };
        let lengths = problems.take(lengths(path));
        let (tokenizer, network, declared, lengths) = (tokenizer?, network?, declared?, lengths?);
        let positions = match &network {
            Network::Bert(config) => {
                let (found, expected) = (tokenizer.get_vocab_size(true), config.vocab_size);
                if found > expected {
                    problems.0.push(format!(
                        "{TOKENIZER} has {found} entries, {CONFIG} has a vocab_size of {expected}"
                    ));
                }
                Some(config.max_position_embeddings)
            }
            Network::Onnx(_) => None,
        };
        let tokens_max = problems.take(tokens_max(lengths, positions))?;
        let (pooling, dim) = problems.take(shape(&network, declared))?;
        Some(Folder { path: path.into(), network, pooling, dim, tokens_max, tokenizer, matrices })
    }

    /// The file that holds the weights.
    pub(super) fn weights(&self) -> &'static str {
        match self.network {
            Network::Bert(_) => WEIGHTS_SAFETENSORS,
            Network::Onnx(_) => WEIGHTS_ONNX,
        }
    }

    /// The graph as an ONNX file: built, or read.
    pub(super) fn graph(&self) -> Result<Vec<u8>> {
        let weights = self.path.join(self.weights());
        match &self.network {
            Network::Bert(config) => Ok(bert_graph::build(config, &weights)?.onnx),
            Network::Onnx(_) => {
                fs::read(&weights).map_err(|source| Error::Io { op: "read", path: weights, source })
            }
        }
    }

    /// What makes this model give the vectors that it gives.
    pub(super) fn identity(&self, name: &str) -> Result<ModelIdentity> {
        Ok(ModelIdentity {
            name: name.into(),
            dim: self.dim,
            pooling: self.pooling.name().into(),
            normalised: true,
            weights_sha256: digest::sha256(&self.path, self.weights())?,
            tokenizer_sha256: digest::sha256(&self.path, TOKENIZER)?,
        })
    }
}

/// A small file of the folder, `None` if there is none.
fn optional(path: &Path, file: &str) -> Result<Option<Vec<u8>>, String> {
    let open = match File::open(path.join(file)) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{file} cannot be opened: {error}")),
    };
    let mut bytes = Vec::new();
    open.take(JSON_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{file} cannot be read: {error}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > JSON_BYTES_MAX) {
        return Err(format!("{file} is longer than {JSON_BYTES_MAX} bytes"));
    }
    Ok(Some(bytes))
}

fn json(file: &str, bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{file} is no JSON: {error}"))
}

fn tokenizer(bytes: &[u8]) -> Result<Tokenizer, String> {
    let mut tokenizer =
        Tokenizer::from_bytes(bytes).map_err(|error| format!("{TOKENIZER} cannot be read: {error}"))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| format!("{TOKENIZER} cannot be used: {error}"))?;
    Ok(tokenizer)
}

/// What an error says, without the place where the reader of the message is anyway.
fn reason(error: Error) -> String {
    match error {
        Error::Invalid { what, reason } => format!("{what}: {reason}"),
        other => other.to_string(),
    }
}

fn onnx_network(path: &Path) -> Result<Network, String> {
    let bytes = fs::read(path.join(WEIGHTS_ONNX))
        .map_err(|error| format!("{WEIGHTS_ONNX} cannot be read: {error}"))?;
    onnx::output(WEIGHTS_ONNX, &bytes).map(Network::Onnx).map_err(reason)
}

/// Refuses steps after the pooling that we do not run.
fn modules(bytes: &[u8]) -> Result<(), String> {
    let modules = json(MODULES, bytes)?;
    let known = ["Transformer", "Pooling", "Normalize"];
    for module in modules.as_array().into_iter().flatten() {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
        if !known.contains(&kind.rsplit('.').next().unwrap_or_default()) {
            return Err(format!("{MODULES} has a step {kind:?}, which is not supported"));
        }
    }
    Ok(())
}

/// The pooling, and the number of values that it expects.
fn pooling(bytes: &[u8]) -> Result<(Pooling, Option<u64>), String> {
    let config = json(POOLING, bytes)?;
    let dim = config.get("word_embedding_dimension").and_then(Value::as_u64);
    let chosen: Vec<&str> = config
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    match chosen.as_slice() {
        ["pooling_mode_mean_tokens"] => Ok((Pooling::Mean, dim)),
        ["pooling_mode_cls_token"] => Ok((Pooling::Cls, dim)),
        [] => Err(format!("{POOLING} names no pooling")),
        modes => Err(format!(
            "{POOLING} asks for {}, only pooling_mode_mean_tokens or pooling_mode_cls_token alone is supported",
            modes.join(" with ")
        )),
    }
}

/// The tokens of a text that the folder asks for, and those that the tokenizer's configuration allows.
fn lengths(path: &Path) -> Result<(Option<usize>, Option<usize>), String> {
    let number = |file: &str, key: &str| -> Result<Option<usize>, String> {
        let Some(bytes) = optional(path, file)? else { return Ok(None) };
        let value = json(file, &bytes)?;
        // "No limit" is written as a number beyond every integer.
        Ok(value.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()))
    };
    Ok((number(LENGTH, "max_seq_length")?, number(TOKENIZER_CONFIG, "model_max_length")?))
}

fn tokens_max(lengths: (Option<usize>, Option<usize>), positions: Option<usize>) -> Result<usize, String> {
    if let (Some(asked), Some(positions)) = (lengths.0, positions)
        && asked > positions
    {
        return Err(format!(
            "{LENGTH} has a max_seq_length of {asked}, {CONFIG} a max_position_embeddings of {positions}"
        ));
    }
    let allowed = lengths.1.filter(|&n| n <= TOKENS_MAX).or(positions).unwrap_or(TOKENS_DEFAULT);
    let tokens = lengths.0.unwrap_or_else(|| positions.map_or(allowed, |positions| allowed.min(positions)));
    if (4..=TOKENS_MAX).contains(&tokens) {
        Ok(tokens)
    } else {
        Err(format!("{LENGTH} has a max_seq_length of {tokens}, expected 4 to {TOKENS_MAX}"))
    }
}

/// The pooling to do and the dimension that comes out.
fn shape(network: &Network, declared: Option<(Pooling, Option<u64>)>) -> Result<(Pooling, usize), String> {
    let (weights, dim, pooling) = match network {
        Network::Bert(config) => (CONFIG, config.hidden_size, None),
        Network::Onnx(output) => {
            let asked = declared.and_then(|(_, dim)| usize::try_from(dim?).ok());
            let dim = output.dim.or(asked).ok_or_else(|| {
                format!("{WEIGHTS_ONNX} does not say how many values a vector has, nor does {POOLING}")
            })?;
            (WEIGHTS_ONNX, dim, (!output.per_token).then_some(Pooling::Built))
        }
    };
    if let Some((_, Some(asked))) = declared
        && u64::try_from(dim).is_ok_and(|dim| dim != asked)
    {
        return Err(format!("{POOLING} expects {asked} values a token, {weights} has {dim}"));
    }
    let pooling = pooling.or(declared.map(|(pooling, _)| pooling)).unwrap_or(Pooling::Mean);
    Ok((pooling, dim))
}
