//! A text index that is damaged, hostile or of another version: the store opens, says so, and a repair makes it anew.

use super::*;
use crate::catalog::{TextRecord, TextSegmentRecord};
use crate::codec::{key, to_u64, to_usize};
use crate::storage::{Blob, BlobWriter, Naming, PAGE_BYTES};
use crate::text::analyzer::Analyzer;
use crate::text::query::TextQuery;

fn options() -> OpenOptions {
    OpenOptions::new().background(Background::None).text_tail_bytes_max(2000)
}

fn document(n: usize) -> Document {
    let text = format!("common word{} group{} \u{ac80}\u{c0c9}\u{d300}\u{c744}", n, n % 7);
    Document::new(text).id(format!("doc_{n}")).metadata_json(&format!("{{\"n\": {n}}}")).unwrap()
}

/// A store with text segments, one large, and a tail.
fn build(file: &RecordingFile) -> Store {
    let store = create_on(file, options());
    store.add((0..300).map(document)).unwrap();
    store.compact(&Control::new()).unwrap();
    for n in 300..340 {
        store.add([document(n)]).unwrap();
    }
    store.delete(["doc_5", "doc_320"]).unwrap();
    store
}

fn hits(store: &Store, text: &str) -> Result<Vec<(u64, f32)>> {
    let query = TextQuery::parse(text, &Analyzer::new(None));
    let found = store.snapshot()?.text_search(&query, None, 1000)?;
    Ok(found.into_iter().map(|best| (best.owner, best.score)).collect())
}

const QUERIES: [&str; 5] =
    ["common", "group3 word77", "\u{ac80}\u{c0c9}\u{d300}", "\"group3 \u{ac80}\u{c0c9}\"", "word*"];

fn rows(store: &Store) -> Vec<Vec<u64>> {
    let rows = |text: &&str| {
        let mut rows: Vec<u64> = hits(store, text).unwrap().into_iter().map(|(row, _)| row).collect();
        rows.sort_unstable();
        rows
    };
    QUERIES.iter().map(rows).collect()
}

fn segments(store: &Store) -> Vec<(u64, TextSegmentRecord)> {
    catalog::text_segments(store.snapshot().unwrap().txn()).unwrap().into_iter().collect()
}

/// Repairs, and expects everything to be as it was.
fn repair(store: &Store, before: &[Vec<u64>]) {
    let dry = store.repair(RepairMode::DryRun, &Control::new()).unwrap();
    assert!(dry.text && !dry.found.is_empty() && dry.left == dry.found, "{dry:?}");
    let report = store.repair(RepairMode::Repair, &Control::new()).unwrap();
    assert!(report.text && !report.metadata && report.left.is_empty(), "{report:?}");
    assert_eq!((report.documents, report.unreadable), (store.count().unwrap(), 0));
    assert_eq!(rows(store), before);
    store.add([document(999)]).unwrap();
    assert_eq!(hits(store, "word999").unwrap().len(), 1);
    assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
}

#[test]
fn a_damaged_blob_is_named_and_made_anew() {
    let file = RecordingFile::new(Vec::new());
    let store = build(&file);
    let before = rows(&store);
    let (number, record) = segments(&store)[0].clone();
    let name = format!("text segment {number}");
    let place = catalog::blob(store.snapshot().unwrap().txn(), record.blob).unwrap();
    store.close().unwrap();
    let sound = file.recording().image.clone();
    for part in [0, 3, 5, 9] {
        let mut image = sound.clone();
        let at = to_usize(place.start * PAGE_BYTES + place.len * part / 10);
        image[at] ^= 0x10;
        let store = open_on(&RecordingFile::new(image), options()).unwrap();
        assert_eq!(store.count().unwrap(), 338);
        let error = hits(&store, "common").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is damaged")), "{error}");
        let damage = store.check(CheckLevel::Deep, &Control::new()).unwrap().damage;
        assert!(damage.iter().any(|damage| damage.what == name), "{damage:?}");
        // Others write and delete meanwhile.
        store.add([document(998)]).unwrap();
        store.delete(["doc_998"]).unwrap();
        repair(&store, &before);
    }
}

/// Rows of the catalog about the index that cannot be read.
#[test]
fn damaged_rows_are_named_and_made_anew() {
    let rows_of = [(Table::Meta, b"text".to_vec()), (Table::TextSegments, key(99).to_vec())];
    for (table, name) in rows_of {
        let file = RecordingFile::new(Vec::new());
        let store = build(&file);
        let before = rows(&store);
        let mut txn = store.write().unwrap();
        txn.change(|tables, state| {
            state.text = None;
            state.changed = true;
            tables.put(table, &name, vec![1, 2, 3])
        })
        .unwrap();
        txn.commit().unwrap();
        store.close().unwrap();
        let store = open_on(&file, options()).unwrap();
        let error = hits(&store, "common").unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        store.add([document(1)]).unwrap();
        assert!(!store.check(CheckLevel::Quick, &Control::new()).unwrap().is_ok());
        let mut before = before;
        // The document came again, at the end.
        let last = store.snapshot().unwrap().view().counters.next_row - 1;
        for (found, text) in before.iter_mut().zip(QUERIES) {
            if found.contains(&1) {
                found.retain(|&row| row != 1);
                found.push(last);
                assert_ne!(text, "group3 word77");
            }
        }
        repair(&store, &before);
    }
}

#[test]
fn an_index_of_another_analyzer_is_not_used_and_made_anew() {
    let file = RecordingFile::new(Vec::new());
    let store = build(&file);
    let before = rows(&store);
    let mut txn = store.write().unwrap();
    txn.change(|tables, state| {
        state.text = None;
        state.changed = true;
        let record = catalog::text(tables)?.unwrap();
        catalog::put_text(tables, &TextRecord { analyzer: 99, ..record })
    })
    .unwrap();
    txn.commit().unwrap();
    store.close().unwrap();
    let store = open_on(&file, options()).unwrap();
    assert!(matches!(hits(&store, "common"), Err(Error::Unavailable { .. })));
    // Whatever is added stays in the tail.
    let count = segments(&store).len();
    store.add((400..500).map(document)).unwrap();
    assert_eq!(segments(&store).len(), count);
    store.delete((400..500).map(|n| format!("doc_{n}"))).unwrap();
    let report = store.repair(RepairMode::Repair, &Control::new()).unwrap();
    assert!(report.text && report.found.is_empty() && report.left.is_empty(), "{report:?}");
    assert_eq!(rows(&store), before);
}

#[test]
fn a_store_without_text_index_says_so() {
    let store = options().text(false).in_memory().unwrap();
    store.add([document(1)]).unwrap();
    assert!(store.stats().unwrap().text.is_none());
    let error = hits(&store, "common").unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let report = store.repair(RepairMode::Repair, &Control::new()).unwrap();
    assert!(!report.text && report.left.is_empty(), "{report:?}");
}

/// Bytes that tantivy does not expect, under checksums that are right.
#[test]
fn hostile_bytes_are_errors_or_answers() {
    let file = RecordingFile::new(Vec::new());
    let store = build(&file);
    let (number, record) = segments(&store)[0].clone();
    let snapshot = store.snapshot().unwrap();
    let place = catalog::blob(snapshot.txn(), record.blob).unwrap();
    let blob = Blob::open(snapshot.txn().container(), place, "test").unwrap();
    let bytes = blob.bytes(0..blob.len()).unwrap().to_vec();
    drop(snapshot);
    let mut random = workload::Random(7);
    let mut errors = 0;
    for _ in 0..150 {
        let mut hostile = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(hostile.len());
            hostile[at] = u8::try_from(random.below(256)).unwrap();
        }
        let mut txn = store.write().unwrap();
        txn.change(|tables, state| {
            let mut writer = BlobWriter::new(&state.container, to_u64(hostile.len()), Naming::InThisCommit)?;
            writer.write(&hostile)?;
            let place = writer.finish()?;
            state.retired.extend(catalog::drop_text_segment(tables, number)?);
            state.counters.next_blob += 1;
            let record = TextSegmentRecord { blob: state.counters.next_blob - 1, ..record.clone() };
            catalog::put_text_segment(tables, number, &record, &place)?;
            state.counters.segments_changed = state.counters.commit;
            state.changed = true;
            Ok(())
        })
        .unwrap();
        txn.commit().unwrap();
        for text in QUERIES {
            match hits(&store, text) {
                Ok(_) => {}
                Err(Error::Corrupt { .. }) => errors += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        // A merge is refused or not; it never panics.
        match store.merge(&MergeLimits::default(), &Control::new()) {
            Ok(_) | Err(Error::Corrupt { .. } | Error::Native { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        drop(store.check(CheckLevel::Deep, &Control::new()).unwrap());
    }
    assert!(errors > 0);
    assert!(store.repair(RepairMode::Repair, &Control::new()).unwrap().left.is_empty());
}

#[test]
fn readers_beside_a_writer_find_what_their_commit_has() {
    let store = OpenOptions::new().text_tail_bytes_max(2000).in_memory().unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut looks = 0;
                while !ended.load(std::sync::atomic::Ordering::Relaxed) || looks == 0 {
                    let snapshot = store.snapshot().unwrap();
                    let query = TextQuery::parse("common", &Analyzer::new(None));
                    let found = snapshot.text_search(&query, None, usize::MAX).unwrap();
                    assert_eq!(to_u64(found.len()), snapshot.count());
                    looks += 1;
                }
            });
        }
        for n in 0..250 {
            store.add([document(n), document(n / 2)]).unwrap();
            if n % 3 == 0 {
                store.delete([format!("doc_{}", n / 3)]).unwrap();
            }
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
}
