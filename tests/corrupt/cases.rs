//! Which damages there are, and how each is done.

use std::fmt;

use super::head;
use crate::util::Random;

/// Bytes between two flips outside the dense ranges: primes, so that every offset in a structure has its turn. The head
/// is mostly zeros under one checksum, the rest of the log has none.
const HEAD_STRIDE: usize = 409;
const DATA_STRIDE: usize = 41;
/// Bytes between two cuts of the quick run.
const CUT_STEP: usize = 512;
/// One case in so many opens the file for writing, and checks it.
const WRITER_EVERY: usize = 5;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The bits of `mask` in one byte.
    Flip { at: usize, mask: u8 },
    /// The file ends here.
    Cut { len: usize },
    /// A page was lost.
    Zero { at: usize },
}

/// One damage, and how the file is opened then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) damage: Damage,
    pub(super) writer: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.damage {
            Damage::Flip { at, mask } => write!(f, "flip {mask:#04x} at {at}")?,
            Damage::Cut { len } => write!(f, "cut to {len}")?,
            Damage::Zero { at } => write!(f, "zeros from {at}")?,
        }
        f.write_str(if self.writer { ", writing" } else { ", reading" })
    }
}

impl Damage {
    /// The file after the damage.
    pub(super) fn apply(self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        match self {
            Damage::Flip { at, mask } => bytes[at] ^= mask,
            Damage::Cut { len } => bytes.truncate(len),
            Damage::Zero { at } => {
                let end = (at + head::PAGE).min(bytes.len());
                bytes[at..end].fill(0);
            }
        }
        bytes
    }

    /// Whether it hits only what no answer depends on: the notice, pages without use, the superblock not in force, the
    /// rest of the log.
    pub(super) fn is_harmless(self, whole: &[u8]) -> bool {
        let ([_, other], [_, rest]) = (head::slots(whole), head::log(whole));
        match self {
            Damage::Flip { at, .. } | Damage::Zero { at } => {
                head::UNUSED.contains(&at) || other.contains(&at) || rest.contains(&at)
            }
            Damage::Cut { .. } => false,
        }
    }
}

/// The cases, always the same for the same file.
pub(super) fn list(whole: &[u8], all: bool) -> Vec<Case> {
    let mut random = Random(7);
    let mut mask = || random.byte().max(1);
    let mut damages = Vec::new();
    if all {
        damages.extend((0..whole.len()).map(|at| Damage::Flip { at, mask: mask() }));
    } else {
        let head = (0..head::DATA_OFFSET).step_by(HEAD_STRIDE);
        let [_, rest] = head::log(whole);
        let data = (head::DATA_OFFSET..whole.len()).step_by(DATA_STRIDE);
        let data = data.filter(|at| !rest.contains(at)).chain(rest.clone().step_by(HEAD_STRIDE));
        for at in head::dense(whole).into_iter().flatten().chain(head).chain(data) {
            damages.push(Damage::Flip { at, mask: mask() });
        }
    }
    let cut_step = if all { 1 } else { CUT_STEP };
    damages.extend((0..whole.len()).step_by(cut_step).map(|len| Damage::Cut { len }));
    damages.extend((0..whole.len()).step_by(head::PAGE).map(|at| Damage::Zero { at }));
    damages
        .into_iter()
        .enumerate()
        .map(|(n, damage)| Case { damage, writer: n % WRITER_EVERY == 0 })
        .collect()
}
