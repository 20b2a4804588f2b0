//! A place to run the program in, and what it left behind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vdb::{Document, ModelIdentity, OpenOptions, Store};

/// A directory in which `vdb` runs, so that its messages name files without a path.
pub(crate) struct Scene {
    directory: PathBuf,
    /// Goes with the scene, if it was made for it.
    _made: Option<tempfile::TempDir>,
}

/// What a run left behind.
#[must_use = "look at what the run printed"]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Option<i32>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let made = tempfile::tempdir().unwrap();
        Scene { directory: made.path().to_owned(), _made: Some(made) }
    }

    /// In a directory that is there.
    pub(crate) fn at(directory: impl Into<PathBuf>) -> Self {
        Scene { directory: directory.into(), _made: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
        command.current_dir(&self.directory).args(words).stdin(Stdio::null()).env_remove("NO_COLOR");
        command
    }

    pub(crate) fn vdb(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    /// Runs with the models of another directory.
    pub(crate) fn with_models(&self, models: impl AsRef<Path>, words: &[&str]) -> Ran {
        Ran::of(self.command(words).env("VDB_MODELS", models.as_ref()).output().unwrap())
    }

    /// Runs with `input` on standard input.
    pub(crate) fn fed(&self, words: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let (mut command, path) = (self.command(words), self.path("fed"));
        std::fs::write(&path, input).unwrap();
        Ran::of(command.stdin(std::fs::File::open(&path).unwrap()).output().unwrap())
    }

    /// A store of one document, whose model `mini` nobody has.
    pub(crate) fn with_model_mini(&self, name: &str) {
        let model = ModelIdentity {
            name: "mini".into(),
            dim: 2,
            pooling: "mean".into(),
            normalised: true,
            weights_sha256: "ab".repeat(32),
            tokenizer_sha256: "cd".repeat(32),
        };
        let store = OpenOptions::new().model(model).create(self.path(name)).unwrap();
        store.add([Document::new("text").id("a").vector(vec![1.0, 0.0])]).unwrap();
        store.close().unwrap();
    }

    /// A store with some documents, of which some are deleted.
    pub(crate) fn filled(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let store = Store::create(&path).unwrap();
        let document =
            |n: u8| Document::new(format!("text {n}")).id(format!("{n}")).vector(vec![f32::from(n), 1.0]);
        store.add((0..50).map(document)).unwrap();
        store.delete((0..20).map(|n: u8| n.to_string())).unwrap();
        store.close().unwrap();
        path
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Ran {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            exit: output.status.code(),
        }
    }

    /// All of it in one text.
    pub(crate) fn picture(&self) -> String {
        let mut text = String::new();
        for (name, stream) in [("out", &self.stdout), ("err", &self.stderr)] {
            for line in stream.lines() {
                let _ = writeln!(text, "{name}| {line}");
            }
        }
        let _ = write!(text, "exit {}", self.exit.map_or("by signal".to_owned(), |exit| exit.to_string()));
        text
    }

    /// The JSON lines of stdout.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only JSON line of stderr, an error.
    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.stdout, "");
        let mut line: Value = serde_json::from_str(self.stderr.trim_end()).unwrap();
        assert_eq!(line["type"], "error");
        line["data"].take()
    }
}
