//! Tests of what a search of an index finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::error::Error;
use crate::storage::{Blob, BlobWriter, Naming, Settings, memory_file};

#[test]
fn the_nearest_are_found_whatever_the_metric_and_the_codes() {
    let (data, queries) = (Data::clustered(1, 3000, 24), Data::clustered(2, 40, 24));
    for metric in METRICS {
        for codes in Codes::ALL {
            let index = data.index(metric, codes);
            // The inner product is no distance: the nearest of all are few and long, and have few links to them.
            let bound = if metric == Metric::InnerProduct { 0.9 } else { 0.97 };
            let recall = data.recall(&index, &queries, 256);
            assert!(recall >= bound, "{metric}, {codes:?}: {recall}");
        }
    }
}

#[test]
fn hardly_a_query_comes_down_in_a_wrong_cluster() {
    let (data, queries) =
        (Data::in_clusters(100, 0.4, 1, 10_000, 32), Data::in_clusters(100, 0.4, 2, 1000, 32));
    let params = Params { m: 16, ..Params::new(Codes::Sq8) };
    let index = Index::open(data.build(Metric::L2, params, 1).unwrap()).unwrap();
    let lost = |query: &&[f32]| {
        let exact = data.exact(Metric::L2, query, 10);
        data.search(&index, query, 10, 16).iter().all(|row| !exact.contains(row))
    };
    // A search that goes down with one row loses thirteen.
    let lost = queries.rows().filter(lost).count();
    assert!(lost <= 2, "{lost} of 1,000 queries find none of their ten nearest");
}

#[test]
fn rows_are_linked_where_they_belong() {
    let data = Data::in_clusters(150, 0.2, 1, 12_000, 48);
    let lost = |ways| {
        let params = Params { m: 8, ways, ..Params::new(Codes::Sq8) };
        let index = Index::open(data.build(Metric::L2, params, 1).unwrap()).unwrap();
        let is_lost = |(row, vector): &(u64, &[f32])| data.search(&index, vector, 1, 64) != [*row];
        (1000..).zip(data.rows()).filter(is_lost).count()
    };
    let [by_one, by_several] = [1, WAYS].map(lost);
    assert!(
        by_one >= 10 && by_several <= 2,
        "{by_one} and {by_several} of 12,000 rows are not found by themselves"
    );
}

#[test]
fn a_search_turns_back_where_nothing_near_is_allowed() {
    let (data, queries) = (Data::clustered(3, 3000, 24), Data::clustered(4, 20, 24));
    for metric in METRICS {
        for codes in Codes::ALL {
            let index = data.index(metric, codes);
            for query in queries.rows() {
                let (query, wanted) =
                    (Query::new(metric, query).unwrap(), Wanted { candidates: 15, effort: 30 });
                let (near, computed) = index.near(&query, wanted).unwrap();
                let some =
                    |position| index.near_if(&query, wanted, Some(&|other| other == position)).unwrap().0;
                assert_eq!(index.near_if(&query, wanted, Some(&|_| true)).unwrap(), (near.clone(), computed));
                let (none, least) = index.near_if(&query, wanted, Some(&|_| false)).unwrap();
                assert!(none.is_empty() && 0 < least && least < computed, "{least} of {computed}");
                let on: Vec<_> = (0..3000).map(some).filter(|found| !found.is_empty()).collect();
                assert!(on.len() == 8 && on.iter().all(|found| *found == near), "one row of eight is enough");
            }
        }
    }
    let few = Data::clustered(3, 20, 24);
    let (index, query) =
        (few.index(Metric::L2, Codes::F32), Query::new(Metric::L2, &few.vectors[..24]).unwrap());
    let wanted = Wanted { candidates: 20, effort: 20 };
    assert_eq!(
        index.near_if(&query, wanted, Some(&|_| false)).unwrap().0.len(),
        20,
        "there is no level above"
    );
}

#[test]
fn a_build_by_one_thread_is_the_same_each_time_and_by_two_as_good() {
    let (data, queries) = (Data::clustered(5, 3000, 16), Data::clustered(6, 40, 16));
    let params = Params::new(Codes::Sq8);
    let one = data.build(Metric::Cosine, params, 1).unwrap();
    assert!(*one == *data.build(Metric::Cosine, params, 1).unwrap());
    let two = Index::open(data.build(Metric::Cosine, params, 2).unwrap()).unwrap();
    assert!(data.recall(&two, &queries, 128) >= 0.97);
}

#[test]
fn searches_at_once_find_what_one_finds() {
    let (data, queries) = (Data::clustered(7, 2000, 16), Data::clustered(8, 50, 16));
    let index = data.index(Metric::Cosine, Codes::F16);
    let find =
        || -> Vec<Vec<u64>> { queries.rows().map(|query| data.search(&index, query, 10, 40)).collect() };
    let expected = find();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(find)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn an_index_in_a_store_file_finds_the_same() {
    let (data, queries) = (Data::clustered(9, 1000, 16), Data::clustered(10, 30, 16));
    let built = data.build(Metric::L2, Params::new(Codes::Sq8), 1).unwrap();
    let settings = Settings { cache_bytes: 1 << 20, ..Settings::default() };
    let file = memory_file(settings).unwrap();
    let len = crate::codec::to_u64(built.len());
    let mut writer = BlobWriter::new(&file.container, len, Naming::InThisCommit).unwrap();
    writer.write(&built).unwrap();
    let stored = Blob::open(&file.container, writer.finish().unwrap(), "index").unwrap();
    let (built, stored) = (Index::open(built).unwrap(), Index::open(stored.shared()).unwrap());
    assert_eq!((built.shape(), built.curve()), (stored.shape(), stored.curve()));
    for query in queries.rows() {
        let query = Query::new(Metric::L2, query).unwrap();
        let wanted = Wanted { candidates: 30, effort: 40 };
        assert_eq!(built.near(&query, wanted).unwrap(), stored.near(&query, wanted).unwrap());
    }
}

#[test]
fn few_rows_are_all_found() {
    for rows in [0, 1, 2, 3, 17] {
        let data = Data::clustered(11, rows, 4);
        for metric in METRICS {
            let index = data.index(metric, Codes::F16);
            let mut found = data.search(&index, &[1.0, 2.0, 3.0, 4.0], 100, 100);
            found.sort_unstable();
            let all: Vec<u64> = (1000..1000 + crate::codec::to_u64(rows)).collect();
            assert_eq!(found, all, "{metric}");
            assert!(data.search(&index, &[1.0; 4], 0, 10).is_empty());
        }
    }
}

#[test]
fn duplicates_and_zero_vectors_do_no_harm() {
    let mut vectors = [1.0, 2.0, 3.0].repeat(500);
    vectors.extend([0.0; 300]);
    vectors.extend(numbers(12, 300));
    let data = Data::new(3, vectors);
    for metric in METRICS {
        for codes in Codes::ALL {
            let index = data.index(metric, codes);
            let found = data.search(&index, &[1.0, 2.0, 3.0], 10, 200);
            assert_eq!(found.len(), 10, "{metric}, {codes:?}");
            assert!(found.is_sorted() || metric == Metric::InnerProduct, "equals come by row: {found:?}");
        }
    }
}

#[test]
fn a_build_stops_when_it_is_told_to() {
    let data = Data::clustered(13, 2000, 16);
    for threads in [1, 2] {
        for last in [0, 700, 1900] {
            let seen = AtomicU64::new(0);
            let step = |done: u64| {
                seen.fetch_max(done, Ordering::Relaxed);
                if done > last { Err(Error::Cancelled) } else { Ok(()) }
            };
            let threads = NonZero::new(threads).unwrap();
            let params = Params::new(Codes::F32);
            let result = build_in_memory(&data.block(), Metric::L2, params, threads, &step).map(drop);
            assert!(matches!(result, Err(Error::Cancelled)));
            assert!((last + 1..last + 100).contains(&seen.into_inner()));
        }
    }
}

#[test]
fn the_curve_tells_the_effort_for_a_recall() {
    let (data, queries) = (Data::clustered(14, 6000, 32), Data::clustered(15, 100, 32));
    let index = data.index(Metric::Cosine, Codes::Sq8);
    let curve = index.curve();
    assert_eq!((curve.queries, curve.points.len()), (200, 13));
    let last = curve.points.last().unwrap();
    assert!(last.recall > 0.95 && last.recall >= curve.points[0].recall, "{curve:?}");
    assert!(last.computed > curve.points[0].computed && last.computed < 6000.0);
    for recall in [0.8, 0.9, 0.95] {
        let effort = curve.effort_for(recall).unwrap();
        let found = data.recall(&index, &queries, effort);
        assert!(found >= f64::from(recall) - 0.03, "{recall} wanted, {found} at {effort}");
    }
}

#[test]
fn efforts_between_measured_ones_are_in_proportion() {
    let point = |effort, recall| curve::Point { effort, recall, error: 0.0, computed: 1.0 };
    let curve = Curve { queries: 9, points: vec![point(16, 0.75), point(32, 0.875), point(64, 0.9375)] };
    let efforts = [0.5, 0.75, 0.8125, 0.875, 0.90625, 0.9375, 0.95].map(|recall| curve.effort_for(recall));
    assert_eq!(efforts, [Some(16), Some(16), Some(24), Some(32), Some(48), Some(64), None]);
    assert_eq!(Curve::default().effort_for(0.1), None);
    let mut section = [0; sections::CURVE_BYTES];
    curve.encode(&mut section);
    assert_eq!(Curve::decode(&section).unwrap(), curve);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let data = Data::clustered(16, 100, 8);
    let params = Params::new(Codes::F16);
    for wrong in
        [Params { m: 1, ..params }, Params { m: 257, ..params }, Params { ef_construction: 0, ..params }]
    {
        assert!(matches!(data.build(Metric::L2, wrong, 1), Err(Error::Invalid { .. })));
    }
    let index = data.index(Metric::L2, Codes::F16);
    let wanted = Wanted { candidates: 5, effort: 5 };
    let query = Query::new(Metric::L2, &[1.0; 7]).unwrap();
    assert!(matches!(index.near(&query, wanted), Err(Error::Shape { expected: 8, found: 7, .. })));
}

#[test]
fn no_blob_is_larger_than_what_was_granted() {
    for (rows, m) in [(1, 32), (10, 2), (100, 16), (5000, 2), (5000, 32), (3000, 256)] {
        let data = Data::clustered(17, rows, 4);
        let params = Params { m, ef_construction: 4, ..Params::new(Codes::Sq8) };
        let blob = Arc::new(data.build(Metric::L2, params, 1).unwrap());
        let granted = build_bytes(rows, 4, params, 1);
        // The codes, four bytes a row, are in the file alone; levels, order and offsets are not in the blob.
        let needed = blob.len() - 4 * rows + 13 * rows;
        assert!(needed < granted, "{rows} rows, m {m}: {needed} of {granted}");
        // No more than the fixed parts and the allowance for chance above it.
        let spare = granted - needed;
        assert!(spare < (3 << 20) + blob.len() / 2, "{rows} rows, m {m}: {spare}");
    }
}

/// Distances are computed by other instructions from 16 values on, and again for what is no multiple of 8, and 64 at a time.
#[test]
fn the_scores_of_the_graph_are_those_of_the_vectors() {
    for dim in [5, 8, 16, 24, 48, 64, 80, 144] {
        let (data, queries) = (Data::clustered(18, 300, dim), Data::clustered(19, 5, dim));
        for metric in METRICS {
            for (codes, tolerance) in [(Codes::F32, 1e-5), (Codes::F16, 2e-3), (Codes::Sq8, 3e-2)] {
                let index = data.index(metric, codes);
                for query in queries.rows() {
                    let query = Query::new(metric, query).unwrap();
                    let (near, _) = index.near(&query, Wanted { candidates: 50, effort: 100 }).unwrap();
                    assert!(near.len() >= 40, "{dim}, {metric}, {codes:?}: {}", near.len());
                    for near in near {
                        let mut top = TopK::new(1);
                        let position = std::iter::once(near.position);
                        scan_positions(&data.block(), &query, position, &|row| row, &mut top).unwrap();
                        let exact = top.into_sorted()[0].score;
                        let size = exact.abs().max(1.0);
                        assert!(
                            (near.score - exact).abs() <= tolerance * size,
                            "{dim}, {metric}, {codes:?}: {} of {exact}",
                            near.score
                        );
                    }
                }
            }
        }
    }
}
