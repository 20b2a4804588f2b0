//! What later versions of the command line have, by name: refused as wrong usage, and told from a typing error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// Commands, and what they will have: commands of their own, flags, values of flags. Without commands: everywhere.
pub(crate) const LATER: [(&[&str], &[&str]); 3] = [
    (&[], &["set", "backup", "backups", "restore", "merge", "export", "reembed", "monitor", "--untrusted"]),
    (&["model"], &["pull", "distill"]),
    (
        &["import"],
        &[
            "--format csv",
            "--format parquet",
            "--format faiss",
            "--format langchain-faiss",
            "--format chroma",
        ],
    ),
];

/// What to say of words that the parser does not know, if a later version does.
pub(crate) fn refusal(error: &clap::Error, words: &[OsString]) -> Option<Failure> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = || context(ContextKind::InvalidArg)?.split([' ', '=']).next();
    let asked = match error.kind() {
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand)?.to_owned(),
        ErrorKind::UnknownArgument => argument()?.to_owned(),
        ErrorKind::InvalidValue => format!("{} {}", argument()?, context(ContextKind::InvalidValue)?),
        _ => return None,
    };
    let is_typed = |command: &&&str| words.iter().any(|word| word == **command);
    let (commands, _) = LATER.iter().find(|(commands, later)| {
        later.contains(&asked.as_str()) && (commands.is_empty() || commands.iter().any(|c| is_typed(&c)))
    })?;
    let command = commands.first().filter(|_| !asked.starts_with('-'));
    let what = command.map_or(asked.clone(), |command| format!("{command} {asked}"));
    let hint =
        (what == "model pull").then(|| "`make models` in the source directory of vdb fetches models".into());
    Some(Failure::Usage { message: format!("`{what}` is not in this version"), hint })
}
