//! What errors say: one line each, and never what their source says.

use std::error::Error as _;

use vdb::{Document, Error, Filter, Metadata, Mode, OpenOptions, Query, Store};

use super::{document, store};

/// Errors of every kind that a test can bring about.
fn errors() -> Vec<Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text.vdb"), "text").unwrap();
    let writer = Store::create(path("held.vdb")).unwrap();
    writer.add([document("a")]).unwrap();
    let mut bytes = std::fs::read(path("held.vdb")).unwrap();
    bytes[100_000..].fill(7);
    std::fs::write(path("bad.vdb"), bytes).unwrap();
    let store = store();
    let closed = store.clone();
    store.close().unwrap();
    vec![
        Store::open(path("missing.vdb")).unwrap_err(),
        Store::open(path("text.vdb")).unwrap_err(),
        Store::open(path("held.vdb")).unwrap_err(),
        Store::open(path("bad.vdb")).unwrap_err(),
        Store::open(path("text.vdb/inside.vdb")).unwrap_err(),
        Store::create(path("held.vdb")).unwrap_err(),
        Store::create(path("no/where.vdb")).unwrap_err(),
        closed.get("a").unwrap_err(),
        OpenOptions::new().memory_budget(1).in_memory().unwrap_err(),
        Metadata::from_json("{\"a\":}").unwrap_err(),
        Filter::from_json("{\"a\":{\"$near\":1}}").unwrap_err(),
        writer.add([Document::from_vector(vec![1.0])]).unwrap_err(),
        writer.add([document(&"i".repeat(2000))]).unwrap_err(),
        writer.search(&Query::text("a").mode(Mode::Vector)).unwrap_err(),
        Error::Embed { source: "no weights".into() },
        Error::Cancelled,
    ]
}

#[test]
fn messages_are_one_lower_case_line_that_does_not_repeat_its_source() {
    let mut kinds = std::collections::HashSet::new();
    for error in errors() {
        kinds.insert(error.kind());
        let mut outer: &dyn std::error::Error = &error;
        loop {
            let said = outer.to_string();
            assert!(!said.is_empty());
            let Some(source) = outer.source() else { break };
            assert!(!said.contains(&source.to_string()), "{said:?} repeats {source}");
            outer = source;
        }
        let said = error.to_string();
        assert!(!said.contains('\n') && !said.ends_with('.'), "{said:?}");
        let first = said.chars().next().unwrap();
        assert!(first.is_lowercase() || first == '/', "{said:?}");
        for debris in ["Some(", "Error {", "Os {", "PathBuf"] {
            assert!(!said.contains(debris), "{said:?}");
        }
    }
    assert!(kinds.len() >= 10, "only {} kinds", kinds.len());
}

#[test]
fn errors_of_the_system_carry_their_cause() {
    let error = Store::create("/no/such/directory/store.vdb").unwrap_err();
    assert_eq!(error.to_string(), "cannot create /no/such/directory/store.vdb");
    let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
}
