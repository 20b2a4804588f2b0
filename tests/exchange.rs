//! Exchange with FAISS, by the store and by the Python package of FAISS.

use std::path::Path;
use std::process::Command;

use vdb::{Control, Document, Error, IndexKind, Metric, OpenOptions, Query, Store};

const DIM: usize = 16;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/faiss-raw").join(name)
}

/// The query vectors that the Python script uses, too.
fn queries() -> Vec<Vec<f32>> {
    let bytes = std::fs::read(fixture("queries.npy")).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let values = &bytes[10 + header..];
    let values: Vec<f32> =
        values.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
    values.chunks_exact(DIM).map(<[f32]>::to_vec).collect()
}

fn nearest(store: &Store, query: &[f32]) -> Vec<String> {
    store.search(&Query::vector(query).k(10)).unwrap().into_iter().map(|hit| hit.id).collect()
}

/// What the wheel `faiss-cpu` finds in a file: positions of the ten nearest of each query.
fn python_neighbours(index: &Path) -> Vec<Vec<u64>> {
    let python = std::env::var_os("VDB_TEST_PYTHON").expect("VDB_TEST_PYTHON is not set: run make test");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/faiss_reads_export.py");
    let output = Command::new(python).arg(script).arg(index).arg(fixture("queries.npy")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(report["neighbours"].clone()).unwrap()
}

#[test]
fn faiss_opens_an_export_and_finds_what_the_store_finds() {
    let dir = tempfile::tempdir().unwrap();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let store = OpenOptions::new().metric(metric).in_memory().unwrap();
        let mut txn = store.write().unwrap();
        assert_eq!(txn.import_faiss(fixture("flat-l2.faiss")).unwrap(), 200);
        txn.commit().unwrap();
        // Dead rows and a hole in the row numbers: positions are no longer ids.
        store.delete(["3", "77"]).unwrap();
        let path = dir.path().join(format!("{metric}.faiss"));
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.export_faiss(&path).unwrap(), 198);
        let ids: Vec<String> =
            snapshot.documents().map(|document| document.unwrap().id_ref().unwrap().to_owned()).collect();
        for (query, positions) in queries().iter().zip(python_neighbours(&path)) {
            let expected: Vec<String> =
                positions.iter().map(|&at| ids[usize::try_from(at).unwrap()].clone()).collect();
            assert_eq!(nearest(&store, query), expected, "{metric}");
        }
        let error = snapshot.export_faiss(&path).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
    }
}

/// Graphs and codes as FAISS reads them: what it finds is what the store finds, but for what codes lose, which the store
/// scores again from the vectors.
#[test]
fn faiss_opens_an_exported_index_and_finds_the_same_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for (kind, least) in [
            (IndexKind::Exact, 1.0),
            (IndexKind::Sq8, 0.95),
            (IndexKind::Sq4, 0.7),
            (IndexKind::Hnsw, 0.97),
            (IndexKind::HnswSq8, 0.92),
            (IndexKind::HnswF32, 0.97),
        ] {
            let store = OpenOptions::new().metric(metric).index(kind).index_rows_min(1).in_memory().unwrap();
            let mut txn = store.write().unwrap();
            txn.import_faiss(fixture("flat-l2.faiss")).unwrap();
            txn.commit().unwrap();
            let path = dir.path().join(format!("{metric}-{kind}.faiss"));
            let error = store.snapshot().unwrap().export_faiss_index(&path).unwrap_err();
            assert!(error.to_string().contains("compact"), "{error}");
            store.compact(&Control::new()).unwrap();
            assert_eq!(store.stats().unwrap().segments[0].index, kind.name());
            assert_eq!(store.snapshot().unwrap().export_faiss_index(&path).unwrap(), 200);
            let (mut found, mut wanted) = (0.0, 0.0);
            for (query, positions) in queries().iter().zip(python_neighbours(&path)) {
                let near = nearest(&store, query);
                wanted += 10.0;
                found += f64::from(
                    u8::try_from(
                        positions.iter().filter(|position| near.contains(&position.to_string())).count(),
                    )
                    .unwrap(),
                );
            }
            assert!(found / wanted >= least, "{metric} {kind}: {}", found / wanted);
        }
    }
}

#[test]
fn an_export_read_back_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new().metric(Metric::L2);
    let store = options.clone().in_memory().unwrap();
    store.add((0..50_u8).map(|n| Document::from_vector(vec![f32::from(n), 0.5]).id(n.to_string()))).unwrap();
    let path = dir.path().join("하나.faiss");
    store.snapshot().unwrap().export_faiss(&path).unwrap();
    let again = options.in_memory().unwrap();
    let mut txn = again.write().unwrap();
    txn.import_faiss(&path).unwrap();
    txn.commit().unwrap();
    let vectors = |store: &Store| -> Vec<Document> {
        store.snapshot().unwrap().documents().with_vectors().map(Result::unwrap).collect()
    };
    assert_eq!(vectors(&store), vectors(&again));
}

#[test]
fn ids_of_an_id_map_become_ids_of_documents() {
    let store = OpenOptions::new().metric(Metric::L2).in_memory().unwrap();
    let mut txn = store.write().unwrap();
    assert_eq!(txn.import_faiss(fixture("idmap-flat-l2.faiss")).unwrap(), 200);
    txn.commit().unwrap();
    let bytes = std::fs::read(fixture("idmap-ids.npy")).unwrap();
    let ids =
        bytes[bytes.len() - 200 * 8..].chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()));
    for id in ids {
        assert!(store.get(&id.to_string()).unwrap().is_some(), "{id}");
    }
}

/// A graph and lists over vectors as they are: the nearest are those that FAISS finds by looking at all of them.
#[test]
fn vectors_of_graphs_and_lists_are_imported() {
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
    for name in ["hnsw16-flat-l2.faiss", "ivf8-flat-l2.faiss"] {
        let store = OpenOptions::new().metric(Metric::L2).in_memory().unwrap();
        let mut txn = store.write().unwrap();
        assert_eq!(txn.import_faiss(fixture(name)).unwrap(), 200);
        txn.commit().unwrap();
        // Ids that stand between lists are kept until all vectors are read.
        let memory = store.memory();
        let importing = memory.components.iter().find(|share| share.component == "importing").unwrap();
        let kept = if name.starts_with("ivf") { 200 * size_of::<i64>() as u64 } else { 0 };
        assert!(importing.bytes == 0 && (kept..=9 * kept).contains(&importing.peak), "{name}: {memory:?}");
        for (query, ids) in
            queries().iter().zip(expected["indexes"]["flat-l2"]["top10_ids"].as_array().unwrap())
        {
            let expected: Vec<String> = ids.as_array().unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(nearest(&store, query), expected, "{name}");
        }
    }
}

#[test]
fn an_empty_store_has_nothing_to_export() {
    let store = Store::in_memory().unwrap();
    let error = store.snapshot().unwrap().export_faiss("nowhere.faiss").unwrap_err();
    assert_eq!(error.kind(), vdb::ErrorKind::Unavailable);
}
