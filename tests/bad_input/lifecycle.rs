//! Stores, snapshots and transactions used after their end.

use vdb::{CancelToken, CheckLevel, Control, Error, Query, Store};

use super::{assert_invalid, document, sound_count, store};

const CLOSED: &str = "it is closed";

#[test]
fn a_closed_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("closed.vdb");
    let store = Store::create(&path).unwrap();
    store.add([document("a")]).unwrap();
    let (clone, snapshot) = (store.clone(), store.snapshot().unwrap());
    store.close().unwrap();
    assert_invalid(clone.get("a"), "store", CLOSED);
    assert_invalid(clone.count(), "store", CLOSED);
    assert_invalid(clone.snapshot(), "store", CLOSED);
    assert_invalid(clone.write(), "store", CLOSED);
    assert_invalid(clone.add([document("b")]), "store", CLOSED);
    assert_invalid(clone.delete(["a"]), "store", CLOSED);
    assert_invalid(clone.search(&Query::vector(vec![1.0, 2.0])), "store", CLOSED);
    assert_invalid(clone.stats(), "store", CLOSED);
    assert_invalid(clone.check(CheckLevel::Deep, &Control::new()), "store", CLOSED);
    assert_invalid(clone.compact(&Control::new()), "store", CLOSED);
    assert_eq!(clone.path(), path);
    // A snapshot of before either still reads what it saw, or says that it cannot.
    match snapshot.get("a") {
        Ok(found) => assert_eq!(found.unwrap().text(), Some("text of a")),
        Err(error) => assert!(matches!(error, Error::Invalid { .. }), "{error:?}"),
    }
    drop(snapshot);
    assert_eq!(sound_count(&Store::open(&path).unwrap()), 1);
    clone.close().unwrap();
}

#[test]
fn a_snapshot_outlives_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outlived.vdb");
    let store = Store::create(&path).unwrap();
    store.add([document("a")]).unwrap();
    let snapshot = store.snapshot().unwrap();
    drop(store);
    assert!(matches!(Store::open(&path), Err(Error::Locked { .. })), "the snapshot keeps the store open");
    assert!(snapshot.get("a").unwrap().is_some());
    assert_eq!(snapshot.search(&Query::vector(vec![1.0, 2.0])).unwrap().len(), 1);
    drop(snapshot);
    assert_eq!(sound_count(&Store::open(&path).unwrap()), 1);
}

#[test]
fn closing_under_a_transaction_waits_for_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("closed.vdb");
    for commits in [true, false] {
        let store = Store::open_or_create(&path).unwrap();
        let count = store.count().unwrap();
        let clone = store.clone();
        let mut txn = store.write().unwrap();
        txn.add([document(&format!("b{commits}"))]).unwrap();
        match store.close() {
            Err(Error::Unavailable { feature: "closing", reason }) => {
                assert_eq!(reason, "a write transaction is open; the file is closed when it ends");
            }
            other => panic!("{other:?}"),
        }
        assert_invalid(clone.count(), "store", CLOSED);
        assert!(matches!(Store::open(&path), Err(Error::Locked { .. })), "the transaction holds the file");
        txn.add([document(&format!("c{commits}"))]).unwrap();
        if commits {
            assert_eq!(txn.commit().unwrap().added, 2);
        } else {
            drop(txn);
        }
        let expected = count + if commits { 2 } else { 0 };
        assert_eq!(sound_count(&Store::open(&path).unwrap()), expected);
    }
}

#[test]
fn a_cancelled_call_undoes_itself() {
    let store = store();
    let token = CancelToken::new();
    let stop = token.clone();
    let control = Control::new().cancel(&token).on_progress(move |progress| {
        if progress.done >= 1000 {
            stop.cancel();
        }
    });
    let mut txn = store.write().unwrap();
    txn.control(&control);
    let error = txn.add((0..9000).map(|n| document(&n.to_string()))).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(error.to_string(), "cancelled");
    drop(txn);
    assert_eq!(sound_count(&store), 1);
    assert!(matches!(store.check(CheckLevel::Quick, &control), Err(Error::Cancelled)));
}
