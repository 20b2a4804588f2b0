//! What calls of a graph of FAISS give and take, apart from the calls.

use crate::error::{Error, Result};

/// What a search of a graph finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::vector) struct Nearest {
    /// Squared L2 or minus the inner product, ascending.
    pub(in crate::vector) distances: Vec<f32>,
    /// The row of each, -1 past the last.
    pub(in crate::vector) rows: Vec<i64>,
    /// How many distances were computed.
    pub(in crate::vector) computed: u64,
}

impl Nearest {
    /// Room for `k` rows.
    pub(super) fn new(k: usize) -> Self {
        Nearest { distances: vec![0.0; k], rows: vec![-1; k], computed: 0 }
    }
}

/// The process that opened something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opener(u32);

impl Opener {
    /// This process.
    pub(super) fn this() -> Self {
        Opener(std::process::id())
    }

    /// Refuses a forked child: it has one thread, and a lock that another held when it was made is held for ever.
    pub(super) fn check(self) -> Result<()> {
        if std::process::id() == self.0 {
            return Ok(());
        }
        Err(Error::Unavailable {
            feature: "an index opened before fork",
            reason: "this process is a child of the one that opened it; open the store again".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_fork_is_refused_with_a_reason() {
        assert!(Opener::this().check().is_ok());
        let error = Opener(std::process::id() + 1).check().unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}
