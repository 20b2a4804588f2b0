//! `vdb delete`: removes documents, by id, by filter, or all.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;
use vdb::{DeleteReport, Filter, Snapshot, WriteTxn};

use crate::args::Globals;
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::given;
use crate::merging;
use crate::open;
use crate::output::Output;

/// Delete documents: by id, those that match, or all
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// The ids; `-` reads them from standard input, one a line
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Delete every document
    #[arg(long)]
    all: bool,
    /// Only print what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Which documents.
enum Which {
    Named(Vec<String>),
    Matching(Filter),
}

impl Args {
    fn which(&self) -> Result<Which> {
        match (self.ids.is_empty(), self.choice.is_given(), self.all) {
            (true, false, false) => Err(Failure::Usage {
                message: "nothing says what to delete".into(),
                hint: Some("give ids, --filter, --where, or --all".into()),
            }),
            (false, false, false) => {
                let mut ids = given::ids(&self.ids)?.collect::<Result<Vec<_>>>()?;
                let mut seen = HashSet::new();
                ids.retain(|id| seen.insert(id.clone()));
                Ok(Which::Named(ids))
            }
            (true, true, _) => {
                let filter = self.choice.filter()?.unwrap_or_default();
                match (filter.is_empty(), self.all) {
                    (true, false) => Err(Failure::Usage {
                        message: "an empty filter matches every document".into(),
                        hint: Some("`--all` deletes them all".into()),
                    }),
                    (false, true) => Err(Failure::usage("both --all and a filter are given")),
                    _ => Ok(Which::Matching(filter)),
                }
            }
            (true, false, true) => Ok(Which::Matching(Filter::all())),
            (false, ..) => Err(Failure::usage("ids are given, and --all or a filter too")),
        }
    }
}

/// Deletes, and prints how many.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let which = args.which()?;
    let report = if args.dry_run {
        rehearse(&open::to_read(&args.file, globals)?.snapshot()?, &which)?
    } else {
        let store = open::to_write(&args.file, globals, output)?;
        let mut txn = store.write()?;
        txn.control(&output.control());
        let report = delete(&mut txn, &which)?;
        txn.commit()?;
        merging::merge(&store, report.deleted, output);
        store.close()?;
        report
    };
    let done = if args.dry_run { "would delete" } else { "deleted" };
    let mut text = format!("{done} {}", super::counted(report.deleted, "document"));
    for id in &report.missing {
        let _ = write!(text, "\nno document {id:?}");
    }
    let data = json!({"deleted": report.deleted, "missing": report.missing, "dry_run": args.dry_run});
    output.result("summary", &data, text)?;
    Ok(globals.verdict(!report.missing.is_empty()))
}

fn delete(txn: &mut WriteTxn, which: &Which) -> Result<DeleteReport> {
    Ok(match which {
        Which::Named(ids) => txn.delete(ids)?,
        Which::Matching(filter) => txn.delete_where(filter)?,
    })
}

/// What [`delete`] would report.
fn rehearse(snapshot: &Snapshot, which: &Which) -> Result<DeleteReport> {
    let mut report = DeleteReport::default();
    match which {
        Which::Named(ids) => {
            for id in ids {
                match snapshot.get(id)? {
                    Some(_) => report.deleted += 1,
                    None => report.missing.push(id.clone()),
                }
            }
        }
        Which::Matching(filter) => report.deleted = snapshot.count_where(filter)?,
    }
    Ok(report)
}
