//! Embedding: other models, models that fail, texts that are long.

use std::ops::Range;
use std::sync::Arc;

use vdb::{Document, Embedder, Embeddings, Error, Mode, ModelIdentity, OpenOptions, Query, Result, Store};

use super::{assert_invalid, document, sound_count};
use crate::util::{LETTERS_MAX, Letters};

fn options(name: &str) -> OpenOptions {
    OpenOptions::new().embedder(Arc::new(Letters::new(name)))
}

#[test]
fn texts_are_embedded_split_and_found_by_their_best_part() {
    let store = options("letters").in_memory().unwrap();
    let text = "aaa aaa. 비비 bbb bbb. ccc.";
    let report = store.add([Document::new(text).id("parts"), Document::new("hhh").id("short")]).unwrap();
    assert_eq!((report.parts, report.truncated, report.added), (4, 0, 2));
    let hits = store.search(&Query::text("bb")).unwrap();
    assert_eq!((hits.len(), &*hits[0].id), (2, "parts"));
    assert_eq!(&text[hits[0].span.clone()], " 비비 bbb bbb.");
    assert_eq!(store.search(&Query::text("h h h")).unwrap()[0].id, "short");
    let stored = store.snapshot().unwrap().get_with_vectors("parts").unwrap().unwrap();
    assert_eq!(stored.parts().len(), 3);
    for part in stored.parts() {
        let alone = Letters::new("letters").embed(&[&text[part.span.clone()]]).unwrap();
        assert_eq!(part.vector.as_ref(), Some(&alone.vectors));
    }
    let found = store.search(&Query::like("parts")).unwrap();
    assert_eq!(found.iter().map(|hit| &*hit.id).collect::<Vec<_>>(), ["short"]);
    let stats = store.stats().unwrap();
    assert_eq!((stats.documents, stats.parts, stats.dim), (2, 4, Some(8)));
    // A new text is embedded anew.
    let mut txn = store.write().unwrap();
    txn.update_text("short", "b b b b").unwrap();
    txn.commit().unwrap();
    assert_eq!(store.search(&Query::text("bbb")).unwrap()[0].id, "short");
    assert_eq!(sound_count(&store), 2);
}

#[test]
fn texts_that_the_model_cuts_are_counted() {
    let store = options("letters").in_memory().unwrap();
    let (whole, cut) = ("a".repeat(LETTERS_MAX), "a".repeat(LETTERS_MAX + 1));
    let report = store.add([Document::new(whole), Document::new(format!("{cut}.b.{cut}"))]).unwrap();
    assert_eq!((report.parts, report.truncated), (4, 2));
}

#[test]
fn another_model_is_refused_and_both_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.vdb");
    options("ours").create(&path).unwrap().close().unwrap();
    for read_only in [false, true] {
        let error = options("theirs").read_only(read_only).open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "store has the model ours (8 dimensions, mean pooling, as computed), \
             not theirs (8 dimensions, mean pooling, as computed)"
        );
        assert!(matches!(error, Error::Model { .. }));
    }
    // The refused writer has let go of the file.
    let store = options("ours").open(&path).unwrap();
    assert_eq!(store.stats().unwrap().model.unwrap().name, "ours");
    store.close().unwrap();
    let bare = directory.path().join("bare.vdb");
    Store::create(&bare).unwrap().close().unwrap();
    match options("theirs").open(&bare) {
        Err(Error::Model { expected, .. }) => assert_eq!(expected, "no model"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(options("eight").dim(9).in_memory(), Err(Error::Shape { expected: 9, found: 8, .. })));
}

#[test]
fn a_text_query_needs_a_model() {
    let store = super::store();
    match store.search(&Query::text("a").mode(Mode::Vector)) {
        Err(Error::Unavailable { feature: "searching by text", reason }) => {
            assert!(reason.contains("embedding model"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // Without a model a text is kept, and is found by no vector.
    store.add([Document::new("text alone").id("t")]).unwrap();
    assert_eq!(store.search(&Query::vector(vec![1.0, 1.0]).k(9)).unwrap().len(), 1);
    assert!(store.search(&Query::like("t").mode(Mode::Vector)).unwrap().is_empty());
    assert_eq!(sound_count(&store), 2);
}

/// A model that does something wrong.
struct Broken {
    identity: ModelIdentity,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Fails,
    TooFew,
    NotFinite,
    Span,
}

impl Embedder for Broken {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn embed(&self, texts: &[&str]) -> Result<Embeddings> {
        let mut vectors = vec![1.0; 8 * texts.len()];
        match self.fault {
            Fault::Fails => return Err(Error::Embed { source: "out of letters".into() }),
            Fault::TooFew => drop(vectors.pop()),
            Fault::NotFinite => vectors[3] = f32::NAN,
            Fault::Span => {}
        }
        Ok(Embeddings { vectors, truncated: 0 })
    }

    fn split(&self, text: &str) -> Vec<Range<usize>> {
        let end = text.len() + usize::from(self.fault == Fault::Span);
        std::iter::once(0..end).collect()
    }
}

fn broken(fault: Fault) -> Store {
    let identity = Letters::new("broken").identity().clone();
    let embedder = Arc::new(Broken { identity, fault });
    let store = OpenOptions::new().embedder(embedder).in_memory().unwrap();
    store.add([Document::new("given").id("a").vector(vec![1.0; 8])]).unwrap();
    store
}

#[test]
fn a_model_that_fails_harms_nothing() {
    for fault in [Fault::Fails, Fault::TooFew, Fault::NotFinite, Fault::Span] {
        let store = broken(fault);
        let added = store.add([Document::new("text").id("b")]);
        match fault {
            Fault::Fails => {
                let error = added.unwrap_err();
                assert!(matches!(error, Error::Embed { .. }), "{error:?}");
                assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "out of letters");
            }
            Fault::TooFew => assert!(matches!(added, Err(Error::Shape { expected: 8, found: 7, .. }))),
            Fault::NotFinite => {
                let reason = "the value in column 3 is NaN, expected a finite number";
                assert_invalid(added, "vector of document \"b\" (row 0)", reason);
            }
            Fault::Span => {
                let reason = "the embedder gave a span that is not in the text";
                assert_invalid(added, "split of a text", reason);
            }
        }
        if fault != Fault::Span {
            assert!(store.search(&Query::text("text")).is_err());
        }
        assert_eq!(sound_count(&store), 1);
    }
    // A document with a vector of the wrong dimension does not reach the model's.
    assert!(matches!(
        broken(Fault::Fails).add([document("c")]),
        Err(Error::Shape { expected: 8, found: 2, .. })
    ));
}
