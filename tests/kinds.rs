//! Every kind of index, vectors of half precision, and indexes that are built or built anew by themselves.

use vdb::{
    Background, CheckLevel, Control, Document, Filter, IndexKind, MergeLimits, Metric, OpenOptions,
    Precision, Query, SearchPath, Store,
};

use crate::indexes::{document, found, options, queries};
use crate::util::Random;

/// Every kind finds what it promises, whole and under filters, of vectors of either precision.
#[test]
fn every_kind_of_index_finds_what_it_promises() {
    for (kind, precision) in [
        (IndexKind::Sq8, Precision::F32),
        (IndexKind::Sq4, Precision::F16),
        (IndexKind::HnswSq8, Precision::F16),
        (IndexKind::HnswF32, Precision::F32),
    ] {
        let store = options().index(kind).vectors(precision).in_memory().unwrap();
        store.add((0..6000).map(document)).unwrap();
        assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
        store.delete((0..600).map(|n| (7 * n).to_string())).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!((stats.segments[0].index, stats.vectors), (kind.name(), precision));
        let snapshot = store.snapshot().unwrap();
        let (mut hits_found, mut hits_wanted) = (0, 0);
        for (cluster, query) in queries() {
            for filter in
                [None, Some(Filter::field("n").lt(3000)), Some(Filter::field("cluster").eq(cluster + 1))]
            {
                let query = filter.into_iter().fold(query.clone(), Query::filter);
                let exact = snapshot.search(&query.clone().exact()).unwrap();
                for path in [SearchPath::Codes, SearchPath::Graph] {
                    hits_found += found(&snapshot.search(&query.clone().path(path)).unwrap(), &exact);
                    hits_wanted += exact.len();
                }
                hits_found += found(&snapshot.search(&query).unwrap(), &exact);
                hits_wanted += exact.len();
            }
        }
        assert!(100 * hits_found >= 95 * hits_wanted, "{kind}: {hits_found} of {hits_wanted}");
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    }
}

/// The sections of the only index in a file, which are not empty, each with where it begins in the file.
fn sections(file: &[u8]) -> Vec<(usize, usize)> {
    let (at, table, count) = (0..file.len())
        .step_by(4096)
        .find_map(|at| match file[at..].first_chunk::<8>()? {
            b"vdbhnsw\n" => Some((at, 64, 8)),
            b"vdbcode\n" => Some((at, 32, 4)),
            _ => None,
        })
        .unwrap();
    let number = |place: usize| {
        usize::try_from(u64::from_le_bytes(file[place..place + 8].try_into().unwrap())).unwrap()
    };
    let place = |n: usize| (at + number(at + table + 16 * n), number(at + table + 16 * n + 8));
    let mut all: Vec<_> = (0..count).map(place).filter(|(_, len)| *len > 0).collect();
    all.push((at, table));
    all
}

/// Whatever section is damaged, by a bit and where it is least likely to be met, the index is not used.
#[test]
fn damage_anywhere_in_an_index_is_named_and_it_is_not_searched() {
    const WIDE: usize = 128;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.vdb");
    let mut random = Random(5);
    let mut vector = || random.vector(WIDE).iter().map(|x| x / 32_768.0).collect::<Vec<f32>>();
    let vectors: Vec<_> = (0..3000).map(|_| vector()).collect();
    let query = Query::vector(vector()).recall(0.5);
    for (kind, metric, count) in [
        (IndexKind::Sq8, Metric::L2, 5),
        (IndexKind::Sq4, Metric::Cosine, 4),
        (IndexKind::HnswSq8, Metric::L2, 9),
        (IndexKind::Hnsw, Metric::Cosine, 7),
        (IndexKind::HnswF32, Metric::InnerProduct, 7),
    ] {
        let options = || OpenOptions::new().index(kind).metric(metric).background(Background::None);
        let store = options().create(&path).unwrap();
        store.add(vectors.iter().cloned().map(Document::from_vector)).unwrap();
        store.compact(&Control::new()).unwrap();
        store.close().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let sections = sections(&whole);
        assert_eq!(sections.len(), count, "{kind}");
        for (start, len) in sections {
            let mut bad = whole.clone();
            bad[start + len - 1] ^= 0x40;
            std::fs::write(&path, bad).unwrap();
            let store = options().read_only(true).open(&path).unwrap();
            let answer = store.snapshot().unwrap().explain(&query).unwrap();
            assert_eq!((answer.plan.path, answer.plan.notes.len()), ("exact", 1), "{kind} {start}");
            assert!(
                answer.plan.notes[0].starts_with("index of segment 0 is damaged"),
                "{:?}",
                answer.plan.notes
            );
            assert_eq!(answer.hits, store.search(&query.clone().exact()).unwrap());
            assert_eq!(store.stats().unwrap().segments[0].note.as_ref(), answer.plan.notes.first());
            let report = store.check(CheckLevel::Deep, &Control::new()).unwrap();
            assert!(report.damage.iter().any(|it| it.what == "index of segment 0"), "{kind}: {report:?}");
        }
        // Nobody has searched yet.
        let store = options().open(&path).unwrap();
        assert_eq!(store.compact(&Control::new()).unwrap().indexes_built, 1);
        assert_ne!(store.snapshot().unwrap().explain(&query).unwrap().plan.path, "exact");
        store.close().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn vectors_of_half_precision_come_back_rounded_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.vdb");
    let options = || OpenOptions::new().vectors(Precision::F16).metric(Metric::L2).tail_bytes_max(4000);
    let store = options().create(&path).unwrap();
    let given = |n: u64| {
        Document::from_vector(vec![1.0 + 0.0001 * Random(n).vector(1)[0] / 32_768.0, 0.1]).id(n.to_string())
    };
    store.add((0..1000).map(given)).unwrap();
    let before = store.snapshot().unwrap().documents().with_vectors().map(Result::unwrap).collect::<Vec<_>>();
    // The nearest of eleven significant bits.
    assert!(before.iter().all(|document| document.parts()[0].vector == Some(vec![1.0, 0.099_975_586])));
    store.add([given(5000)]).unwrap();
    for (vector, reason) in [(vec![70_000.0, 1.0], "65504"), (vec![1.0], ""), (vec![f32::NAN, 1.0], "finite")]
    {
        let error = store.add([Document::from_vector(vector)]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let query = Query::vector(vec![1.0, 0.5]).k(2000);
    let hits = store.search(&query).unwrap();
    store.compact(&Control::new()).unwrap();
    assert_eq!(store.search(&query).unwrap(), hits, "the same bits in the tail and in a segment");
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.search(&query).unwrap(), hits);
    let stats = store.stats().unwrap();
    assert_eq!(
        (stats.vectors, stats.segments.len(), stats.segments[0].bytes),
        (Precision::F16, 1, 2 * 2 * 1001)
    );
}

#[test]
fn the_thread_of_a_store_builds_indexes_after_merging() {
    let store = options().background(Background::Thread).tail_bytes_max(1 << 18).in_memory().unwrap();
    for start in 0..8 {
        store.add((1500 * start..1500 * (start + 1)).map(document)).unwrap();
    }
    while store.stats().unwrap().merges_due + store.stats().unwrap().indexes_due > 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let (_, query) = queries().next().unwrap();
    assert_ne!(store.snapshot().unwrap().explain(&query).unwrap().plan.path, "exact");
    store.close().unwrap();
}

#[test]
fn indexes_are_built_within_limits_and_what_waits_is_told() {
    let store = options().tail_bytes_max(1 << 18).in_memory().unwrap();
    store.add((0..4000).map(document)).unwrap();
    let none = MergeLimits { rows: 10, time: std::time::Duration::ZERO };
    let report = store.merge(&none, &Control::new()).unwrap();
    assert_eq!((report.indexes, report.indexes_waiting), (0, store.stats().unwrap().indexes_due));
    assert!(report.indexes_waiting > 0);
    let report = store.merge(&MergeLimits { rows: 100_000, ..none }, &Control::new()).unwrap();
    assert!(report.indexes > 0);
    assert_eq!((report.indexes_waiting, store.stats().unwrap().indexes_due), (0, 0));
}
