//! What can be typed: the global flags and the commands.

use std::ffi::OsString;
use std::num::NonZero;
use std::sync::LazyLock;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{ArgAction, Parser, ValueEnum};

use crate::cmd::Command;
use crate::failure::Exit;

/// SQLite for documents and vectors: one file, one atomic commit, exact search.
#[derive(Debug, Parser)]
#[command(name = "vdb", version = version(), disable_version_flag = true, subcommand_required = true)]
#[command(
    after_help = "Exit status: 0 done, 1 failed or damage found, 2 wrong usage, 3 a bug in vdb, 4 the file is \
    being written by another process, 130 interrupted."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags that every command takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global flags")]
pub(crate) struct Globals {
    /// Print results as JSON Lines, and errors too, on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no status and no progress; results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// The memory to stay within, such as 512MiB [default: a quarter of what there is]
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) memory: Option<ByteSize>,
    /// The most threads to use
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// How long to wait for another process that writes, such as 10s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub(crate) wait: Duration,
    /// When to print in colour; `auto` also heeds `NO_COLOR`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Exit with status 1 when nothing is found or an id is missing
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Print the version of vdb, of FAISS, and of the file format
    #[arg(long, short = 'V', global = true, action = ArgAction::Version)]
    version: Option<bool>,
}

impl Globals {
    /// How a command ends that `failed` to find something.
    pub(crate) fn verdict(&self, failed: bool) -> Exit {
        if failed && self.strict { Exit::Failed } else { Exit::Done }
    }
}

/// When to print in colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for clap::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => clap::ColorChoice::Auto,
            Color::Always => clap::ColorChoice::Always,
            Color::Never => clap::ColorChoice::Never,
        }
    }
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
    }
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// What `--version` says after the name.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let faiss = vdb::FaissBuild::read().map_or_else(|error| error.to_string(), |build| build.to_string());
        let (oldest, newest) = (vdb::FORMAT_OLDEST, vdb::FORMAT_NEWEST);
        format!("{}\n{faiss}\nfile format {newest}, reads {oldest} to {newest}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}

/// The flags that decide how to print, found before anything is parsed, for what parsing itself has to say.
pub(crate) fn peek(arguments: &[OsString]) -> (bool, Color) {
    let words: Vec<&str> =
        arguments.iter().skip(1).map_while(|word| word.to_str().filter(|word| *word != "--")).collect();
    let named = |word: &str| Color::from_str(word, true).ok();
    let color = words.iter().enumerate().find_map(|(n, word)| match word.strip_prefix("--color") {
        Some("") => words.get(n + 1).and_then(|word| named(word)),
        Some(rest) => rest.strip_prefix('=').and_then(named),
        None => None,
    });
    (words.contains(&"--json"), color.unwrap_or_default())
}
