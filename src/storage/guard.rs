//! The wrapper around calls of libraries that read files: their errors become ours, and their panics become errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::container::Container;
use crate::error::{Error, Result};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panic messages of guarded calls off stderr: they are reported as errors. Others go where they went.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "no message".into())
}

/// Runs `call`; a panic becomes its message.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> std::result::Result<T, String> {
    quieten();
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    result.map_err(|payload| message(&*payload))
}

/// Runs `call`, which uses redb, and turns what goes wrong into an [`Error`]. `op` is a verb for messages.
pub(crate) fn guarded<T, E: Into<redb::Error>>(
    container: &Container,
    op: &'static str,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    match caught(call) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(container, op, error.into())),
        Err(panic) => {
            container.poison();
            Err(Error::corrupt("catalog", 0, format!("cannot {op}: {panic}")))
        }
    }
}

fn translate(container: &Container, op: &'static str, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) => container.io(op)(source),
        redb::Error::Corrupted(detail) => Error::corrupt("catalog", 0, detail),
        redb::Error::DatabaseClosed => Error::invalid("store", "it is closed"),
        redb::Error::PreviousIo => Error::Poisoned { path: container.path().to_owned() },
        redb::Error::DatabaseAlreadyOpen => {
            Error::Locked { path: container.path().to_owned(), holder: super::lock::holder(container) }
        }
        redb::Error::LockProtocolMismatch => Error::Unavailable {
            feature: "sharing the file",
            reason: "another process uses a version of vdb with other locks".into(),
        },
        redb::Error::RepairAborted => Error::Unavailable {
            feature: "reading",
            reason: "the last writer did not close the file and it is not recovered yet".into(),
        },
        redb::Error::TransactionInProgress => Error::Unavailable {
            feature: "closing",
            reason: "a write transaction is open; the file is closed when it ends".into(),
        },
        redb::Error::ValueTooLarge(found) => Error::Limit {
            what: "record length in bytes".into(),
            found: crate::codec::to_u64(found),
            max: 3 << 30,
        },
        other => Error::corrupt("catalog", 0, format!("cannot {op}: {other}")),
    }
}
