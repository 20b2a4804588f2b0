//! What to search for, and how.

use super::plan::SearchPath;
use crate::embed::Fit;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::fusion::Fusion;

/// The part of the true best that a search finds unless told otherwise.
const RECALL: f32 = 0.95;
/// The documents among which diversity chooses unless told otherwise.
const FETCH_K: usize = 20;

/// What documents are compared with a query by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By whatever the query and the store allow: [`Mode::Hybrid`] for a text where the store has a text index and there is
    /// a vector or a model to make one, else the one of both that is there. By vectors alone where diversity is asked for.
    #[default]
    Auto,
    /// By meaning: the nearest vectors.
    Vector,
    /// By words: BM25.
    Text,
    /// By both.
    Hybrid,
}

impl Mode {
    /// The name used on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Vector => "vector",
            Mode::Text => "text",
            Mode::Hybrid => "hybrid",
        }
    }

    pub(super) fn has_vectors(self) -> bool {
        matches!(self, Mode::Vector | Mode::Hybrid)
    }

    pub(super) fn has_text(self) -> bool {
        matches!(self, Mode::Text | Mode::Hybrid)
    }
}

/// What to search for.
///
/// # Examples
/// ```
/// use vdb::{Filter, Query};
///
/// let query = Query::vector(vec![0.1, 0.9]).k(5).filter(Filter::field("year").gte(2020));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until a store is searched with it"]
pub struct Query {
    pub(super) target: Target,
    pub(super) mode: Mode,
    pub(super) k: usize,
    pub(super) filter: Option<Filter>,
    pub(super) min_score: Option<f32>,
    pub(super) min_cosine: Option<f32>,
    pub(super) recall: f32,
    pub(super) fusion: Fusion,
    pub(super) text_weight: Option<f64>,
    pub(super) diversity: Option<Diversity>,
    pub(super) ids_only: bool,
    pub(super) path: Option<SearchPath>,
}

/// What documents are to be like.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Vector(Vec<f32>),
    Text { text: String, vector: Option<Vec<f32>>, fit: Option<Fit> },
    Like(String),
}

/// Results that are not near each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Diversity {
    pub(super) lambda: f64,
    pub(super) fetch_k: usize,
}

impl Query {
    fn new(target: Target) -> Self {
        Query {
            target,
            mode: Mode::Auto,
            k: 10,
            filter: None,
            min_score: None,
            min_cosine: None,
            recall: RECALL,
            fusion: Fusion::default(),
            text_weight: None,
            diversity: None,
            ids_only: false,
            path: None,
        }
    }

    /// The documents nearest to a vector.
    pub fn vector(vector: impl Into<Vec<f32>>) -> Self {
        Query::new(Target::Vector(vector.into()))
    }

    /// The documents for a text: by its words, and by the vector that the store's embedder makes of it.
    ///
    /// Words are alternatives; `"phrases"`, `prefixes*`, `+required` and `-excluded` words are understood, and no text is an
    /// error. [`Mode::Vector`] takes the text as it is.
    pub fn text(text: impl Into<String>) -> Self {
        Query::new(Target::Text { text: text.into(), vector: None, fit: None })
    }

    /// The documents nearest to the one of this id, which is left out: to its first part that has a vector, or by the words
    /// of its text.
    pub fn like(id: impl Into<String>) -> Self {
        Query::new(Target::Like(id.into()))
    }

    /// The vector of a text, so that no embedder is needed. Replaces the one before; changes nothing for other queries.
    pub fn with_vector(mut self, given: impl Into<Vec<f32>>) -> Self {
        if let Target::Text { vector, .. } = &mut self.target {
            *vector = Some(given.into());
        }
        self
    }

    /// What documents are compared by. Default: [`Mode::Auto`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many documents are wanted. Default: 10. There are never fewer, unless fewer match.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Only documents that match. Replaces the filter before.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// The part of the true best that is to be found among vectors, on average, above 0 and up to 1. Default: 0.95.
    ///
    /// Segments that have an index are then searched only so far as that needs, by what was measured when it was built.
    /// With 1 every search is exact. Words are always searched exactly.
    pub fn recall(mut self, recall: f32) -> Self {
        self.recall = recall;
        self
    }

    /// The true best, from a look at every vector that may be found; the same as a recall of 1.
    pub fn exact(self) -> Self {
        self.recall(1.0)
    }

    /// Ids and scores are enough: hits come without text, metadata and span, and sooner.
    pub fn ids_only(mut self) -> Self {
        self.ids_only = true;
        self
    }

    /// Goes only this way through segments, where it can be gone, to measure it. Default: the cheapest.
    #[doc(hidden)]
    pub fn path(mut self, path: SearchPath) -> Self {
        self.path = Some(path);
        self
    }

    /// Only documents of at least this score. Replaces the one before. Not for [`Mode::Hybrid`], whose scores say
    /// how documents stand to the others that were found, not to the query.
    pub fn min_score(mut self, score: f32) -> Self {
        self.min_score = Some(score);
        self
    }

    /// Only documents with a part whose vector has at least this cosine with that of the query, whatever the mode and the
    /// metric. Replaces the one before.
    pub fn min_cosine(mut self, cosine: f32) -> Self {
        self.min_cosine = Some(cosine);
        self
    }

    /// How the rankings of [`Mode::Hybrid`] become one. Default: [`Fusion::Weighted`].
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.fusion = fusion;
        self
    }

    /// The part of words in the score of [`Mode::Hybrid`], in `[0, 1]`; that of vectors is the rest. Default: as the
    /// query and the texts demand with [`Fusion::Weighted`], which [`super::Plan`] explains; one half with [`Fusion::Ranks`].
    pub fn text_weight(mut self, weight: f64) -> Self {
        self.text_weight = Some(weight);
        self
    }

    /// Documents that are near the query and not near each other (maximal marginal relevance), in the order in which they
    /// were chosen. `lambda` in `[0, 1]`: 1 for relevance alone, 0 for diversity alone.
    ///
    /// The k documents are chosen among the best [`Query::fetch_k`], by the cosines of their best parts. Documents without a
    /// vector are left out.
    pub fn diverse(mut self, lambda: f64) -> Self {
        let fetch_k = self.diversity.map_or(FETCH_K, |diversity| diversity.fetch_k);
        self.diversity = Some(Diversity { lambda, fetch_k });
        self
    }

    /// Among how many documents diversity chooses; at least k. Default: 20, with a lambda of one half.
    pub fn fetch_k(mut self, fetch_k: usize) -> Self {
        let lambda = self.diversity.map_or(0.5, |diversity| diversity.lambda);
        self.diversity = Some(Diversity { lambda, fetch_k });
        self
    }

    /// The text, if it is one.
    pub(super) fn words(&self) -> Option<&str> {
        match &self.target {
            Target::Text { text, .. } => Some(text),
            Target::Vector(_) | Target::Like(_) => None,
        }
    }

    /// # Errors
    /// `Invalid` for a number out of its range.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str, number: f64, expected: &str| {
            Err(Error::invalid(what, format!("it is {number}, expected {expected}")))
        };
        if !(self.recall > 0.0 && self.recall <= 1.0) {
            return wrong("recall", self.recall.into(), "a number above 0 and up to 1");
        }
        if let Some(weight) = self.text_weight.filter(|weight| !(0.0..=1.0).contains(weight)) {
            return wrong("text weight", weight, "a number from 0 to 1");
        }
        if let Some(diversity) = self.diversity.filter(|one| !(0.0..=1.0).contains(&one.lambda)) {
            return wrong("lambda", diversity.lambda, "a number from 0 to 1");
        }
        if let Some(cosine) = self.min_cosine.filter(|cosine| !(-1.0..=1.0).contains(cosine)) {
            return wrong("least cosine", cosine.into(), "a number from -1 to 1");
        }
        if let Some(score) = self.min_score.filter(|score| score.is_nan()) {
            return wrong("least score", score.into(), "a number");
        }
        Ok(())
    }
}
