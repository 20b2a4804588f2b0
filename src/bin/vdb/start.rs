//! From the words of the command line to an exit status.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use serde_json::json;

use crate::args::{Arguments, peek};
use crate::cmd;
use crate::failure::{Exit, Failure, Result};
use crate::given::Stdin;
use crate::later::refusal;
use crate::output::Output;

/// The message and place of the last panic.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs the program.
pub(crate) fn run(arguments: &[OsString]) -> Exit {
    let (json, color) = peek(arguments);
    let mut output = Output::new(json, color);
    let cancel = output.cancel().clone();
    // Without a handler an interrupt ends the program at once, which no file minds.
    let _ = ctrlc::set_handler(move || {
        if cancel.is_cancelled() || Stdin::is_waited_for() {
            std::process::exit(Exit::Interrupted as i32);
        }
        cancel.cancel();
    });
    guard(&mut output, |output| {
        match Arguments::command().color(color.into()).try_get_matches_from(arguments) {
            Err(error) => match refusal(&error, arguments) {
                Some(failure) => Err(failure),
                None => said(&error, json, output),
            },
            Ok(matches) => {
                let arguments = Arguments::from_arg_matches(&matches)
                    .map_err(|error| Failure::usage(error.to_string()))?;
                output.quiet(arguments.globals.quiet);
                cmd::run(&arguments, output)
            }
        }
    })
}

/// Runs `work`; prints why it failed. A panic is a bug and one line.
pub(crate) fn guard(output: &mut Output, work: impl FnOnce(&mut Output) -> Result<Exit>) -> Exit {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" ({place})"));
        let message = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{message}{place}"));
    }));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let exit = work(output)?;
        output.flush()?;
        Ok(exit)
    }));
    let result = result.unwrap_or_else(|_| {
        let message = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(Failure::Bug(message.unwrap_or_else(|| "a panic".to_owned())))
    });
    result.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit()
    })
}

/// Prints what clap has to say, which is help, the version, or that the usage is wrong.
fn said(error: &clap::Error, json: bool, output: &mut Output) -> Result<Exit> {
    match error.kind() {
        ErrorKind::DisplayVersion if json => {
            let faiss = vdb::FaissBuild::read()?;
            let data = json!({
                "version": env!("CARGO_PKG_VERSION"), "faiss": faiss.version,
                "faiss_options": faiss.compile_options,
                "format_oldest": vdb::FORMAT_OLDEST, "format_newest": vdb::FORMAT_NEWEST,
            });
            output.result("version", &data, "")?;
            Ok(Exit::Done)
        }
        _ if json && error.use_stderr() => Err(usage(error)),
        _ => {
            output.clap(error)?;
            Ok(if error.use_stderr() { Exit::Usage } else { Exit::Done })
        }
    }
}

/// An error of clap as one of ours.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))
        .and_then(|value| match value {
            ContextValue::String(one) => Some(one.clone()),
            ContextValue::Strings(some) if !some.is_empty() => Some(some.join(", ")),
            _ => None,
        });
    Failure::Usage { message, hint: similar.map(|similar| format!("similar: {similar}")) }
}
