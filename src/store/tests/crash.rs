//! Crash tests: every write and every sync of a workload is a moment at which the power fails.
//!
//! What was written since the last sync may have reached the disk or not, in any order, and the write in flight may be torn
//! at a border of 512 bytes; what was written to be durable by itself is so when the next thing is done. Each image that this leaves must open, check clean, and hold exactly the documents of the last
//! acknowledged commit or of the one in flight. Four deliberate mistakes in the storage layer prove that the harness would
//! notice: with each of them images must fail.

#![expect(clippy::print_stdout, reason = "the counts are part of the result")]

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::workload::{Random, TAIL_BYTES, TEXT_TAIL_BYTES, WORD, digest, operate};
use super::*;
use crate::storage::Sabotage;
use crate::storage::recording::{Op, apply};
use crate::text::analyzer::Analyzer;
use crate::text::query::TextQuery;

const OPERATIONS: usize = 300;
const SECTOR: usize = 512;
/// One image in so many is crashed again while it is recovered.
const RECOVERY_EVERY: usize = 400;
/// The image of one operation in so many is checked byte by byte, and searched.
const DEEP_EVERY: usize = 10;
/// A mistake that makes so many images fail has been noticed.
const FAILURES_ENOUGH: usize = 10;

/// What a workload did to its file, and the digest of its documents after each commit.
struct Recorded {
    start: Vec<u8>,
    ops: Vec<Op>,
    digests: Vec<u32>,
}

fn options(sabotage: Sabotage) -> OpenOptions {
    OpenOptions::new()
        .background(Background::None)
        .tail_bytes_max(TAIL_BYTES)
        .text_tail_bytes_max(TEXT_TAIL_BYTES)
        .index_rows_min(1)
        // Given, so that no image has to ask the system how much there is.
        .memory_budget(256 << 20)
        .sabotage(sabotage)
}

fn record(seed: u64, operations: usize, sabotage: Sabotage) -> Recorded {
    let file = RecordingFile::new(Vec::new());
    let mut store = create_on(&file, options(sabotage));
    let start = file.recording().image.clone();
    file.record();
    let mut digests = vec![digest(&store).unwrap()];
    let mut random = Random(seed);
    let reopen = |store: Store| {
        store.close().unwrap();
        open_on(&file, options(sabotage)).unwrap()
    };
    for _ in 0..operations {
        store = operate(store, &mut random, &reopen);
        digests.push(digest(&store).unwrap());
        file.mark(digests.len() - 1);
    }
    drop(store);
    Recorded { start, ops: file.take_ops(), digests }
}

/// How an image was made, for messages.
type Fate = &'static str;

/// What of `pending`, written since the last sync, can have reached the disk after a crash, the last of it being in flight.
/// If more is durable than when it was last called, `is_new` asks for that alone, too.
fn fates<'a>(pending: &[&'a Op], is_new: bool, random: &mut Random) -> Vec<(Fate, Vec<Cow<'a, Op>>)> {
    let borrowed = |ops: &[&'a Op]| ops.iter().map(|&op| Cow::Borrowed(op)).collect::<Vec<_>>();
    let mut all = vec![("prefix", borrowed(pending))];
    let Some((last, before)) = pending.split_last() else { return all };
    // The same until more is durable.
    if is_new {
        all.push(("lost", Vec::new()));
    }
    let one = if random.below(2) == 0 { *last } else { pending[random.below(pending.len())] };
    all.push(("only one", borrowed(&[one])));
    if random.below(8) == 0 {
        let some: Vec<&Op> = pending.iter().copied().filter(|_| random.below(2) == 0).collect();
        all.push(("some", borrowed(&some)));
    }
    if let Op::Write(offset, data) | Op::WriteSynced(offset, data) = last
        && data.len() > SECTOR
    {
        let cut = SECTOR * (1 + random.below(data.len().div_ceil(SECTOR) - 1));
        let (fate, torn) = if random.below(2) == 0 {
            ("torn", Op::Write(*offset, data[..cut].to_vec()))
        } else {
            ("torn, its end", Op::Write(offset + crate::codec::to_u64(cut), data[cut..].to_vec()))
        };
        let mut ops = borrowed(before);
        ops.push(Cow::Owned(torn));
        all.push((fate, ops));
    }
    all
}

/// The file after a crash.
fn build(image: &mut Vec<u8>, durable: &Vec<u8>, ops: &[Cow<'_, Op>]) {
    image.clone_from(durable);
    for op in ops {
        apply(image, op);
    }
}

/// Opens an image and compares; returns the operations of the recovery. The image serves as memory for the next one.
fn verify(image: &mut Vec<u8>, allowed: &[u32], deep: bool) -> std::result::Result<Vec<Op>, String> {
    let file = RecordingFile::new(std::mem::take(image));
    let result = verify_on(&file, allowed, deep);
    *image = std::mem::take(&mut file.recording().image);
    result
}

fn verify_on(file: &RecordingFile, allowed: &[u32], deep: bool) -> std::result::Result<Vec<Op>, String> {
    file.record();
    let store = open_on(file, options(Sabotage::default())).map_err(|e| format!("does not open: {e}"))?;
    let ops = file.take_ops();
    // Closing would write; the image has served.
    file.recording().fail_after = Some(0);
    let found = digest(&store).map_err(|e| format!("does not read: {e}"))?;
    if !allowed.contains(&found) {
        return Err("holds other documents".into());
    }
    if deep {
        words(&store)?;
    }
    let level = if deep { CheckLevel::Deep } else { CheckLevel::Quick };
    let report = store.check(level, &Control::new()).map_err(|e| format!("does not check: {e}"))?;
    if report.is_ok() { Ok(ops) } else { Err(format!("{:?}", report.damage)) }
}

/// Every document is found by the word that all have.
fn words(store: &Store) -> std::result::Result<(), String> {
    let snapshot = store.snapshot().map_err(|e| format!("does not read: {e}"))?;
    let query = TextQuery::parse(WORD, &Analyzer::new(None));
    let hits = snapshot.text_search(&query, None, usize::MAX).map_err(|e| format!("is not searched: {e}"))?;
    let found: Vec<u64> = hits.into_iter().map(|best| best.owner).collect();
    let expected = snapshot.view().first_rows();
    let all = found.len() == crate::codec::to_usize(expected.len())
        && found.iter().all(|&row| expected.contains(row));
    if all { Ok(()) } else { Err(format!("{} documents are found of {}", found.len(), expected.len())) }
}

#[derive(Default)]
struct Outcome {
    /// The failures after which there is no need to go on.
    enough: Option<usize>,
    images: AtomicUsize,
    recoveries: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Outcome {
    fn is_enough(&self) -> bool {
        self.enough.is_some_and(|enough| self.failures.lock().unwrap().len() >= enough)
    }

    fn note(&self, at: usize, fate: Fate, result: std::result::Result<Vec<Op>, String>) -> Vec<Op> {
        self.images.fetch_add(1, Ordering::Relaxed);
        result.unwrap_or_else(|message| {
            self.failures.lock().unwrap().push(format!("operation {at}, {fate}: {message}"));
            Vec::new()
        })
    }
}

/// Makes durable what is so when `op` is done or, if it was written synced, when that is done; tells whether anything is.
fn settle<'a>(durable: &mut Vec<u8>, pending: &mut Vec<&'a Op>, op: &'a Op, before: Option<&'a Op>) -> bool {
    match (op, before) {
        (Op::Sync, _) => pending.drain(..).for_each(|op| apply(durable, op)),
        // Only its own range is.
        (_, Some(Op::WriteSynced(..))) => {
            if let Some(synced) = pending.pop() {
                apply(durable, synced);
            }
        }
        _ => return false,
    }
    true
}

/// Crashes at every operation whose number is `part` modulo `parts`.
fn crash(recorded: &Recorded, outcome: &Outcome, part: usize, parts: usize) {
    let mut random = Random(part as u64);
    let mut durable = recorded.start.clone();
    let mut pending: Vec<&Op> = Vec::new();
    let (mut committed, mut image) = (0, Vec::new());
    let mut is_new = true;
    for (at, op) in recorded.ops.iter().enumerate() {
        if outcome.is_enough() {
            return;
        }
        is_new |= settle(&mut durable, &mut pending, op, recorded.ops.get(at.wrapping_sub(1)));
        match op {
            Op::Mark(count) => committed = *count,
            Op::Sync => {}
            Op::Write(..) | Op::WriteSynced(..) | Op::SetLen(_) => pending.push(op),
        }
        if at % parts != part || matches!(op, Op::Mark(_)) {
            continue;
        }
        let next = (committed + 1).min(recorded.digests.len() - 1);
        let allowed = &recorded.digests[committed..=next];
        let is_new = std::mem::take(&mut is_new);
        for (n, (fate, chosen)) in fates(&pending, is_new, &mut random).into_iter().enumerate() {
            build(&mut image, &durable, &chosen);
            let again = ((at + n) % RECOVERY_EVERY == 0).then(|| image.clone());
            let ops = outcome.note(
                at,
                fate,
                verify(&mut image, allowed, n == 0 && (at / parts).is_multiple_of(DEEP_EVERY)),
            );
            if let Some(crashed) = again {
                crash_recovery(crashed, &ops, allowed, outcome, at, &mut random);
            }
        }
    }
}

/// Crashes once more, at every operation of a recovery.
fn crash_recovery(
    mut durable: Vec<u8>,
    ops: &[Op],
    allowed: &[u32],
    outcome: &Outcome,
    at: usize,
    random: &mut Random,
) {
    let (mut pending, mut image): (Vec<&Op>, _) = (Vec::new(), Vec::new());
    for (n, op) in ops.iter().enumerate() {
        let is_new = settle(&mut durable, &mut pending, op, ops.get(n.wrapping_sub(1)));
        if !matches!(op, Op::Sync) {
            pending.push(op);
        }
        for (_, chosen) in fates(&pending, is_new || n == 0, random) {
            build(&mut image, &durable, &chosen);
            outcome.recoveries.fetch_add(1, Ordering::Relaxed);
            outcome.note(at, "within recovery", verify(&mut image, allowed, false));
        }
    }
}

fn run(recorded: &Recorded, enough: Option<usize>) -> Outcome {
    let outcome = Outcome { enough, ..Outcome::default() };
    let parts = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for part in 0..parts {
            scope.spawn({
                let outcome = &outcome;
                move || crash(recorded, outcome, part, parts)
            });
        }
    });
    outcome
}

#[test]
fn every_crash_leaves_a_committed_state() {
    let recorded = record(1, OPERATIONS, Sabotage::default());
    let syncs = recorded.ops.iter().filter(|op| matches!(op, Op::Sync)).count();
    let outcome = run(&recorded, None);
    let failures = outcome.failures.into_inner().unwrap();
    let (images, recoveries) = (outcome.images.into_inner(), outcome.recoveries.into_inner());
    println!(
        "{images} crash images ({recoveries} within recovery) of {OPERATIONS} operations, {} writes, {syncs} syncs: {} failures",
        recorded.ops.len() - syncs,
        failures.len(),
    );
    assert!(
        failures.is_empty(),
        "{} failures, the first: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(images >= 20_000, "only {images} images");
}

/// Counts the failures that a deliberate mistake brings about, up to so many.
fn failures_of(sabotage: Sabotage) -> usize {
    let recorded = record(2, OPERATIONS / 2, sabotage);
    let failures = run(&recorded, Some(FAILURES_ENOUGH)).failures.into_inner().unwrap();
    println!("{sabotage:?}: {} failures, such as {:?}", failures.len(), failures.first());
    failures.len()
}

#[test]
fn control_a_map_written_after_the_sync_is_noticed() {
    assert!(failures_of(Sabotage::MapAfterSync) > 0);
}

#[test]
fn control_an_extent_moved_with_one_sync_is_noticed() {
    assert!(failures_of(Sabotage::MoveWithOneSync) > 0);
}

#[test]
fn control_a_record_of_the_log_that_is_not_synced_is_noticed() {
    assert!(failures_of(Sabotage::AppendWithoutSync) > 0);
}

#[test]
fn control_a_commit_published_without_its_manifest_is_noticed() {
    assert!(failures_of(Sabotage::PublishWithoutManifest) > 0);
}
