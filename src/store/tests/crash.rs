//! Crash tests: every write and every sync of a workload is a moment at which the power fails.
//!
//! What was written since the last sync may have reached the disk or not, in any order, and the write in flight may be torn
//! at a border of 512 bytes. Each image that this leaves must open, check clean, and hold exactly the documents of the last
//! acknowledged commit or of the one in flight. Two deliberate mistakes in the storage layer prove that the harness would
//! notice: with each of them images must fail.

#![expect(clippy::print_stdout, reason = "the counts are part of the result")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::workload::{Random, TAIL_BYTES, digest, operate};
use super::*;
use crate::storage::Sabotage;
use crate::storage::recording::{Op, apply};

const OPERATIONS: usize = 300;
const SECTOR: usize = 512;
/// One image in so many is crashed again while it is recovered.
const RECOVERY_EVERY: usize = 200;

/// What a workload did to its file, and the digest of its documents after each commit.
struct Recorded {
    start: Vec<u8>,
    ops: Vec<Op>,
    digests: Vec<u32>,
}

fn options(sabotage: Sabotage) -> OpenOptions {
    OpenOptions::new().tail_bytes_max(TAIL_BYTES).sabotage(sabotage)
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

/// The images that a crash can leave when `pending` was written since the last sync, the last of it being in flight.
fn images(durable: &[u8], pending: &[&Op], random: &mut Random) -> Vec<(Fate, Vec<u8>)> {
    let build = |chosen: &[&Op]| {
        let mut image = durable.to_vec();
        for op in chosen {
            apply(&mut image, op);
        }
        image
    };
    let mut all = vec![("prefix", build(pending))];
    let Some((last, before)) = pending.split_last() else { return all };
    all.push(("lost", build(&[])));
    let one = if random.below(2) == 0 { *last } else { pending[random.below(pending.len())] };
    all.push(("only one", build(&[one])));
    if random.below(4) == 0 {
        let some: Vec<&Op> = pending.iter().copied().filter(|_| random.below(2) == 0).collect();
        all.push(("some", build(&some)));
    }
    if let Op::Write(offset, data) = last
        && data.len() > SECTOR
    {
        let cut = SECTOR * (1 + random.below(data.len().div_ceil(SECTOR) - 1));
        if random.below(2) == 0 {
            let torn = Op::Write(*offset, data[..cut].to_vec());
            all.push(("torn", build(&[before, &[&torn]].concat())));
        } else {
            let torn = Op::Write(offset + crate::codec::to_u64(cut), data[cut..].to_vec());
            all.push(("torn, its end", build(&[before, &[&torn]].concat())));
        }
    }
    all
}

/// Opens an image and compares; returns the operations of the recovery.
fn verify(image: Vec<u8>, allowed: &[u32], deep: bool) -> std::result::Result<Vec<Op>, String> {
    let file = RecordingFile::new(image);
    file.record();
    let store = open_on(&file, options(Sabotage::default())).map_err(|e| format!("does not open: {e}"))?;
    let ops = file.take_ops();
    // Closing would write; the image has served.
    file.recording().fail_after = Some(0);
    let found = digest(&store).map_err(|e| format!("does not read: {e}"))?;
    if !allowed.contains(&found) {
        return Err("holds other documents".into());
    }
    let level = if deep { CheckLevel::Deep } else { CheckLevel::Quick };
    let report = store.check(level, &Control::new()).map_err(|e| format!("does not check: {e}"))?;
    if report.is_ok() { Ok(ops) } else { Err(format!("{:?}", report.damage)) }
}

#[derive(Default)]
struct Outcome {
    images: AtomicUsize,
    recoveries: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Outcome {
    fn note(&self, at: usize, fate: Fate, result: std::result::Result<Vec<Op>, String>) -> Vec<Op> {
        self.images.fetch_add(1, Ordering::Relaxed);
        result.unwrap_or_else(|message| {
            self.failures.lock().unwrap().push(format!("operation {at}, {fate}: {message}"));
            Vec::new()
        })
    }
}

/// Crashes at every operation whose number is `part` modulo `parts`.
fn crash(recorded: &Recorded, outcome: &Outcome, part: usize, parts: usize) {
    let mut random = Random(part as u64);
    let mut durable = recorded.start.clone();
    let mut pending: Vec<&Op> = Vec::new();
    let mut committed = 0;
    for (at, op) in recorded.ops.iter().enumerate() {
        match op {
            Op::Mark(count) => committed = *count,
            Op::Sync => {
                for op in pending.drain(..) {
                    apply(&mut durable, op);
                }
            }
            Op::Write(..) | Op::SetLen(_) => pending.push(op),
        }
        if at % parts != part || matches!(op, Op::Mark(_)) {
            continue;
        }
        let next = (committed + 1).min(recorded.digests.len() - 1);
        let allowed = &recorded.digests[committed..=next];
        for (n, (fate, image)) in images(&durable, &pending, &mut random).into_iter().enumerate() {
            let again = (at + n) % RECOVERY_EVERY == 0;
            let ops = outcome.note(at, fate, verify(image.clone(), allowed, n == 0));
            if again {
                crash_recovery(&image, &ops, allowed, outcome, at, &mut random);
            }
        }
    }
}

/// Crashes once more, at every operation of a recovery.
fn crash_recovery(
    image: &[u8],
    ops: &[Op],
    allowed: &[u32],
    outcome: &Outcome,
    at: usize,
    random: &mut Random,
) {
    let mut durable = image.to_vec();
    let mut pending: Vec<&Op> = Vec::new();
    for op in ops {
        match op {
            Op::Sync => {
                for op in pending.drain(..) {
                    apply(&mut durable, op);
                }
            }
            _ => pending.push(op),
        }
        for (_, image) in images(&durable, &pending, random) {
            outcome.recoveries.fetch_add(1, Ordering::Relaxed);
            outcome.note(at, "within recovery", verify(image, allowed, false));
        }
    }
}

fn run(recorded: &Recorded) -> Outcome {
    let outcome = Outcome::default();
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
    let outcome = run(&recorded);
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

/// Counts the failures that a deliberate mistake brings about.
fn failures_of(sabotage: Sabotage) -> usize {
    let recorded = record(2, OPERATIONS / 2, sabotage);
    let failures = run(&recorded).failures.into_inner().unwrap();
    println!("{sabotage:?}: {} failures, such as {:?}", failures.len(), failures.first());
    failures.len()
}

#[test]
fn control_a_map_written_after_the_sync_is_noticed() {
    assert!(failures_of(Sabotage { map_after_sync: true, ..Sabotage::default() }) > 0);
}

#[test]
fn control_an_extent_moved_with_one_sync_is_noticed() {
    assert!(failures_of(Sabotage { move_with_one_sync: true, ..Sabotage::default() }) > 0);
}
