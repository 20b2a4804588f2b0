//! Another library, in a Python process of its own that answers line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Fault;

/// The libraries, by the names that the script knows.
pub(crate) const NAMES: [&str; 7] =
    ["faiss-cpu", "usearch-f32", "usearch-f16", "hnswlib", "zvec", "lancedb", "chromadb"];

/// What a library says of itself.
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Which index it builds.
    pub(crate) index: String,
    pub(crate) dispatch: String,
    pub(crate) modes: Vec<String>,
    pub(crate) settings: Vec<Value>,
    pub(crate) queries: usize,
}

/// What is needed to start a library.
pub(crate) struct Start<'a> {
    pub(crate) python: &'a Path,
    pub(crate) directory: &'a Path,
}

impl Start<'_> {
    fn command(&self, name: &str, task: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/peers.py");
        let mut command = Command::new(self.python);
        command.arg(script).arg(name).arg(self.directory).arg(task);
        command
    }

    /// Runs a task to its end; returns its last line.
    fn run(&self, name: &str, task: &str) -> Result<Value, Fault> {
        let output = self.command(name, task).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let reason = said.lines().last().unwrap_or_default();
            return Err(format!("{name}, {task}: {}: {reason}", output.status).into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().rfind(|line| line.starts_with('{')).unwrap_or("{}");
        Ok(serde_json::from_str(last)?)
    }

    /// Asks a library what it is; an error says why it cannot be used on this machine.
    pub(crate) fn probe(&self, name: &str) -> Result<About, Fault> {
        let told = self.run(name, "probe")?;
        if let Some(reason) = told["missing"].as_str() {
            return Err(reason.into());
        }
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        Ok(About {
            name: name.to_owned(),
            version: text("version"),
            index: text("about"),
            dispatch: text("dispatch"),
            modes: serde_json::from_value(told["modes"].clone())?,
            settings: serde_json::from_value(told["settings"].clone())?,
            queries: serde_json::from_value(told["queries"].clone())?,
        })
    }

    /// The file that tells that a library has built, and in how many seconds.
    fn built(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.built"))
    }

    /// The seconds that building took in an earlier run.
    pub(crate) fn known<T: DeserializeOwned>(&self, name: &str) -> Option<Vec<T>> {
        serde_json::from_slice(&std::fs::read(self.built(name)).ok()?).ok()
    }

    /// Keeps the seconds of builds for later runs.
    pub(crate) fn keep<T: Serialize>(&self, name: &str, seconds: &[T]) -> Result<(), Fault> {
        Ok(std::fs::write(self.built(name), serde_json::to_vec(seconds)?)?)
    }

    /// Lets a library build; returns the seconds.
    pub(crate) fn build(&self, name: &str) -> Result<f64, Fault> {
        self.run(name, "build")?["seconds"].as_f64().ok_or_else(|| format!("{name} told no time").into())
    }

    /// Lets the script find the true nearest, unless they are known.
    pub(crate) fn truth(&self) -> Result<(), Fault> {
        if !self.directory.join("truth.u32").exists() {
            self.run("", "truth")?;
        }
        Ok(())
    }

    /// Starts a library that has built.
    pub(crate) fn serve(&self, name: &str) -> Result<Peer, Fault> {
        let mut command = self.command(name, "serve");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut peer = Peer { name: name.to_owned(), child, input, output };
        peer.line()?;
        Ok(peer)
    }
}

/// A library at work.
pub(crate) struct Peer {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn line(&mut self) -> Result<Value, Fault> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("{} has ended: {}", self.name, self.child.wait()?).into());
            }
            // Some libraries print lines of their own.
            if line.starts_with('{') {
                return Ok(serde_json::from_str(&line)?);
            }
        }
    }

    /// Searches with the first queries; returns the seconds, and what each found.
    pub(crate) fn search(&mut self, setting: &Value, mode: &str, queries: usize) -> Result<Found, Fault> {
        writeln!(self.input, "{}", json!({"setting": setting, "mode": mode, "queries": queries}))?;
        let answer = self.line()?;
        let seconds = answer["seconds"].as_f64().ok_or_else(|| format!("{} told no time", self.name))?;
        Ok((seconds, serde_json::from_value(answer["found"].clone())?))
    }
}

/// Seconds, and the rows that each query found.
pub(crate) type Found = (f64, Vec<Vec<u64>>);

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
