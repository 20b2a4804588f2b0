//! Maximal marginal relevance: results that are near the query and not near each other.

/// Chooses up to `k` of `candidates`: first the one nearest to `query`, then each time the one with the largest
/// `lambda * cos(query, c) - (1 - lambda) * max over the chosen s of cos(s, c)`; of equal ones the first.
///
/// Shape: `candidates` holds vectors as long as `query`. Whatever the metric of a store, nearness is the cosine, which is 0 for
/// a zero vector. Cost: O(k * candidates * dim).
/// Source: Carbonell and Goldstein 1998; `LangChain`'s `maximal_marginal_relevance`, which gives the same.
pub(crate) fn mmr(query: &[f32], candidates: &[&[f32]], k: usize, lambda: f64) -> Vec<usize> {
    let query_norm = norm(query);
    let norms: Vec<f64> = candidates.iter().map(|candidate| norm(candidate)).collect();
    let relevance: Vec<f64> = candidates
        .iter()
        .zip(&norms)
        .map(|(candidate, norm)| cosine(query, query_norm, candidate, *norm))
        .collect();
    // The largest cosine with a chosen one.
    let mut redundancy = vec![f64::NEG_INFINITY; candidates.len()];
    let mut chosen: Vec<usize> = Vec::new();
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    while chosen.len() < k && !left.is_empty() {
        let is_first = chosen.is_empty();
        let worth = |at: usize| {
            if is_first { relevance[at] } else { lambda * relevance[at] - (1.0 - lambda) * redundancy[at] }
        };
        let mut best = 0;
        for place in 1..left.len() {
            if worth(left[place]) > worth(left[best]) {
                best = place;
            }
        }
        let new = left.remove(best);
        chosen.push(new);
        for &at in &left {
            let near = cosine(candidates[new], norms[new], candidates[at], norms[at]);
            redundancy[at] = redundancy[at].max(near);
        }
    }
    chosen
}

/// The cosine of two vectors of the same length; 0 for a zero vector.
pub(crate) fn cosine_of(a: &[f32], b: &[f32]) -> f64 {
    cosine(a, norm(a), b, norm(b))
}

fn norm(vector: &[f32]) -> f64 {
    dot(vector, vector).sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn cosine(a: &[f32], a_norm: f64, b: &[f32], b_norm: f64) -> f64 {
    let norms = a_norm * b_norm;
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of `tests/python/mmr.py`, chosen by numpy.
    #[test]
    fn chooses_what_numpy_chooses() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/mmr.json")).unwrap();
        let vector = |value: &serde_json::Value| serde_json::from_value::<Vec<f32>>(value.clone()).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() > 40);
        for case in cases {
            let query = vector(&case["query"]);
            let candidates: Vec<Vec<f32>> =
                case["candidates"].as_array().unwrap().iter().map(&vector).collect();
            let candidates: Vec<&[f32]> = candidates.iter().map(Vec::as_slice).collect();
            let lambda = case["lambda"].as_f64().unwrap();
            let k = usize::try_from(case["k"].as_u64().unwrap()).unwrap();
            let chosen = mmr(&query, &candidates, k, lambda);
            assert_eq!(serde_json::json!(chosen), case["chosen"], "{case}");
        }
    }

    #[test]
    fn of_equal_ones_the_first() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert_eq!(mmr(&[1.0, 1.0], &[&a, &b, &a, &b], 4, 0.5), [0, 1, 2, 3]);
        // A zero vector is near nothing.
        assert_eq!(mmr(&[0.0, 0.0], &[&a, &[0.0, 0.0], &b], 3, 0.0), [0, 1, 2]);
        assert!(mmr(&[1.0, 0.0], &[], 3, 0.5).is_empty() && mmr(&[1.0, 0.0], &[&a], 0, 0.5).is_empty());
    }
}
