//! How much words count beside vectors: pure.
//!
//! The evidence costs nothing: how the model reads the query, and how far the best of each side stands out. `docs/search.md`
//! has the figures that the constants are from.

use super::explain::Weighing;
use crate::embed::Fit;
use crate::fusion::{Fusion, SCALE_DEPTH};

/// The part of words for a model that knows those of the query.
const KNOWN: f64 = 0.45;
/// The part of words for a model that reads the letters one by one.
const LOST: f64 = 0.75;
/// The part of words where nothing is known of the model.
const UNSAID: f64 = 0.5;
/// Up to this share of lost letters a model knows a text; from the second on it does not.
const RAMP: (f64, f64) = (0.15, 0.45);
/// How much it counts that the best of one side stands out more than the best of the other.
const LEAD: f64 = 0.2;
/// The best of words stands out by so much more when both sides are equally good.
const LEAD_OF_TEXTS: f64 = 0.1;
/// The best stands out from the one at this place.
const FOLLOWER: usize = 4;
/// No side is ever left out.
const BOUNDS: (f64, f64) = (0.2, 0.85);
/// Of ranks, both sides count the same: they say nothing of how good the first is.
const OF_RANKS: f64 = 0.5;

/// Chooses the part of words in a hybrid search, from both rankings, best first.
pub(super) fn weigh(
    fusion: Fusion,
    fit: Option<Fit>,
    vectors: &[(u64, f32)],
    texts: &[(u64, f32)],
) -> Weighing {
    if fusion == Fusion::Ranks {
        return Weighing { text_weight: OF_RANKS, reason: "ranks of both sides count the same".into() };
    }
    let base = fit.map_or(UNSAID, |fit| {
        let part = ((fit.lost_share() - RAMP.0) / (RAMP.1 - RAMP.0)).clamp(0.0, 1.0);
        KNOWN + (LOST - KNOWN) * part
    });
    let (of_vectors, of_texts) = (lead(vectors, None), lead(texts, Some(0.0)));
    let shift = LEAD * (of_texts - of_vectors - LEAD_OF_TEXTS);
    // In hundredths, as it is shown.
    let text_weight = ((base + shift).clamp(BOUNDS.0, BOUNDS.1) * 100.0).round() / 100.0;
    let read = fit.map_or_else(
        || "how the model reads the query is not known".to_owned(),
        |fit| {
            format!(
                "the model reads {} of {} letters of the query one by one or not at all",
                fit.lost, fit.letters
            )
        },
    );
    let reason = format!(
        "{read}: {base:.2}; the best stands out by {of_texts:.2} in words, {of_vectors:.2} in vectors: {shift:+.2}"
    );
    Weighing { text_weight, reason }
}

/// By which part of the span of the first hundred scores the best is above the fifth. Documents that were not found have the
/// score `missing`, if there is such a score.
fn lead(ranking: &[(u64, f32)], missing: Option<f32>) -> f64 {
    let score = |place: usize| {
        let found = ranking.get(place).map(|(_, score)| *score);
        f64::from(found.or(missing).or(ranking.last().map(|(_, score)| *score)).unwrap_or(0.0))
    };
    let (best, follower, last) = (score(0), score(FOLLOWER), score(SCALE_DEPTH - 1));
    if best > last { (best - follower) / (best - last) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(scores: impl IntoIterator<Item = f32>) -> Vec<(u64, f32)> {
        (0..).zip(scores).collect()
    }

    fn weight(fit: Option<Fit>, vectors: &[(u64, f32)], texts: &[(u64, f32)]) -> f64 {
        weigh(Fusion::Weighted, fit, vectors, texts).text_weight
    }

    #[test]
    fn words_count_more_where_the_model_reads_letters() {
        let flat = ranking((0..100_u8).map(|n| 200.0 - f32::from(n)));
        let [known, half, lost] =
            [0, 30, 90].map(|lost| weight(Some(Fit { letters: 100, lost }), &flat, &flat));
        assert_eq!((known, half, lost), (0.43, 0.58, 0.73));
        assert_eq!((weight(None, &flat, &flat), UNSAID), (0.48, 0.5));
        let none = Some(Fit::default());
        assert_eq!((weight(none, &flat, &flat), known), (0.43, 0.43));
        let said = weigh(Fusion::Weighted, Some(Fit { letters: 8, lost: 7 }), &flat, &flat).reason;
        assert!(said.starts_with("the model reads 7 of 8 letters"), "{said}");
    }

    #[test]
    fn a_side_counts_more_where_its_best_stands_out() {
        let flat = ranking((0..100_u8).map(|n| 200.0 - f32::from(n)));
        let mut peaked = flat.clone();
        peaked[0].1 = 1000.0;
        let fit = Some(Fit { letters: 10, lost: 0 });
        let [words, neither, vectors] =
            [weight(fit, &flat, &peaked), weight(fit, &flat, &flat), weight(fit, &peaked, &flat)];
        assert!(words > neither + 0.1 && neither > vectors + 0.1, "{words} {neither} {vectors}");
        // A word that one document alone has tells more than the nearest of vectors that are all alike.
        assert!(weight(fit, &flat, &ranking([3.0])) > 0.55);
    }

    #[test]
    fn nothing_found_and_ranks() {
        let flat = ranking((0..100_u8).map(|n| 200.0 - f32::from(n)));
        for (vectors, texts) in [(&flat[..], &[][..]), (&[][..], &flat[..]), (&[][..], &[][..])] {
            let weight = weight(Some(Fit { letters: 10, lost: 10 }), vectors, texts);
            assert!((BOUNDS.0..=BOUNDS.1).contains(&weight));
        }
        let ranks = weigh(Fusion::Ranks, Some(Fit { letters: 10, lost: 10 }), &flat, &flat);
        assert_eq!((ranks.text_weight, OF_RANKS), (0.5, 0.5));
    }
}
