//! Indexes of segments: built by compaction, searched where the planner says so, never trusted.

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use crate::util::Random;
use vdb::{
    Background, CancelToken, CheckLevel, Control, Document, Error, Filter, Hit, IndexKind, Metric,
    OpenOptions, Query, Store,
};

const ROWS: u64 = 12_000;
pub(crate) const DIM: usize = 64;
const CLUSTERS: u64 = 30;

/// A vector near the centre of a cluster.
fn vector(cluster: u64, random: &mut Random) -> Vec<f32> {
    let centre = Random(cluster * 977).vector(DIM);
    centre.iter().zip(random.vector(DIM)).map(|(c, x)| (c + 0.7 * x) / 32_768.0).collect()
}

pub(crate) fn document(n: u64) -> Document {
    let cluster = n * 7 % CLUSTERS;
    let document = Document::from_vector(vector(cluster, &mut Random(n))).id(n.to_string());
    document.metadata_json(&format!(r#"{{"n":{n},"cluster":{cluster}}}"#)).unwrap()
}

/// What a test does not do itself is not done.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::new().index(IndexKind::Hnsw).dim(DIM).background(Background::None)
}

fn fill(store: &Store) {
    store.add((0..ROWS).map(document)).unwrap();
    assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
}

/// A store that no test changes.
fn shared() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let store = options().in_memory().unwrap();
        fill(&store);
        store
    })
}

pub(crate) fn queries() -> impl Iterator<Item = (u64, Query)> {
    (0..40).map(|n| (n % CLUSTERS, Query::vector(vector(n % CLUSTERS, &mut Random(1_000_000 + n)))))
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}

/// How many of the exact hits were found; the scores of those are the same.
pub(crate) fn found(hits: &[Hit], exact: &[Hit]) -> usize {
    assert_eq!(hits.len(), exact.len());
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(hits.len(), ids(hits).into_iter().collect::<HashSet<_>>().len());
    let same = |hit: &&Hit| {
        exact.iter().any(|other| other.id == hit.id && other.score.to_bits() == hit.score.to_bits())
    };
    hits.iter().filter(same).count()
}

#[test]
fn a_search_by_index_finds_what_it_promises() {
    let snapshot = shared().snapshot().unwrap();
    let (mut hits_found, mut hits_wanted) = (0, 0);
    for (_, query) in queries() {
        let found_here = snapshot.explain(&query).unwrap();
        let plan = &found_here.plan;
        assert_eq!((plan.path, plan.allowed), ("hnsw", ROWS));
        assert!((plan.recall_promised - 0.95).abs() < 1e-6 && plan.candidates < ROWS / 2, "{plan:?}");
        assert!(plan.rescored >= 10, "{plan:?}");
        let exact = snapshot.explain(&query.clone().exact()).unwrap();
        assert_eq!((exact.plan.path, exact.plan.candidates, exact.plan.rescored), ("exact", ROWS, 0));
        hits_found += found(&found_here.hits, &exact.hits);
        hits_wanted += exact.hits.len();
    }
    assert!(100 * hits_found >= 95 * hits_wanted, "{hits_found} of {hits_wanted}");
}

#[test]
fn a_recall_of_one_is_the_naive_search() {
    let snapshot = shared().snapshot().unwrap();
    let vectors: Vec<Vec<f32>> = (0..ROWS).map(|n| vector(n * 7 % CLUSTERS, &mut Random(n))).collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    for n in 0..5 {
        let query = vector(n, &mut Random(2_000_000 + n));
        let cosine = |v: &[f32]| dot(v, &query) / (dot(v, v) * dot(&query, &query)).sqrt();
        let mut all: Vec<(f64, usize)> = vectors.iter().map(|v| cosine(v)).zip(0..).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let expected: Vec<String> = all.iter().take(20).map(|(_, n)| n.to_string()).collect();
        let query = Query::vector(query).k(20).recall(1.0);
        assert_eq!(ids(&snapshot.search(&query).unwrap()), expected);
    }
}

#[test]
fn a_filter_never_loses_documents() {
    let snapshot = shared().snapshot().unwrap();
    let (mut hits_found, mut hits_wanted, mut by_graph) = (0, 0, 0);
    for part in [2, 4, 10, 100, 1000, ROWS / 2] {
        let filter = Filter::field("n").lt(ROWS / part);
        for (_, query) in queries().take(6) {
            let query = query.filter(filter.clone());
            let answer = snapshot.explain(&query).unwrap();
            assert_eq!(answer.plan.allowed, ROWS / part);
            assert_eq!(answer.hits.len() as u64, (ROWS / part).min(10), "1 / {part}");
            by_graph += usize::from(answer.plan.path == "hnsw");
            let exact = snapshot.search(&query.exact()).unwrap();
            hits_found += found(&answer.hits, &exact);
            hits_wanted += exact.len();
        }
    }
    assert!(by_graph >= 6, "{by_graph} searches went by the graph");
    assert!(100 * hits_found >= 95 * hits_wanted, "{hits_found} of {hits_wanted}");
}

#[test]
fn a_filter_against_the_query_is_answered_rightly() {
    let snapshot = shared().snapshot().unwrap();
    for (cluster, query) in queries().take(8) {
        // Of the documents that are not near, half.
        let far = (0..CLUSTERS).filter(|other| *other != cluster).step_by(2);
        let filter =
            far.map(|other| Filter::field("cluster").eq(other)).reduce(|all, one| all | one).unwrap();
        let query = query.filter(filter);
        let answer = snapshot.search(&query).unwrap();
        let exact = snapshot.search(&query.exact()).unwrap();
        assert!(found(&answer, &exact) >= 9, "{:?} {:?}", ids(&answer), ids(&exact));
    }
}

#[test]
fn any_number_of_documents_is_found() {
    let snapshot = shared().snapshot().unwrap();
    let (_, query) = queries().next().unwrap();
    for k in [0, 1, 2, 100, 1000, 20_000, usize::MAX] {
        let hits = snapshot.search(&query.clone().k(k)).unwrap();
        assert_eq!(hits.len(), k.min(usize::try_from(ROWS).unwrap()));
    }
    let like = snapshot.search(&Query::like("17").k(10)).unwrap();
    assert!(like.len() == 10 && !ids(&like).contains(&"17"));
}

#[test]
fn a_recall_that_cannot_be_is_refused() {
    for recall in [0.0, -0.5, 1.000_1, f32::NAN, f32::INFINITY] {
        let (_, query) = queries().next().unwrap();
        let error = shared().search(&query.recall(recall)).unwrap_err();
        assert!(matches!(&error, Error::Invalid { what, .. } if what == "recall"), "{error}");
    }
}

#[test]
fn deleted_documents_are_not_found_and_their_index_goes_with_its_segment() {
    let directory = tempfile::tempdir().unwrap();
    let store = options().create(directory.path().join("a.vdb")).unwrap();
    fill(&store);
    store.delete((0..ROWS).step_by(5).map(|n| n.to_string())).unwrap();
    store.add((ROWS..ROWS + 50).map(document)).unwrap();
    let (mut hits_found, mut hits_wanted, mut by_graph) = (0, 0, 0);
    for (_, query) in queries() {
        let answer = store.snapshot().unwrap().explain(&query).unwrap();
        by_graph += usize::from(answer.plan.path == "hnsw");
        let exact = store.search(&query.exact()).unwrap();
        hits_found += found(&answer.hits, &exact);
        hits_wanted += exact.len();
    }
    assert!(
        by_graph > 30 && 100 * hits_found >= 95 * hits_wanted,
        "{by_graph}: {hits_found} of {hits_wanted}"
    );
    let before = store.stats().unwrap();
    assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
    let after = store.stats().unwrap();
    let segment = &after.segments[0];
    assert_eq!((segment.index, segment.rows), ("hnsw", ROWS / 5 * 4 + 50));
    assert!(after.index_bytes < before.index_bytes, "{after:?}");
    assert_eq!(after.blob_bytes, segment.bytes + segment.index_bytes);
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 0);
    // Too few are left for an index.
    store.delete((3..2 * ROWS).map(|n| n.to_string())).unwrap();
    for (_, query) in queries().take(5) {
        assert_eq!(store.search(&query).unwrap().len(), 2, "documents 1 and 2 are left");
    }
    store.compact(&Control::new()).unwrap();
    let least = store.stats().unwrap();
    assert_eq!((least.index_bytes, least.blob_bytes), (0, least.segments[0].bytes));
    assert!(least.occupancy.file < before.occupancy.file / 4, "{least:?}");
}

#[test]
fn documents_of_many_parts_count_once() {
    let store = options().in_memory().unwrap();
    let documents = (0..6_000).map(|n| {
        let mut random = Random(n);
        let parts = 2;
        let text = "x".repeat(parts);
        let document = Document::new(text).id(n.to_string());
        (0..parts).fold(document, |document, part| {
            document.part(part..part + 1, Some(vector(n % CLUSTERS, &mut random)))
        })
    });
    store.add(documents).unwrap();
    store.compact(&Control::new()).unwrap();
    let snapshot = store.snapshot().unwrap();
    let (mut hits_found, mut hits_wanted, mut by_graph) = (0, 0, 0);
    for (_, query) in queries() {
        let answer = snapshot.explain(&query).unwrap();
        by_graph += usize::from(answer.plan.path == "hnsw");
        let exact = snapshot.search(&query.exact()).unwrap();
        assert_eq!(exact.len(), 10);
        hits_found += found(&answer.hits, &exact);
        hits_wanted += exact.len();
    }
    assert!(by_graph > 0 && 100 * hits_found >= 95 * hits_wanted, "{by_graph} {hits_found} of {hits_wanted}");
}

/// Where in an index.
type Place = Box<dyn Fn(&[u8]) -> usize>;

/// Changes bytes of the index in a file: `at` from its beginning, after which `bytes` stand there.
pub(crate) fn damage(path: &Path, at: impl Fn(&[u8]) -> usize, bytes: &[u8]) {
    let mut file = std::fs::read(path).unwrap();
    let starts: Vec<usize> = file
        .chunks(4096)
        .enumerate()
        .filter(|(_, page)| page.starts_with(b"vdbhnsw\n") || page.starts_with(b"vdbcode\n"))
        .map(|(n, _)| n * 4096)
        .collect();
    assert_eq!(starts.len(), 1);
    let place = starts[0] + at(&file[starts[0]..]);
    file[place..place + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_damaged_index_is_named_and_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole.vdb");
    let store = options().create(&whole).unwrap();
    fill(&store);
    store.close().unwrap();
    let (_, query) = queries().next().unwrap();
    let section = |n: usize| {
        move |blob: &[u8]| {
            let at = 64 + 16 * n;
            usize::try_from(u64::from_le_bytes(blob[at..at + 8].try_into().unwrap())).unwrap()
        }
    };
    // The header, the number of rows, a link that leads nowhere.
    let cases: [(Place, &[u8]); 3] = [
        (Box::new(|_| 0), b"x"),
        (Box::new(|_| 24), &[1, 0]),
        (Box::new(section(1)), &[0xff, 0xff, 0xff, 0x7f]),
    ];
    for (n, (at, bytes)) in cases.into_iter().enumerate() {
        let path = directory.path().join(format!("{n}.vdb"));
        std::fs::copy(&whole, &path).unwrap();
        damage(&path, at, bytes);
        let store = Store::open(&path).unwrap();
        let answer = store.snapshot().unwrap().explain(&query).unwrap();
        assert_eq!(answer.plan.path, "exact", "case {n}");
        assert!(answer.plan.notes[0].contains("index"), "{:?}", answer.plan.notes);
        assert_eq!(answer.hits, store.search(&query.clone().exact()).unwrap());
        let stats = store.stats().unwrap();
        assert!(stats.segments[0].note.is_some(), "case {n}");
        let report = store.check(CheckLevel::Deep, &Control::new()).unwrap();
        assert!(report.damage.iter().any(|d| d.what.starts_with("index of segment")), "{report:?}");
        // Compaction builds it anew.
        assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
        assert_eq!(store.snapshot().unwrap().explain(&query).unwrap().plan.path, "hnsw");
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    }
}

#[test]
fn an_index_is_found_again_at_the_next_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.vdb");
    for metric in [Metric::L2, Metric::InnerProduct] {
        let store = options().metric(metric).create(&path).unwrap();
        fill(&store);
        let (_, query) = queries().next().unwrap();
        let hits = store.search(&query).unwrap();
        let segments = store.stats().unwrap().segments;
        assert!(segments[0].recall.last().unwrap().recall >= 0.95, "{segments:?}");
        store.close().unwrap();
        let store = OpenOptions::new().read_only(true).open(&path).unwrap();
        assert_eq!(store.search(&query).unwrap(), hits);
        assert_eq!(store.stats().unwrap().segments, segments);
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
        drop(store);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn no_index_is_built_where_none_is_wanted_or_memory_is_short() {
    let none = || OpenOptions::new().background(Background::None);
    let exact = none().index(IndexKind::Exact).index_rows_min(1).in_memory().unwrap();
    let few = none().in_memory().unwrap();
    // A segment that was made with more memory than there is to index it.
    let (directory, token) = (tempfile::tempdir().unwrap(), CancelToken::new());
    let path = directory.path().join("short.vdb");
    let roomy = options().create(&path).unwrap();
    roomy.add((0..100_000).map(document)).unwrap();
    let stop = token.clone();
    let control = Control::new().cancel(&token).on_progress(move |progress| {
        if progress.stage == "index" {
            stop.cancel();
        }
    });
    assert!(roomy.compact(&control).is_err());
    roomy.close().unwrap();
    let short = options().memory_budget(vdb::limits::MEMORY_BUDGET_MIN).open(&path).unwrap();
    for (store, rows, reason) in
        [(exact, 300, "exactly"), (few, 300, "10000 rows"), (short, 0, "MiB, the budget leaves")]
    {
        store.add((0..rows).map(document)).unwrap();
        assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 0);
        let segment = store.stats().unwrap().segments.remove(0);
        assert_eq!((segment.index, segment.index_bytes), ("exact", 0));
        assert!(segment.note.as_deref().unwrap().contains(reason), "{segment:?}");
    }
}

#[test]
fn a_build_that_is_cancelled_leaves_everything_as_it_was() {
    let store = options().in_memory().unwrap();
    store.add((0..ROWS).map(document)).unwrap();
    let token = CancelToken::new();
    let control = Control::new().cancel(&token).on_progress({
        let token = token.clone();
        move |progress| {
            if progress.stage == "index" && progress.done > ROWS / 2 {
                token.cancel();
            }
        }
    });
    let error = store.compact(&control).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    let stats = store.stats().unwrap();
    assert_eq!((stats.documents, stats.index_bytes, stats.segments.len()), (ROWS, 0, 1));
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
}

#[test]
fn writers_go_on_while_an_index_is_built() {
    let store = options().in_memory().unwrap();
    store.add((0..ROWS).map(document)).unwrap();
    let writer = store.clone();
    let control = Control::new().on_progress(move |progress| {
        if progress.stage == "index" && (1..ROWS / 2).contains(&progress.done) {
            // Would wait for ever if the build held the lock of writers.
            writer.add([document(progress.done + ROWS)]).unwrap();
            writer.delete([progress.done.to_string()]).unwrap();
        }
    });
    assert_eq!(store.compact(&control).unwrap().indexes_built, 1);
    assert!(store.stats().unwrap().dead > 0);
    for (_, query) in queries() {
        assert_eq!(found(&store.search(&query).unwrap(), &store.search(&query).unwrap()), 10);
    }
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

#[test]
fn ids_alone_are_those_of_the_documents() {
    let store = options().index_rows_min(1000).in_memory().unwrap();
    let with_text = |n: u64, text: &str| {
        let document = Document::new(text).vector(vector(n % CLUSTERS, &mut Random(n)));
        document.metadata_json(&format!(r#"{{"n":{n}}}"#)).unwrap()
    };
    store.add((0..2000).map(|n| with_text(n, "a text").id(n.to_string()))).unwrap();
    store.compact(&Control::new()).unwrap();
    let same = || {
        for (_, query) in queries() {
            let whole = store.search(&query).unwrap();
            let short = store.search(&query.ids_only()).unwrap();
            let pairs = |hits: &[Hit]| {
                hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect::<Vec<_>>()
            };
            assert_eq!(pairs(&short), pairs(&whole));
            assert!(whole.iter().all(|hit| hit.text.is_some() && !hit.metadata.is_empty()));
            assert!(
                short.iter().all(|hit| hit.text.is_none() && hit.metadata.is_empty() && hit.span.is_empty())
            );
        }
    };
    same();
    same();
    // Rows of deleted and replaced documents are not those of others.
    store.delete((0..500).map(|n| n.to_string())).unwrap();
    store.add((500..700).map(|n| with_text(n + 1000, "another").id(n.to_string()))).unwrap();
    same();
}
