//! `kill -9` of an import at random moments.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Importer, Rows, SMALL, assert_goes_on, assert_sound, reader};
use crate::scene::Scene;
use crate::util::Random;
use vdb::Store;

const KILLS: u64 = 50;
const THREADS: u64 = 2;
/// An import may be over before the kill comes: such runs do not count, and there are at most so many of them.
const RUNS_MAX: u64 = 10 * KILLS;
/// The kill comes at most so long after a commit, in microseconds: about as long as a few commits take.
const DELAY_MAX: u64 = 10_000;
/// A source that fills a segment on the way.
const LARGE: Rows = Rows { dim: 2048, count: 1200, named: true, commit_every: 100 };
/// One run in so many imports the large source.
const LARGE_EVERY: u64 = 8;

/// Starts an import and kills it; returns the documents that it said are committed, or `None` when it was quicker.
fn kill(scene: &Scene, rows: Rows, store: &str, source: &str, random: &mut Random) -> Option<u64> {
    let mut import = Importer::start(rows.import(scene, store, source));
    // Of the commits any may be the last, or none: while the store is made and opened, and while it is compacted.
    import.until(rows.commit_every * random.below(rows.count / rows.commit_every + 1));
    std::thread::sleep(Duration::from_micros(random.below(DELAY_MAX)));
    import.process.kill().unwrap();
    while import.line().is_some() {}
    let status = import.process.wait().unwrap();
    if status.success() {
        return None;
    }
    assert_eq!(status.signal(), Some(9), "{status}");
    Some(import.committed)
}

/// What must be there after a kill; returns the number of documents.
fn verify(scene: &Scene, rows: Rows, store: &str, committed: u64) -> u64 {
    let path = scene.path(store);
    if !path.exists() {
        assert_eq!(committed, 0);
        return 0;
    }
    let seen = reader(&path);
    let count = rows.committed(&seen.snapshot().unwrap());
    assert_sound(&seen);
    // What it has not said yet may be there, too: one commit.
    assert!(
        (committed..=committed + rows.commit_every).contains(&count),
        "{count}, {committed} acknowledged"
    );
    let writer = Store::open(&path).unwrap();
    rows.compare(&writer.snapshot().unwrap(), count);
    assert_sound(&writer);
    writer.close().unwrap();
    count
}

#[test]
fn kills_of_an_import_lose_nothing_and_it_goes_on() {
    let scene = Scene::new();
    let sources = [SMALL, Rows { named: false, ..SMALL }, LARGE];
    let names = ["named.jsonl", "unnamed.jsonl", "large.jsonl"];
    for (rows, name) in sources.into_iter().zip(names) {
        rows.write(&scene, name);
    }
    let (runs, kills, partial) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while kills.load(Ordering::Relaxed) < KILLS {
                    let run = runs.fetch_add(1, Ordering::Relaxed);
                    assert!(run < RUNS_MAX, "only {kills:?} of {RUNS_MAX} imports could be killed");
                    let which = if run % LARGE_EVERY == 0 { 2 } else { usize::from(run % 2 == 0) };
                    let (rows, source, store) = (sources[which], names[which], format!("{run}.vdb"));
                    let Some(committed) = kill(&scene, rows, &store, source, &mut Random(run)) else {
                        std::fs::remove_file(scene.path(&store)).unwrap();
                        continue;
                    };
                    kills.fetch_add(1, Ordering::Relaxed);
                    let there = verify(&scene, rows, &store, committed);
                    partial.fetch_add(u64::from(0 < there && there < rows.count), Ordering::Relaxed);
                    assert_goes_on(&scene, rows, &store, source, there);
                    std::fs::remove_file(scene.path(&store)).unwrap();
                }
            });
        }
    });
    println!(
        "{kills:?} imports killed, {partial:?} of them between the first commit and the last: nothing lost"
    );
    assert!(partial.into_inner() >= KILLS / 2, "the imports were killed too early or too late");
    let mut left: Vec<_> = std::fs::read_dir(scene.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["large.jsonl", "named.jsonl", "unnamed.jsonl"]);
}
