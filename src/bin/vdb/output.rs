//! The only place that prints: results to stdout; status, progress and errors to stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vdb::{CancelToken, Control, Document, Error, MemoryUse, Progress, Store};

use crate::args::Color;
use crate::failure::{Failure, Result};
use crate::progress::Meter;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// One JSON line.
#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    r#type: &'a str,
    data: &'a T,
}

fn line(kind: &str, data: &impl Serialize) -> String {
    // Our own data have string keys, so that writing them cannot fail.
    serde_json::to_string(&Line { r#type: kind, data }).unwrap_or_default()
}

/// How to print.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    stdout: AutoStream<std::io::Stdout>,
    stderr: AutoStream<std::io::Stderr>,
    cancel: CancelToken,
}

impl Output {
    /// For people, or as JSON Lines.
    pub(crate) fn new(json: bool, color: Color) -> Self {
        Output {
            json,
            quiet: false,
            stdout: AutoStream::new(std::io::stdout(), color.into()),
            stderr: AutoStream::new(std::io::stderr(), color.into()),
            cancel: CancelToken::new(),
        }
    }

    /// Leaves out status and progress. Results stay.
    pub(crate) fn quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// What an interrupt cancels.
    pub(crate) fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    /// Prints a result: `data` as a JSON line of type `kind`, or `text` for people.
    pub(crate) fn result(&mut self, kind: &str, data: &impl Serialize, text: impl Display) -> Result<()> {
        if self.json {
            writeln!(self.stdout, "{}", line(kind, data))?;
        } else {
            writeln!(self.stdout, "{text}")?;
        }
        Ok(())
    }

    /// Whether results are for a terminal, or are to look as if.
    pub(crate) fn is_styled(&self) -> bool {
        !self.json && self.stdout.current_choice() != anstream::ColorChoice::Never
    }

    /// Prints a document, with its vectors if asked for; `shown` is for people.
    ///
    /// # Errors
    /// `Cancelled` after an interrupt, for there may be many.
    pub(crate) fn document(
        &mut self,
        document: &Document,
        with_vector: bool,
        shown: impl Display,
    ) -> Result<()> {
        self.go_on()?;
        if !self.json {
            return self.result("document", &(), shown);
        }
        // Verbatim, so that metadata keep their number tokens.
        let json = RawValue::from_string(document.to_json(with_vector)).map_err(std::io::Error::other)?;
        self.result("document", &json, "")
    }

    /// Fails with `Cancelled` after an interrupt.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled.into()) } else { Ok(()) }
    }

    /// Prints a result that only JSON has.
    pub(crate) fn json(&mut self, kind: &str, data: &impl Serialize) -> Result<()> {
        if self.json { self.result(kind, data, "") } else { Ok(()) }
    }

    /// Tells people something about the results, unless told to be quiet. JSON says it by itself.
    pub(crate) fn note(&mut self, text: impl Display) {
        if !self.json && !self.quiet {
            let _ = writeln!(self.stderr, "{text}");
        }
    }

    /// Prints a step of a long call: a result for scripts, of no interest to people, who have the progress bar. It is
    /// written at once, so that whoever reads it can rely on it.
    pub(crate) fn step(&mut self, kind: &str, data: &impl Serialize) -> Result<()> {
        if self.json {
            writeln!(self.stdout, "{}", line(kind, data))?;
            self.stdout.flush()?;
        }
        Ok(())
    }

    /// Prints status on stderr, unless told to be quiet.
    pub(crate) fn status(&mut self, kind: &str, data: &impl Serialize, text: impl Display) {
        let _ = match (self.quiet, self.json) {
            (true, _) => Ok(()),
            (_, true) => writeln!(self.stderr, "{}", line(kind, data)),
            _ => writeln!(self.stderr, "{text}"),
        };
    }

    /// Prints what is not a result and no error.
    pub(crate) fn warning(&mut self, text: impl Display) {
        // Nothing can be said when stderr is gone.
        let _ = if self.json {
            writeln!(self.stderr, "{}", line("warning", &json!({"message": text.to_string()})))
        } else {
            // A progress bar may stand in the line.
            let clear = if std::io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
            writeln!(self.stderr, "{clear}{WARNING}vdb: warning:{WARNING:#} {text}")
        };
    }

    /// Prints why a command failed, unless nobody reads any more.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if failure.exit() == crate::failure::Exit::Done {
            return;
        }
        let _ = if self.json {
            writeln!(self.stderr, "{}", line("error", &failure.data()))
        } else {
            write!(self.stderr, "{}", picture(failure))
        };
    }

    /// Prints what clap has to say: help and version on stdout, errors on stderr.
    pub(crate) fn clap(&mut self, message: &clap::Error) -> Result<()> {
        let styled = message.render().ansi().to_string();
        if message.use_stderr() {
            let _ = write!(self.stderr, "{styled}");
        } else {
            write!(self.stdout, "{styled}")?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.stdout.flush()?)
    }

    /// Watches and stops a long call.
    pub(crate) fn control(&self) -> Control {
        self.watch(None)
    }

    /// The same, and shows the memory of the store.
    pub(crate) fn control_of(&self, store: &Store) -> Control {
        self.watch(Some(store.clone()))
    }

    fn watch(&self, store: Option<Store>) -> Control {
        let control = Control::new().cancel(&self.cancel);
        let is_watched = self.json || std::io::stderr().is_terminal();
        if self.quiet || !is_watched {
            return control;
        }
        let meter = if self.json { Meter::lines(progress_line) } else { Meter::bar() };
        let meter = Arc::new(meter);
        control.on_progress(move |progress| meter.show(progress, || store.as_ref().map(Store::memory)))
    }
}

fn progress_line(progress: Progress, memory: Option<&MemoryUse>) {
    let memory = memory.map(memory_json);
    let data = json!({
        "stage": progress.stage, "done": progress.done, "total": progress.total, "memory": memory,
    });
    let _ = writeln!(std::io::stderr(), "{}", line("progress", &data));
}

/// The memory of a store against its budget.
pub(crate) fn memory_json(memory: &MemoryUse) -> Value {
    let parts = memory.components.iter().filter(|share| share.peak > 0);
    let parts: serde_json::Map<String, Value> = parts
        .map(|share| (share.component.to_owned(), json!({"bytes": share.bytes, "peak": share.peak})))
        .collect();
    json!({"budget": memory.budget, "granted": memory.granted, "peak": memory.peak, "components": parts})
}

fn picture(failure: &Failure) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{ERROR}vdb:{ERROR:#} {}\n", failure.message());
    for cause in failure.causes() {
        let _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(caret) = failure.caret() {
        for line in caret.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if let Some(hint) = failure.hint() {
        let _ = writeln!(text, "{HINT}hint:{HINT:#} {hint}");
    }
    text
}
