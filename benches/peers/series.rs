//! Recall and speed by setting, and how two of them compare at the same recall.

use crate::common::{median, percentile};

/// One setting of a library.
pub(crate) struct Point {
    pub(crate) setting: String,
    pub(crate) recall: f64,
    /// Queries a second in each round.
    pub(crate) speeds: Vec<f64>,
}

/// One library, asked for one thing.
pub(crate) struct Series {
    pub(crate) name: String,
    /// `ids` or `documents`.
    pub(crate) mode: String,
    pub(crate) points: Vec<Point>,
}

impl Series {
    /// Queries a second at a recall in one round: the most that a setting of at least this recall does, or that two
    /// settings around it do in proportion. `None` where no setting reaches it.
    pub(crate) fn at_recall(&self, recall: f64, round: usize) -> Option<f64> {
        let speed = |point: &Point| point.speeds.get(round).copied();
        let mut points: Vec<(f64, f64)> =
            self.points.iter().filter_map(|point| Some((point.recall, speed(point)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let reached = points.iter().filter(|point| point.0 >= recall).map(|point| point.1);
        let between =
            points.windows(2).filter(|pair| pair[0].0 < recall && recall <= pair[1].0).map(|pair| {
                let ((low, fast), (high, slow)) = (pair[0], pair[1]);
                fast + (slow - fast) * (recall - low) / (high - low)
            });
        reached.chain(between).reduce(f64::max)
    }

    fn rounds(&self) -> usize {
        self.points.iter().map(|point| point.speeds.len()).max().unwrap_or(0)
    }

    /// The speeds of all rounds at a recall.
    pub(crate) fn speeds_at(&self, recall: f64) -> Vec<f64> {
        (0..self.rounds()).filter_map(|round| self.at_recall(recall, round)).collect()
    }

    /// Median and lower quartile of the rounds' ratios of this one's speed to another's, at the same recall.
    pub(crate) fn ratio(&self, other: &Series, recall: f64) -> Option<(f64, f64)> {
        let ratio = |round| Some(self.at_recall(recall, round)? / other.at_recall(recall, round)?);
        let ratios: Vec<f64> = (0..self.rounds().min(other.rounds())).filter_map(ratio).collect();
        if ratios.is_empty() {
            return None;
        }
        Some((median(ratios.iter().copied()), percentile(ratios, 0.25)))
    }

    /// Recall and median speed of the settings that no other one beats in both, ascending by recall.
    pub(crate) fn frontier(&self) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> =
            self.points.iter().map(|point| (point.recall, median(point.speeds.iter().copied()))).collect();
        points.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let mut best = 0.0;
        points.retain(|point| {
            let kept = point.1 > best;
            best = point.1.max(best);
            kept
        });
        points.reverse();
        points
    }
}

/// The part of the true nearest that was found.
pub(crate) fn recall(found: &[Vec<u64>], truth: &[Vec<u64>]) -> f64 {
    let (mut hits, mut wanted) = (0_u32, 0_u32);
    for (found, truth) in found.iter().zip(truth) {
        hits += truth.iter().filter(|row| found.contains(row)).map(|_| 1).sum::<u32>();
        wanted += truth.iter().map(|_| 1).sum::<u32>();
    }
    f64::from(hits) / f64::from(wanted)
}
