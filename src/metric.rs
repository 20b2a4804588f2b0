//! The measures of nearness between vectors.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How near two vectors are. A *score* is larger for nearer vectors under every metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The cosine of the angle: score in `[-1, 1]`. The zero vector has no direction and is refused.
    #[default]
    Cosine,
    /// The inner product: score is the product itself.
    InnerProduct,
    /// The squared Euclidean distance: score is its negative.
    L2,
}

impl Metric {
    const ALL: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];

    /// Its number in indexes.
    pub(crate) fn number(self) -> u32 {
        match self {
            Metric::Cosine => 0,
            Metric::InnerProduct => 1,
            Metric::L2 => 2,
        }
    }

    /// The one of this number.
    pub(crate) fn numbered(number: u32) -> Option<Self> {
        Metric::ALL.into_iter().find(|metric| metric.number() == number)
    }

    /// The number by which result lists of FAISS and `LangChain` know this score: the squared L2 distance under
    /// `L2` and `Cosine` (of unit vectors: `2 - 2 cos`), the inner product under `InnerProduct`.
    pub fn distance(self, score: f32) -> f32 {
        match self {
            Metric::Cosine => 2.0 - 2.0 * score,
            Metric::InnerProduct => score,
            Metric::L2 => -score,
        }
    }

    /// The name used in files, on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cosine => "cosine",
            Metric::InnerProduct => "ip",
            Metric::L2 => "l2",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Metric::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| Error::Invalid {
            what: "metric".into(),
            reason: format!("{name:?} is none of cosine, ip, l2"),
        })
    }
}
