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
    /// Queries a second at a recall, round by round: of the setting of at least this recall, or of the two around it in
    /// proportion, that does most in the median. Which one is not chosen for each round: that would favour those whose
    /// settings are much alike, because the best of many is measured higher. Empty where no setting reaches it.
    pub(crate) fn speeds_at(&self, recall: f64) -> Vec<f64> {
        let mut points: Vec<&Point> = self.points.iter().collect();
        points.sort_by(|a, b| a.recall.total_cmp(&b.recall));
        let reached = points.iter().filter(|point| point.recall >= recall).map(|point| point.speeds.clone());
        let between = points.windows(2).filter(|pair| pair[0].recall < recall && recall <= pair[1].recall);
        let between = between.map(|pair| {
            let part = (recall - pair[0].recall) / (pair[1].recall - pair[0].recall);
            let speeds = pair[0].speeds.iter().zip(&pair[1].speeds);
            speeds.map(|(fast, slow)| fast + (slow - fast) * part).collect()
        });
        let middle = |speeds: &Vec<f64>| median(speeds.iter().copied());
        reached.chain(between).max_by(|a, b| middle(a).total_cmp(&middle(b))).unwrap_or_default()
    }

    /// Median and lower quartile of the rounds' ratios of this one's speed to another's, at the same recall.
    pub(crate) fn ratio(&self, other: &Series, recall: f64) -> Option<(f64, f64)> {
        let (ours, theirs) = (self.speeds_at(recall), other.speeds_at(recall));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
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
