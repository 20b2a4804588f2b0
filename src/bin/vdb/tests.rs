//! What of the program cannot be seen from outside: its argument parser's soundness, its reference, its panics.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::args::{Arguments, Color, peek};
use crate::failure::{Exit, Failure};
use crate::later::LATER;
use crate::output::Output;
use crate::start::guard;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
const BEGIN: &str = "<!-- generated from the program: begin -->\n";
const END: &str = "<!-- generated from the program: end -->";

#[test]
fn clap_finds_no_contradiction() {
    Arguments::command().debug_assert();
}

#[test]
fn a_panic_is_a_bug() {
    let mut output = Output::new(true, Color::Never);
    assert_eq!(guard(&mut output, |_| panic!("on purpose")), Exit::Bug);
    assert_eq!(guard(&mut output, |_| Err(Failure::usage("on purpose"))), Exit::Usage);
    assert_eq!(guard(&mut output, |_| Err(vdb::Error::Cancelled.into())), Exit::Interrupted);
}

#[test]
fn how_to_print_is_known_before_parsing() {
    let of = |words: &[&str]| peek(&words.iter().map(Into::into).collect::<Vec<_>>());
    assert_eq!(of(&["vdb", "stats", "--json"]), (true, Color::Auto));
    assert_eq!(of(&["vdb", "--color=never", "x"]), (false, Color::Never));
    assert_eq!(of(&["vdb", "--color", "always"]), (false, Color::Always));
    assert_eq!(of(&["vdb", "add", "--", "--json"]), (false, Color::Auto));
}

/// The arguments of a command as rows of a table.
fn rows(command: &clap::Command, globals: bool) -> String {
    let mut out = String::from("| argument | meaning |\n|---|---|\n");
    for argument in command.get_arguments().filter(|argument| argument.is_global_set() == globals) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let default = argument.get_default_values().first().filter(|_| !argument.is_hide_default_value_set());
        let default =
            default.map_or_else(String::new, |value| format!(" (default `{}`)", value.to_string_lossy()));
        let _ = writeln!(out, "| `{}` | {help}{default} |", argument.to_string().replace('|', "\\|"));
    }
    out
}

fn reference() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut out = format!("\n## Global flags\n\n{}", rows(&root, true));
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut usage = command.clone().render_usage().to_string();
        usage = usage.trim_start_matches("Usage: ").to_owned();
        let _ = write!(out, "\n## vdb {}\n\n{about}.\n\n```text\n{usage}\n```\n\n", command.get_name());
        out.push_str(&rows(command, false));
    }
    out.push_str("\n## Not in this version\n\nKnown by name, and refused with exit status 2:\n\n");
    for (commands, later) in LATER {
        let of = if commands.is_empty() { "everywhere".to_owned() } else { commands.join(", ") };
        let _ = writeln!(out, "- {of}: `{}`", later.join("`, `"));
    }
    out.push('\n');
    out
}

/// `VDB_UPDATE_DOCS=1` writes the reference anew.
#[test]
fn the_reference_is_up_to_date() {
    let text = std::fs::read_to_string(REFERENCE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = reference();
    if std::env::var_os("VDB_UPDATE_DOCS").is_some() {
        std::fs::write(REFERENCE, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "run the tests once with VDB_UPDATE_DOCS=1");
    }
    every_code_is_listed(&text);
}

fn every_code_is_listed(text: &str) {
    let source = include_str!("../../error.rs");
    let arms = source.lines().filter(|line| line.trim_start().starts_with("ErrorKind::"));
    let codes = arms.filter_map(|line| line.split('"').nth(1)).chain(["usage", "bug"]);
    let codes: Vec<&str> = codes.collect();
    assert!(codes.len() > 15);
    for code in codes {
        assert!(text.contains(&format!("| `{code}` |")), "{code}");
    }
}
