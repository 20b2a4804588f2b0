//! The memory budget: what is allocated, in Rust and in C++, is never more than what was granted for it.
//!
//! Other tests allocate in the same process, so each case runs in a process of its own.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vdb::limits::MEMORY_BUDGET_MIN;
use vdb::{
    Background, CheckLevel, Control, Document, Durability, Embedder, Embeddings, Error, Filter, Import,
    IndexKind, MemoryUse, Mode, ModelIdentity, OpenOptions, Query, Store,
};

use crate::allocator;
use crate::util::{Letters, Random};

const CASE: &str = "VDB_TEST_MEMORY_CASE";
const DIM: usize = 128;

fn options(budget: u64) -> OpenOptions {
    OpenOptions::new()
        .memory_budget(budget)
        .durability(Durability::Process)
        .background(Background::None)
        .threads(NonZero::new(2).unwrap())
        .index(IndexKind::Hnsw)
}

fn share(memory: &MemoryUse, component: &str) -> (u64, u64) {
    let share = memory.components.iter().find(|share| share.component == component).unwrap();
    (share.bytes, share.peak)
}

/// A text with words that others have and words that few have, joined and not.
fn text(random: &mut Random, n: usize) -> String {
    let mut text = "words ".repeat(1 + n % 20);
    for _ in 0..n % 9 {
        let syllable = || char::from_u32(0xac00 + u32::try_from(random.below(3000)).unwrap());
        text.extend(std::iter::repeat_with(syllable).take(4).flatten());
        text.extend([" w", &random.below(20_000).to_string(), " "]);
    }
    text
}

/// Writes lines with vectors, texts and metadata.
fn write_lines(path: &Path, count: u32) {
    let mut random = Random(3);
    let line = |n| {
        let vector: Vec<String> = (0..DIM).map(|_| (random.below(2000)).to_string()).collect();
        let (text, vector) = (text(&mut random, n), vector.join(","));
        format!(
            "{{\"text\":\"{text}\",\"metadata\":{{\"n\":{n},\"group\":\"g{}\"}},\"vector\":[{vector}]}}\n",
            n % 7
        )
    };
    std::fs::write(path, (0..count as usize).map(line).collect::<String>()).unwrap();
}

/// What was allocated since `start` against what was granted since the store was opened.
fn compare(case: &str, start: usize, store: &Store) {
    let (actual, memory) = (u64::try_from(allocator::peak_since(start)).unwrap(), store.memory());
    assert!(actual <= memory.peak, "{case}: {actual} bytes allocated, {memory:?}");
    assert!(memory.peak <= memory.budget, "{case}: {memory:?}");
}

/// Imports with a budget of the least that is allowed, merges, builds indexes: all that writes.
fn import(directory: &Path) {
    let (lines, path) = (directory.join("a.jsonl"), directory.join("a.vdb"));
    write_lines(&lines, 20_000);
    let start = allocator::begin();
    let store = options(MEMORY_BUDGET_MIN).create(&path).unwrap();
    let summary = Import::new().run(&store, &[&lines], |_| {}).unwrap();
    assert_eq!(summary.added, 20_000);
    compare("import", start, &store);
    let (writing, importing) = (share(&store.memory(), "writing"), share(&store.memory(), "importing"));
    assert!(writing.0 == 0 && writing.1 > 1 << 20 && importing.0 == 0 && importing.1 > 1 << 20);
    let text = share(&store.memory(), "text");
    assert!(text.0 == 0 && text.1 > 1 << 20, "{text:?}");

    // What a build takes beside what is there already: no more than was granted for indexes.
    let (store_before, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (before, most) = (Arc::clone(&store_before), Arc::clone(&peak));
    let control = Control::new().on_progress(move |progress| match progress.stage {
        "index" if progress.done == 0 && before.load(Ordering::Relaxed) == 0 => {
            before.store(allocator::begin(), Ordering::Relaxed);
        }
        "index" => {
            most.fetch_max(allocator::peak_since(before.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
        _ => {}
    });
    assert!(store.compact(&control).unwrap().indexes_built > 0);
    let built = u64::try_from(peak.load(Ordering::Relaxed)).unwrap();
    let granted = share(&store.memory(), "indexing").1;
    assert!(built > granted / 4 && built <= granted, "{built} bytes allocated to build, {granted} granted");
    let merging = share(&store.memory(), "merging").1;
    assert!(merging > 0);
    assert!(store.memory().peak <= MEMORY_BUDGET_MIN);
    assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
    search(&path);
}

/// Searches by several threads, with and without filters, for few and many.
fn search(path: &Path) {
    let start = allocator::begin();
    let store = options(MEMORY_BUDGET_MIN).read_only(true).open(path).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let mut random = Random(seed);
                for round in 0..30 {
                    let query = Query::vector(random.vector(DIM))
                        .k(if round % 10 == 0 { 1000 } else { 10 })
                        .recall(0.5);
                    let query = match round % 3 {
                        0 => query.filter(Filter::field("n").lt(14_000)),
                        1 => query.filter(Filter::field("group").eq("g3")),
                        _ => query,
                    };
                    assert!(store.search(&query).unwrap().len() >= 10);
                }
            });
        }
    });
    compare("search", start, &store);
    let (graphs, queries) = (share(&store.memory(), "graphs"), share(&store.memory(), "queries"));
    assert!(graphs.0 > 0 && graphs.1 > graphs.0 && queries.0 == 0 && queries.1 > 0, "{graphs:?} {queries:?}");
}

/// Searches for words in segments and in a tail, of which many begin alike.
fn words(directory: &Path) {
    let path = directory.join("w.vdb");
    let store = options(1 << 30).text_tail_bytes_max(2 << 20).create(&path).unwrap();
    let mut random = Random(6);
    let mut texts = |range: std::ops::Range<usize>| -> Vec<Document> {
        range.map(|n| Document::new(text(&mut random, n)).id(n.to_string())).collect()
    };
    let (segment, tail) = (texts(0..28_672), texts(28_672..32_672));
    store.add(segment).unwrap();
    store.add(tail).unwrap();
    store.close().unwrap();
    let store = options(64 << 20).read_only(true).open(&path).unwrap();
    // The dictionaries are read once, and are the file's.
    let stats = store.stats().unwrap().text.unwrap();
    assert!(stats.segments > 0 && stats.tail_bytes > 200_000, "{stats:?}");
    let (before, start) = (store.memory(), allocator::begin());
    assert_eq!(before.granted, before.peak);
    for text in ["w*", "+w* -w17*", "words w1* \"words words\""] {
        assert_eq!(store.search(&Query::text(text).mode(Mode::Text)).unwrap().len(), 10, "{text}");
    }
    let (actual, memory) = (u64::try_from(allocator::peak_since(start)).unwrap(), store.memory());
    let granted = memory.peak - before.granted;
    assert!(actual > 1 << 20 && actual <= granted, "{actual} bytes allocated, {granted} granted: {memory:?}");
    let (text, queries) = (share(&memory, "text"), share(&memory, "queries"));
    assert!(text.0 > stats.tail_bytes && queries.0 == 0 && queries.1 > 0, "{memory:?}");
}

/// Deletes most of many segments, and merges the rest.
fn merge(directory: &Path) {
    let store = options(MEMORY_BUDGET_MIN).create(directory.join("m.vdb")).unwrap();
    let mut random = Random(4);
    for batch in 0..10_u32 {
        let document = |n: u32| Document::from_vector(random.vector(DIM)).id(format!("{batch}-{n}"));
        store.add((0..6_000).map(document)).unwrap();
        store.delete((0..4_000).map(|n| format!("{batch}-{n}"))).unwrap();
    }
    store.close().unwrap();
    let start = allocator::begin();
    let store = options(MEMORY_BUDGET_MIN).open(directory.join("m.vdb")).unwrap();
    let report = store.merge(&vdb::MergeLimits::default(), &Control::new()).unwrap();
    assert!(report.merges > 0 && report.waiting == 0, "{report:?}");
    compare("merge", start, &store);
    assert!(share(&store.memory(), "merging").1 > 0);
    assert_eq!(store.count().unwrap(), 20_000);
}

/// Started by the parent with the name of a case.
#[test]
fn one_case() {
    let directory = tempfile::tempdir().unwrap();
    match std::env::var(CASE).as_deref() {
        Ok("import") => import(directory.path()),
        Ok("merge") => merge(directory.path()),
        Ok("words") => words(directory.path()),
        _ => {}
    }
}

#[test]
fn what_is_allocated_was_granted() {
    for case in ["import", "merge", "words"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "memory::one_case", "--nocapture"]).env(CASE, case);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

#[test]
fn what_needs_more_than_the_budget_is_refused_with_the_numbers() {
    let store = options(MEMORY_BUDGET_MIN).in_memory().unwrap();
    let large = Document::new("x".repeat(16 << 20)).id("large");
    let error = store.add([large]).unwrap_err();
    let Error::Memory { needs, left, .. } = &error else { panic!("{error:?}") };
    assert!(*needs > 16 << 20 && *left < MEMORY_BUDGET_MIN);
    assert!(error.to_string().contains("MiB, the budget leaves "), "{error}");
    // Nothing is held on to, and what fits still goes in.
    store.add([Document::new("small").id("small")]).unwrap();
    assert_eq!((store.count().unwrap(), share(&store.memory(), "writing").0), (1, 0));
    let memory = store.memory();
    assert_eq!(memory.granted, memory.components.iter().map(|share| share.bytes).sum::<u64>());
}

/// A model that takes memory for each text that it embeds at once.
struct Hungry {
    letters: Letters,
    bytes_per_text: u64,
    most_at_once: AtomicUsize,
}

impl Embedder for Hungry {
    fn identity(&self) -> &ModelIdentity {
        self.letters.identity()
    }

    fn embed(&self, texts: &[&str]) -> vdb::Result<Embeddings> {
        self.most_at_once.fetch_max(texts.len(), Ordering::Relaxed);
        self.letters.embed(texts)
    }

    fn memory_bytes(&self, texts: usize) -> u64 {
        self.bytes_per_text * u64::try_from(texts).unwrap()
    }
}

#[test]
fn an_embedding_model_takes_its_memory_from_the_budget() {
    let with = |bytes_per_text| {
        let (letters, most_at_once) = (Letters::new("letters"), AtomicUsize::new(0));
        let model = Arc::new(Hungry { letters, bytes_per_text, most_at_once });
        let store = options(MEMORY_BUDGET_MIN).embedder(Arc::clone(&model) as _).in_memory().unwrap();
        (model, store)
    };
    let texts = || (0..100).map(|n| Document::new(format!("{n} a b c")).id(n.to_string()));
    // Nothing is taken before the first text.
    let (model, store) = with(1 << 20);
    assert_eq!(share(&store.memory(), "embedding").0, 0);
    store.add(texts()).unwrap();
    let most = model.most_at_once.load(Ordering::Relaxed);
    assert!((2..MEMORY_BUDGET_MIN >> 20).contains(&u64::try_from(most).unwrap()), "{most}");
    let (bytes, _) = share(&store.memory(), "embedding");
    assert_eq!(bytes, u64::try_from(most).unwrap() << 20);
    assert_eq!(store.search(&Query::text("a b c").k(3)).unwrap().len(), 3);
    assert_eq!(share(&store.memory(), "embedding").0, bytes, "a text alone needs no more");
    // A model that is too large for the budget.
    let (_, store) = with(MEMORY_BUDGET_MIN);
    let error = store.add(texts()).unwrap_err();
    let Error::Memory { what, needs, .. } = &error else { panic!("{error:?}") };
    assert_eq!((what.as_str(), *needs), ("the embedding model letters", MEMORY_BUDGET_MIN));
    assert_eq!((store.count().unwrap(), share(&store.memory(), "embedding").0), (0, 0));
    store.add([Document::from_vector(vec![1.0; 8]).id("a vector needs no model")]).unwrap();
}

#[test]
fn a_long_line_is_named_with_what_the_budget_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.jsonl");
    let long = "x".repeat(8 << 20);
    std::fs::write(&path, format!("{{\"text\": \"a\"}}\n{{\"text\": \"{long}\"}}\n{{\"text\": \"b\"}}\n"))
        .unwrap();
    let store = options(MEMORY_BUDGET_MIN).in_memory().unwrap();
    let error = Import::new().run(&store, &[&path], |_| {}).unwrap_err();
    let Error::Row { line: 2, source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("within the memory budget"), "{source}");
    let rest = Import::new().on_error(vdb::OnError::Skip).run(&store, &[&path], |_| {}).unwrap();
    assert_eq!((rest.added, rest.skipped, rest.failed), (1, 1, 1));
    let roomy = options(1 << 30).in_memory().unwrap();
    assert_eq!(Import::new().run(&roomy, &[&path], |_| {}).unwrap().added, 3);
}

#[test]
fn a_large_file_of_a_directory_is_named_with_what_the_budget_leaves() {
    let directory = tempfile::tempdir().unwrap();
    for (name, len) in [("a.txt", 1000), ("b.txt", 5 << 20), ("c.md", 1000)] {
        std::fs::write(directory.path().join(name), "x".repeat(len)).unwrap();
    }
    let store = options(MEMORY_BUDGET_MIN).in_memory().unwrap();
    let error = Import::new().run(&store, &[directory.path()], |_| {}).unwrap_err();
    let Error::Row { line: 2, source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, Error::Limit { found: 5_242_880, max, .. } if max < MEMORY_BUDGET_MIN / 8));
    assert!(source.to_string().contains("b.txt in bytes, within the memory budget,"), "{source}");
    let rest = Import::new().on_error(vdb::OnError::Skip).run(&store, &[directory.path()], |_| {}).unwrap();
    assert_eq!((rest.added, rest.skipped, rest.failed), (1, 1, 1));
    let roomy = options(1 << 30).in_memory().unwrap();
    assert_eq!(Import::new().run(&roomy, &[directory.path()], |_| {}).unwrap().added, 3);
}

#[test]
fn an_interrupted_build_loses_nothing() {
    let store = options(64 << 20).in_memory().unwrap();
    let mut random = Random(5);
    store.add((0..4000).map(|n| Document::from_vector(random.vector(DIM)).id(format!("{n}")))).unwrap();
    let before = store.stats().unwrap();
    for at in [1, 1500, 3900] {
        let token = vdb::CancelToken::new();
        let stop = token.clone();
        let control = Control::new().cancel(&token).on_progress(move |progress| {
            if progress.stage == "index" && progress.done >= at {
                stop.cancel();
            }
        });
        assert!(matches!(store.compact(&control), Err(Error::Cancelled)));
        assert_eq!(share(&store.memory(), "indexing").0, 0);
        assert!(store.check(CheckLevel::Deep, &Control::new()).unwrap().is_ok());
    }
    let done = store.compact(&Control::new()).unwrap();
    assert_eq!((done.indexes_built, store.count().unwrap()), (1, before.documents));
    let after = store.stats().unwrap();
    // What the interrupted builds wrote was given back.
    assert!(after.occupancy.file < before.occupancy.file + 2 * after.index_bytes + (1 << 20), "{after:?}");
}
