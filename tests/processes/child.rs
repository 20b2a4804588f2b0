//! A child process that speaks in lines: this test binary, started again in a role.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROLE: &str = "VDB_TEST_ROLE";
const STORE: &str = "VDB_TEST_STORE";
/// What tells lines of ours from those of the test harness.
const MARK: char = '@';
/// No child outlives this, whatever becomes of its parent.
const LIFE_MAX: Duration = Duration::from_mins(5);

/// The role of this process, if it is a child.
pub(crate) fn role() -> Option<String> {
    let role = std::env::var(ROLE).ok()?;
    std::thread::spawn(|| {
        std::thread::sleep(LIFE_MAX);
        std::process::exit(86);
    });
    Some(role)
}

/// The store that this child was started for.
pub(crate) fn store_path() -> PathBuf {
    std::env::var_os(STORE).unwrap().into()
}

/// A number that the parent gave.
pub(crate) fn number(variable: &str) -> u64 {
    std::env::var(variable).unwrap().parse().unwrap()
}

/// Tells the parent something.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The harness may have begun a line of its own.
    writeln!(out, "\n{MARK}{line}").unwrap();
    out.flush().unwrap();
}

/// The next line from the parent; `None` when it wants an end.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// A flag that rises when the parent wants an end, or is gone.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raise = Arc::clone(&flag);
    std::thread::spawn(move || {
        while hear().is_some() {}
        raise.store(true, Ordering::Release);
    });
    flag
}

/// A running child; it is killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The arguments that make the test binary play a role.
pub(crate) const ARGUMENTS: [&str; 4] =
    ["--exact", "processes::child_process", "--nocapture", "--test-threads=1"];

/// The test binary in `role` for the store at `path`.
pub(crate) fn command(role: &str, path: &Path) -> Command {
    command_of(std::env::current_exe().unwrap(), role, path)
}

/// A copy of the test binary at `program`.
pub(crate) fn command_of(program: impl AsRef<OsStr>, role: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(ARGUMENTS).env(ROLE, role).env(STORE, path);
    command
}

/// The same through a shell that runs `before` first, where `$STORE` is the store's path.
pub(crate) fn command_after(before: &str, role: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = format!("set -e; {before}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap()).args(ARGUMENTS);
    command.env(ROLE, role).env(STORE, path);
    command
}

impl Child {
    /// Starts a child in a role.
    pub(crate) fn new(role: &str, path: &Path) -> Self {
        Child::start(command(role, path))
    }

    /// Starts a command made by one of the functions above.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Child { process, input, output }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that the child says; `None` at its end.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // A line without an end was cut off by a kill.
            if let Some(said) = line.strip_prefix(MARK).and_then(|said| said.strip_suffix('\n')) {
                return Some(said.to_owned());
            }
        }
    }

    /// Waits for the child to say `line`.
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear().as_deref(), Some(line));
    }

    /// Tells the child something.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
    }

    /// Lets the child end; returns what it still said. It must have ended well.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.input = None;
        let mut said: Vec<String> = std::iter::from_fn(|| self.hear()).collect();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}, after {said:?}");
        assert_eq!(said.pop().as_deref(), Some("done"));
        said
    }

    /// Kills the child, which must still live; returns what it had said before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        let said = std::iter::from_fn(|| self.hear()).collect();
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}, after {said:?}");
        said
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
