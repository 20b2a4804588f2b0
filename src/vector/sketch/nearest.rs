//! The rows of the best sketches.

/// Keeps the rows with the best scores; of equal ones those with the least positions.
///
/// They are gathered until there are somewhat more than one and a half times as many as wanted, then cut down at once.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    wanted: usize,
    /// For each row its score, in an order of whole numbers, the best first, then its position.
    kept: Vec<u64>,
    floor: f32,
}

impl Nearest {
    pub(super) fn new(wanted: usize) -> Self {
        Nearest { wanted, kept: Vec::new(), floor: f32::NEG_INFINITY }
    }

    /// What scores less is not among the best any more.
    pub(super) fn floor(&self) -> f32 {
        self.floor
    }

    /// Adds a row. A score that is no number counts as the worst there is.
    pub(super) fn add(&mut self, score: f32, position: u32) {
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
        self.kept.push(u64::from(rank(score)) << 32 | u64::from(position));
        if self.kept.len() >= self.wanted.saturating_add(self.wanted / 2).saturating_add(16) {
            self.cut();
        }
    }

    /// Adds what another kept.
    pub(super) fn merge(&mut self, other: Nearest) {
        self.kept.extend(other.kept);
        self.cut();
    }

    /// The positions, best first.
    pub(super) fn into_positions(mut self) -> Vec<usize> {
        self.cut();
        self.kept.sort_unstable();
        self.kept.into_iter().map(|key| usize::try_from(key & 0xffff_ffff).unwrap_or(0)).collect()
    }

    fn cut(&mut self) {
        if self.wanted == 0 {
            self.kept.clear();
        } else if self.kept.len() > self.wanted {
            let (_, &mut last, _) = self.kept.select_nth_unstable(self.wanted - 1);
            self.kept.truncate(self.wanted);
            self.floor = score(u32::try_from(last >> 32).unwrap_or(0));
        }
    }
}

const SIGN: u32 = 1 << 31;

/// A number that is the less, the higher a score is.
fn rank(score: f32) -> u32 {
    let bits = score.to_bits();
    // Of positive ones all bits but the sign are turned, of negative ones none.
    if bits & SIGN == 0 { !bits & !SIGN } else { bits }
}

/// The score of a [`rank`].
fn score(rank: u32) -> f32 {
    f32::from_bits(if rank & SIGN == 0 { !rank & !SIGN } else { rank })
}
