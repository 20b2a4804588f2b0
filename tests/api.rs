//! The shape of the library: what may cross threads, how long calls are watched and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vdb::{CancelToken, CheckLevel, Control, Document, Error, Query, Snapshot, Store, WriteTxn};

fn document(n: u16) -> Document {
    Document::new(format!("text {n}")).id(n.to_string()).vector(vec![f32::from(n), 1.0])
}

#[test]
fn handles_cross_threads() {
    fn send<T: Send + 'static>() {}
    fn sync<T: Sync>() {}
    send::<Store>();
    sync::<Store>();
    send::<Snapshot>();
    sync::<Snapshot>();
    send::<WriteTxn>();
    send::<Error>();
    sync::<Error>();
}

#[test]
fn readers_of_all_threads_see_whole_commits() {
    let store = Store::in_memory().unwrap();
    store.add((0..100).map(document)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let snapshot = store.snapshot().unwrap();
                    let listed = snapshot.documents().map(Result::unwrap).count();
                    assert_eq!(listed % 100, 0);
                    assert_eq!(snapshot.count(), u64::try_from(listed).unwrap());
                    let found = snapshot.search(&Query::vector(vec![1.0, 1.0]).k(10_000)).unwrap();
                    assert_eq!(found.len(), listed);
                }
            });
        }
        for round in 1..10 {
            store.add((100 * round..100 * (round + 1)).map(document)).unwrap();
        }
    });
    assert_eq!(store.count().unwrap(), 1000);
}

#[test]
fn long_calls_report_how_far_they_are() {
    let store = Store::in_memory().unwrap();
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    let control = Control::new().on_progress(move |progress| {
        if progress.stage == "add" {
            seen.store(progress.done, Ordering::Relaxed);
        }
    });
    let mut txn = store.write().unwrap();
    txn.control(&control).add((0..5000).map(document)).unwrap();
    txn.commit().unwrap();
    assert_eq!(last.load(Ordering::Relaxed), 5000);
}

#[test]
fn a_cancelled_call_stops_and_loses_no_commit() {
    let store = Store::in_memory().unwrap();
    store.add((0..2000).map(document)).unwrap();
    let token = CancelToken::new();
    let control = Control::new().cancel(&token).on_progress({
        let token = token.clone();
        move |progress| {
            if progress.done > 1000 {
                token.cancel();
            }
        }
    });
    let mut txn = store.write().unwrap();
    let error = txn.control(&control).add((2000..9000).map(document)).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    drop(txn);
    assert_eq!(store.count().unwrap(), 2000);
    for error in [
        store.compact(&control).map(drop).unwrap_err(),
        store.check(CheckLevel::Deep, &control).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
    assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
    assert_eq!(store.count().unwrap(), 2000);
    store.compact(&Control::new()).unwrap();
    assert_eq!(store.search(&Query::vector(vec![7.0, 1.0]).k(1)).unwrap()[0].id, "7");
}

#[test]
fn a_listing_goes_on_where_it_stopped() {
    let store = Store::in_memory().unwrap();
    store.add((0..1000).map(document)).unwrap();
    let first = store.snapshot().unwrap();
    let mut documents = first.documents();
    let mut ids: Vec<String> =
        documents.by_ref().take(300).map(|d| d.unwrap().id_ref().unwrap().to_owned()).collect();
    let cursor = documents.cursor();
    store.delete(["300", "301"]).unwrap();
    let later = store.snapshot().unwrap();
    ids.extend(later.documents().after(cursor).map(|d| d.unwrap().id_ref().unwrap().to_owned()));
    let expected: Vec<String> =
        (0..1000).filter(|n| !(300..302).contains(n)).map(|n: u32| n.to_string()).collect();
    assert_eq!(ids, expected);
}
