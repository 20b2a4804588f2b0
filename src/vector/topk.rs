//! The best k documents of any number of scored rows.

use std::cmp::Ordering;

/// A document by its best row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Best {
    /// The document: its first row.
    pub(crate) owner: u64,
    /// The best row of the document.
    pub(crate) row: u64,
    /// The score of that row; never NaN.
    pub(crate) score: f32,
}

impl Best {
    /// The order of results: higher scores first, then lower rows.
    fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Keeps the k best documents, each with its best row.
///
/// The result depends only on the set of rows offered: their order, and how they were spread over several `TopK` that
/// were merged, do not matter. Rows are gathered until there are somewhat more than twice k, then cut down to k at once:
/// O(1) amortised for a row that is kept, one comparison for one that is not, and never more memory than what is filled.
#[derive(Clone, Debug)]
pub(crate) struct TopK {
    k: usize,
    /// Rows at or above `floor`; a document may be here more than once until the next cut.
    kept: Vec<Best>,
    /// The k-th best document at the last cut; what does not come before it cannot be among the k best.
    floor: Option<Best>,
}

impl TopK {
    /// An empty list of at most `k` documents.
    pub(crate) fn new(k: usize) -> Self {
        TopK { k, kept: Vec::new(), floor: None }
    }

    /// The most memory that a list of `k` takes: somewhat more than twice as many rows, in a vector that doubles.
    pub(crate) fn bytes(k: usize) -> usize {
        size_of::<Best>().saturating_mul(k.saturating_mul(5).saturating_add(1024))
    }

    /// Whether one of these scores may be good enough. Cheaper than to offer each.
    pub(crate) fn wants_any(&self, scores: &[f32]) -> bool {
        // NaN is not below the floor: `offer` decides. Counted to the end, so that the compiler makes vector instructions.
        let Some(floor) = self.floor else { return self.k > 0 };
        scores.iter().filter(|&&score| score < floor.score).count() < scores.len()
    }

    /// Whether it has as many as are wanted, and knows the worst of them, or of those that it had.
    pub(crate) fn is_full(&self) -> bool {
        self.floor.is_some()
    }

    /// What scores less cannot be among the k best any more.
    pub(crate) fn floor(&self) -> f32 {
        self.floor.map_or(f32::NEG_INFINITY, |floor| floor.score)
    }

    /// Offers a row. NaN counts as the worst score there is.
    ///
    /// `owner` gives the document of the row, or nothing for a row that is not wanted; it is called only where the score
    /// is good enough.
    #[inline]
    pub(crate) fn offer(&mut self, score: f32, row: u64, owner: impl FnOnce(u64) -> Option<u64>) {
        // False of NaN. Nearly every row ends here.
        if self.floor.is_some_and(|floor| score < floor.score) {
            return;
        }
        // The sum makes one zero of two.
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        let mut best = Best { owner: row, row, score };
        if self.k == 0 || self.floor.is_some_and(|floor| best.order(&floor).is_ge()) {
            return;
        }
        if let Some(owner) = owner(row) {
            best.owner = owner;
            self.keep(best);
        }
    }

    /// The same list, whose floor is that of all that it has.
    pub(crate) fn settled(mut self) -> Self {
        self.cut();
        self
    }

    /// How many documents are wanted.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Adds what another list kept.
    pub(crate) fn merge(&mut self, other: TopK) {
        for best in other.kept {
            self.offer(best.score, best.row, |_| Some(best.owner));
        }
    }

    /// The documents, best first.
    ///
    /// Cost: a sort of what was kept.
    pub(crate) fn into_sorted(mut self) -> Vec<Best> {
        self.cut();
        self.kept.sort_unstable_by(Best::order);
        self.kept
    }

    fn keep(&mut self, best: Best) {
        self.kept.push(best);
        if self.kept.len() >= self.k.saturating_mul(2).saturating_add(16) {
            self.cut();
        }
    }

    /// Leaves the best row of each document, and the k best documents.
    fn cut(&mut self) {
        self.kept.sort_unstable_by(|a, b| a.owner.cmp(&b.owner).then(a.order(b)));
        self.kept.dedup_by_key(|best| best.owner);
        if self.k > 0 && self.kept.len() >= self.k {
            let (_, &mut last, _) = self.kept.select_nth_unstable_by(self.k - 1, Best::order);
            self.floor = Some(last);
            self.kept.truncate(self.k);
        }
    }
}
