//! What commands that write merge before they exit.

use std::time::Duration;

use vdb::{Error, MergeLimits, Store};

use crate::output::Output;

/// Merges write at most so many times the rows that the command wrote, ...
const ROWS_TIMES: u64 = 10;
/// ... or as many as they can in this time.
const TIME: Duration = Duration::from_secs(2);

/// Merges what is due, within bounds, after a commit that changed `rows` rows; the rest waits for another command.
///
/// What was committed stays whatever comes of it: a failure is a warning.
pub(crate) fn merge(store: &Store, rows: u64, output: &mut Output) {
    let limits = MergeLimits { rows: rows.saturating_mul(ROWS_TIMES), time: TIME };
    match store.merge(&limits, &output.control()) {
        // Interrupted after the commit: there is only less merged.
        Ok(_) | Err(Error::Cancelled) => {}
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            output.warning(format_args!("segments could not be merged: {error}{cause}"));
        }
    }
}
