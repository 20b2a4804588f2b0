//! The flags that change metadata: `--meta` and `--replace-meta`.

use vdb::{Metadata, WriteTxn};

use crate::failure::Result;
use crate::given;

/// How metadata are to change.
#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    /// Merge this into the metadata (RFC 7396: null removes a key); a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON", conflicts_with = "replace_meta")]
    meta: Option<String>,
    /// Replace the metadata by this JSON object, or `@FILE`
    #[arg(long, value_name = "JSON")]
    replace_meta: Option<String>,
}

/// What becomes of metadata.
pub(crate) enum Change {
    /// They stay.
    None,
    /// They are merge-patched.
    Merge(Metadata),
    /// Others take their place.
    Replace(Metadata),
}

impl Edit {
    /// Whether anything was given.
    pub(crate) fn is_given(&self) -> bool {
        self.meta.is_some() || self.replace_meta.is_some()
    }

    /// What was given.
    pub(crate) fn change(&self) -> Result<Change> {
        Ok(match (&self.meta, &self.replace_meta) {
            (Some(patch), _) => Change::Merge(given::metadata(patch)?),
            (None, Some(metadata)) => Change::Replace(given::metadata(metadata)?),
            (None, None) => Change::None,
        })
    }
}

impl Change {
    /// Changes one document.
    pub(crate) fn apply(&self, txn: &mut WriteTxn, id: &str) -> Result<()> {
        match self {
            Change::None => {}
            Change::Merge(patch) => drop(txn.update_metadata(id, patch)?),
            Change::Replace(metadata) => drop(txn.replace_metadata(id, metadata)?),
        }
        Ok(())
    }
}
