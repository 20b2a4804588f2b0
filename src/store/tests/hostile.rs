//! Indexes with wrong contents under checksums that are right, in a store.

use std::num::NonZero;
use std::time::Duration;

use super::*;
use crate::catalog;
use crate::store::hostile::{Hostile, Outcome, ROWS, put, vector};
use crate::store::merge::Allowance;
use crate::vector::hnsw::hostile::words_from;
use crate::vector::hnsw::in_memory::build_in_memory;
use crate::vector::hnsw::{Codes, Params, Sections};

const ATTEMPTS: usize = 150;

/// A search sees it, says so and scans, or makes the best of what it is given.
#[test]
fn an_index_that_lies_costs_recall_and_no_more() {
    let (hostile, mut words) = (Hostile::new().unwrap(), words_from(31));
    let outcomes: Vec<_> = (0..ATTEMPTS).map(|_| hostile.attempt(&mut words).unwrap()).collect();
    let count = |outcome| outcomes.iter().filter(|&&one| one == outcome).count();
    assert!(count(Outcome::Used) > 20 && count(Outcome::Refused) > 20, "{outcomes:?}");
}

/// Links that are whole and lead nowhere near pass every check but a look at what is found.
#[test]
fn a_worn_index_is_noticed_and_built_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.vdb");
    let mut words = words_from(31);
    let options = OpenOptions::new().index(IndexKind::Hnsw).tail_bytes_max(64 << 10);
    let store = options.background(Background::None).create(&path).unwrap();
    let documents: Vec<_> =
        (0..ROWS).map(|n| Document::from_vector(vector(&mut words)).id(n.to_string())).collect();
    store.add(documents).unwrap();
    store.compact(&Control::new()).unwrap();
    let snapshot = store.snapshot().unwrap();
    let (segment, metric) = (Arc::clone(&snapshot.view().segments[0]), snapshot.view().metric);
    let params = Params::new(Codes::F16);
    let sound =
        build_in_memory(&segment.block().unwrap(), metric, params, NonZero::<usize>::MIN, &|_| Ok(()))
            .unwrap();
    let mut bytes = sound.to_vec();
    // Codes of zeros: every row is as near as any other.
    let codes = Sections::open(&bytes).unwrap().codes_range();
    bytes[codes].fill(0);
    put(&store, &segment, &bytes).unwrap();
    drop(snapshot);
    assert_eq!(store.stats().unwrap().segments[0].note, None);
    // No time is no time for a look, either.
    let nothing = MergeLimits { rows: 0, time: Duration::ZERO };
    assert_eq!(store.merge(&nothing, &Control::new()).unwrap().indexes, 0);
    assert_eq!(store.stats().unwrap().segments[0].sampled_recall, None);
    assert!(recall::look(&store, Allowance::new(&MergeLimits::default()), 0, &Control::new()).unwrap());
    let stats = |store: &Store| {
        let segment = store.stats().unwrap().segments.remove(0);
        (segment.sampled_recall.unwrap(), segment.note.unwrap())
    };
    let fallen = stats(&store);
    assert!(fallen.0 < 0.5 && fallen.1.contains("it is built anew"), "{fallen:?}");
    // Whoever opens the file sees it, too.
    assert_eq!(stats(&OpenOptions::new().read_only(true).open(&path).unwrap()), fallen);
    assert_eq!(store.merge(&MergeLimits::default(), &Control::new()).unwrap().indexes, 1);
    let query = Query::vector(vector(&mut words));
    let exact = store.search(&query.clone().exact()).unwrap();
    let found = store.search(&query).unwrap();
    assert!(found.iter().filter(|hit| exact.contains(hit)).count() >= 8);
    assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 0);
    let after = stats(&store);
    assert!(
        after.0 >= 0.95 && after.1.starts_with("built anew, because its recall had fallen to 0."),
        "{after:?}"
    );
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(stats(&store), after);
    // With the segment goes what is known of it.
    store.delete((0..ROWS).map(|n| n.to_string())).unwrap();
    store.compact(&Control::new()).unwrap();
    assert_eq!(catalog::samples(store.snapshot().unwrap().txn()).unwrap().len(), 0);
}
