//! A store from beginning to end: create, add, search, filter, delete, open again, all without a model.

use vdb::{Document, Filter, Query, Store};

fn main() -> vdb::Result<()> {
    let directory = std::env::temp_dir().join(format!("vdb-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|source| vdb::Error::Io {
        op: "create",
        path: directory.clone(),
        source,
    })?;
    let path = directory.join("colours.vdb");

    let store = Store::create(&path)?;
    let colours = [
        ("red", [1.0, 0.0, 0.0], "warm"),
        ("orange", [1.0, 0.5, 0.0], "warm"),
        ("green", [0.0, 1.0, 0.0], "cold"),
        ("blue", [0.0, 0.0, 1.0], "cold"),
    ];
    let mut documents = Vec::new();
    for (name, vector, kind) in colours {
        let metadata = format!(r#"{{"kind": "{kind}"}}"#);
        documents.push(Document::new(name).id(name).vector(vector.to_vec()).metadata_json(&metadata)?);
    }
    let report = store.add(documents)?;
    show(format_args!("added {} documents in commit {}", report.added, report.commit.unwrap_or(0)));

    let query = Query::vector(vec![0.9, 0.8, 0.1]).k(2);
    for hit in store.search(&query)? {
        show(format_args!("near: {} ({:.3})", hit.id, hit.score));
    }
    for hit in store.search(&query.filter(Filter::field("kind").eq("cold")))? {
        show(format_args!("near and cold: {} ({:.3})", hit.id, hit.score));
    }

    let report = store.delete(["red", "mauve"])?;
    show(format_args!("deleted {}, not there: {:?}", report.deleted, report.missing));
    store.close()?;

    let store = Store::open(&path)?;
    show(format_args!("{} documents after opening again", store.count()?));
    store.close()?;
    // The example leaves nothing behind; whether that works is of no consequence.
    let _ = std::fs::remove_dir_all(&directory);
    Ok(())
}

fn show(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "{line}");
}
