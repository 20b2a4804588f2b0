//! `vdb update`: new metadata or a new text for documents that are there.

use std::path::PathBuf;

use serde_json::json;
use vdb::{Error, Store};

use crate::args::Globals;
use crate::change::Edit;
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::given;
use crate::merging;
use crate::model::Model;
use crate::open;
use crate::output::Output;
use crate::shown::{Extent, Shown};

/// Change the metadata or the text of one document, or the metadata of those that match
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// The document
    id: Option<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    edit: Edit,
    /// Replace the text, which is embedded anew
    #[arg(long)]
    text: Option<String>,
}

/// Changes, and prints the document, or how many there were.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    if !args.edit.is_given() && args.text.is_none() {
        return Err(Failure::usage("nothing says what to change: give --meta, --replace-meta or --text"));
    }
    match (&args.id, args.choice.is_given()) {
        (Some(id), false) => one(args, id, globals, output),
        (None, true) if args.text.is_none() => matching(args, globals, output),
        (None, true) => Err(Failure::usage("--text is for one document, by its id")),
        (Some(_), true) => Err(Failure::usage("both an id and a filter are given")),
        (None, false) => Err(Failure::usage("nothing says which document: give an id, --filter or --where")),
    }
}

fn one(args: &Args, id: &str, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let change = args.edit.change()?;
    let mut options = open::options(globals);
    if args.text.is_some() {
        let model = Model::of_file(&args.file, globals)?;
        model.require()?;
        options = model.used_by(options);
    }
    let store = open::with_options(&options, &args.file, globals, output)?;
    let mut txn = store.write()?;
    change.apply(&mut txn, id)?;
    if let Some(text) = &args.text {
        replaceable(&store, id, text)?;
        txn.update_text(id, text)?;
    }
    let report = txn.commit()?;
    let document = store.get(id)?.ok_or_else(|| Error::NotFound { what: "document", name: id.to_owned() })?;
    merging::merge(&store, report.parts, output);
    store.close()?;
    output.document(&document, false, Shown(&document, Extent::Whole))?;
    Ok(Exit::Done)
}

/// Checks that a new text loses nothing: a vector that the store cannot compute.
fn replaceable(store: &Store, id: &str, text: &str) -> Result<()> {
    let name = format!("document {id:?}");
    if text.trim().is_empty() {
        return Err(Error::Invalid { what: name, reason: "its new text is empty".into() }.into());
    }
    let document = store.snapshot()?.get_with_vectors(id)?;
    if store.stats()?.model.is_none_or(|model| model.name.starts_with("external:"))
        && document.as_ref().and_then(given::vector_of).is_some()
    {
        let reason = "its vector comes from outside vdb: add the document anew, with its new vector".into();
        return Err(Error::Unavailable { feature: "changing its text", reason }.into());
    }
    Ok(())
}

fn matching(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let (change, filter) = (args.edit.change()?, args.choice.filter()?.unwrap_or_default());
    let store = open::to_write(&args.file, globals, output)?;
    let mut txn = store.write()?;
    let mut updated = 0;
    // Nobody else writes: the snapshot is what the transaction began with.
    for document in store.snapshot()?.documents().filter(&filter) {
        output.go_on()?;
        change.apply(&mut txn, document?.id_ref().unwrap_or_default())?;
        updated += 1;
    }
    txn.commit()?;
    merging::merge(&store, 0, output);
    store.close()?;
    let text = format!("updated {}", super::counted(updated, "document"));
    output.result("summary", &json!({"updated": updated}), text)?;
    Ok(Exit::Done)
}
