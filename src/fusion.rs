//! One ranking from two: of vectors and of words.

use std::collections::HashMap;

/// The best so many of each side set the scale of its scores.
pub(crate) const SCALE_DEPTH: usize = 100;

/// The constant of reciprocal ranks, which keeps the first ranks from outweighing all else.
const RANK_CONSTANT: f64 = 60.0;

/// How the rankings of vectors and of words become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fusion {
    /// By a weighted sum of scores. On each side the best is 1 and the hundredth, or the last, is 0; so is a document that the
    /// side has not found.
    #[default]
    Weighted,
    /// By a weighted sum of reciprocal ranks, `1 / (60 + rank)`, whatever the scores.
    Ranks,
}

impl Fusion {
    /// The name used on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Fusion::Weighted => "weighted",
            Fusion::Ranks => "rrf",
        }
    }
}

/// A document that one side has found, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused {
    /// The document.
    pub(crate) key: u64,
    /// Its score.
    pub(crate) score: f64,
    /// Its place in the ranking of vectors, from 0.
    pub(crate) vector: Option<usize>,
    /// Its place in the ranking of words, from 0.
    pub(crate) text: Option<usize>,
}

/// The scale of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scale {
    /// The score that becomes 1.
    pub(crate) best: f32,
    /// The score that becomes 0.
    pub(crate) least: f32,
}

impl Scale {
    /// The scale of a ranking, best first.
    pub(crate) fn of(ranking: &[(u64, f32)]) -> Self {
        let best = ranking.first().map_or(0.0, |(_, score)| *score);
        let least = ranking.iter().take(SCALE_DEPTH).next_back().map_or(0.0, |(_, score)| *score);
        Scale { best, least }
    }

    /// A score on this scale, in `[0, 1]`. Where all are equal, all are 1.
    pub(crate) fn normalised(self, score: f32) -> f64 {
        let span = f64::from(self.best) - f64::from(self.least);
        if span > 0.0 { ((f64::from(score) - f64::from(self.least)) / span).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// Makes one ranking, best first, of two that each have a document at most once. `text_weight` in `[0, 1]` is the part that
/// words have in it. Of equal documents the one of the better place on one side comes first, then the lower key.
pub(crate) fn fuse(
    vector: &[(u64, f32)],
    text: &[(u64, f32)],
    fusion: Fusion,
    text_weight: f64,
) -> Vec<Fused> {
    let mut fused: Vec<Fused> = Vec::with_capacity(vector.len() + text.len());
    let mut places: HashMap<u64, usize> = HashMap::with_capacity(vector.len());
    let share = |ranking: &[(u64, f32)], scale: Scale, place: usize| match fusion {
        Fusion::Weighted => scale.normalised(ranking[place].1),
        // Doubled, so that equal weights are those of the plain sum.
        Fusion::Ranks => 2.0 / (RANK_CONSTANT + as_float(place) + 1.0),
    };
    let scale = Scale::of(vector);
    for (place, &(key, _)) in vector.iter().enumerate() {
        let score = (1.0 - text_weight) * share(vector, scale, place);
        places.insert(key, fused.len());
        fused.push(Fused { key, score, vector: Some(place), text: None });
    }
    let scale = Scale::of(text);
    for (place, &(key, _)) in text.iter().enumerate() {
        let score = text_weight * share(text, scale, place);
        match places.get(&key).and_then(|at| fused.get_mut(*at)) {
            Some(both) => {
                both.score += score;
                both.text = Some(place);
            }
            None => fused.push(Fused { key, score, vector: None, text: Some(place) }),
        }
    }
    let place = |one: &Fused| one.vector.unwrap_or(usize::MAX).min(one.text.unwrap_or(usize::MAX));
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(place(a).cmp(&place(b))).then(a.key.cmp(&b.key)));
    fused
}

#[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^52")]
fn as_float(place: usize) -> f64 {
    place as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(fused: &[Fused]) -> Vec<(u64, f64)> {
        fused.iter().map(|one| (one.key, (one.score * 1e6).round() / 1e6)).collect()
    }

    #[test]
    fn weighted_scores() {
        let (vector, text) = ([(1, 0.9), (2, 0.8), (3, 0.5)], [(3, 12.0), (4, 7.0), (1, 2.0)]);
        let fused = fuse(&vector, &text, Fusion::Weighted, 0.4);
        assert_eq!(ranked(&fused), [(1, 0.6), (2, 0.45), (3, 0.4), (4, 0.2)]);
        let three = fused[2];
        assert_eq!((three.vector, three.text), (Some(2), Some(0)));
        assert_eq!((fused[3].vector, fused[3].text), (None, Some(1)));
        // With all weight on a side, its ranking comes first.
        let keys = |weight| {
            fuse(&vector, &text, Fusion::Weighted, weight).iter().map(|one| one.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(1.0), [3, 4, 1, 2]);
        assert_eq!(keys(0.0), [1, 2, 3, 4]);
    }

    #[test]
    fn reciprocal_ranks() {
        let fused = fuse(&[(1, 0.9), (2, 0.8)], &[(2, 3.0), (7, 1.0)], Fusion::Ranks, 0.5);
        let expected = [(2, 1.0 / 62.0 + 1.0 / 61.0), (1, 1.0 / 61.0), (7, 1.0 / 62.0)];
        assert_eq!(ranked(&fused), expected.map(|(key, score)| (key, f64::round(score * 1e6) / 1e6)));
        let by_words = fuse(&[(1, 0.9), (2, 0.8)], &[(7, 1.0)], Fusion::Ranks, 1.0);
        assert_eq!(ranked(&by_words)[0], (7, 0.032_787));
    }

    #[test]
    fn the_hundredth_sets_the_scale() {
        let ranking: Vec<(u64, f32)> = (0..150_u16).map(|n| (u64::from(n), f32::from(150 - n))).collect();
        assert_eq!(Scale::of(&ranking), Scale { best: 150.0, least: 51.0 });
        let fused = fuse(&ranking, &[], Fusion::Weighted, 0.0);
        let keys: Vec<u64> = fused.iter().map(|one| one.key).collect();
        // What is below the scale keeps its order.
        assert_eq!(keys, (0..150).collect::<Vec<_>>());
        assert_eq!((fused[99].score, fused[149].score), (0.0, 0.0));
    }

    #[test]
    fn few_and_equal_scores() {
        assert!(fuse(&[], &[], Fusion::Weighted, 0.5).is_empty());
        assert_eq!(ranked(&fuse(&[(5, 0.1)], &[], Fusion::Weighted, 0.3)), [(5, 0.7)]);
        let equal = fuse(&[(9, 0.5), (4, 0.5)], &[(4, 2.0)], Fusion::Weighted, 0.5);
        assert_eq!(ranked(&equal), [(4, 1.0), (9, 0.5)]);
    }
}
