//! What users do wrong: every mistake is an error of the right kind that names what is at fault, and harms nothing.

mod documents;
mod embedding;
mod files;
mod lifecycle;
mod messages;

#[cfg(feature = "cli")]
pub(crate) use files::set_feature;
use vdb::{CheckLevel, Control, Document, Error, Result, Store};

/// A document of two values.
fn document(id: &str) -> Document {
    Document::new(format!("text of {id}")).id(id).vector(vec![1.0, 2.0])
}

/// A store in memory that holds the document `a`.
fn store() -> Store {
    let store = Store::in_memory().unwrap();
    store.add([document("a")]).unwrap();
    store
}

/// The number of documents of a sound store.
fn sound_count(store: &Store) -> u64 {
    let report = store.check(CheckLevel::Deep, &Control::new()).unwrap();
    assert!(report.is_ok(), "{:#?}", report.damage);
    store.count().unwrap()
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T>, what: &str, reason: &str) {
    match result {
        Err(Error::Invalid { what: found, reason: why }) => assert_eq!((&*found, &*why), (what, reason)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_limit<T: std::fmt::Debug>(result: Result<T>, what: &str, found: usize, max: usize) {
    match result {
        Err(Error::Limit { what: named, found: is, max: most }) => {
            assert_eq!(named, what);
            assert_eq!((is, most), (u64::try_from(found).unwrap(), u64::try_from(max).unwrap()));
        }
        other => panic!("{other:?}"),
    }
}
