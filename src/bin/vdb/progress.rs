//! Progress of long calls: a bar on a terminal, JSON Lines under `--json`, after a quarter of a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vdb::{MemoryUse, Progress};

/// How long a call is silent.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a bar is drawn in a second.
const DRAWS: u8 = 20;
/// The time between two JSON Lines.
const INTERVAL: Duration = Duration::from_millis(500);

/// Writes a line.
pub(crate) type Write = fn(Progress, Option<&MemoryUse>);

/// Where progress goes.
pub(crate) enum Meter {
    /// A bar.
    Bar(Mutex<Bar>),
    /// Lines, written by this function.
    Lines(Mutex<Instant>, Write),
}

/// A bar, or none yet.
pub(crate) struct Bar {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// A bar on stderr.
    pub(crate) fn bar() -> Self {
        Meter::Bar(Mutex::new(Bar { started: Instant::now(), bar: None }))
    }

    /// A line now and then.
    pub(crate) fn lines(write: Write) -> Self {
        // The first line comes when the patience is over.
        Meter::Lines(Mutex::new(Instant::now() + PATIENCE), write)
    }

    /// Shows how far the call has come, and with how much memory.
    pub(crate) fn show(&self, progress: Progress, memory: impl FnOnce() -> Option<MemoryUse>) {
        match self {
            Meter::Bar(bar) => bar.lock().unwrap_or_else(PoisonError::into_inner).show(progress, memory),
            Meter::Lines(next, write) => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                if now >= *next {
                    *next = now + INTERVAL;
                    write(progress, memory().as_ref());
                }
            }
        }
    }
}

impl Bar {
    fn show(&mut self, progress: Progress, memory: impl FnOnce() -> Option<MemoryUse>) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
            ProgressBar::with_draw_target(progress.total, target).with_elapsed(PATIENCE)
        });
        if let Some(memory) = memory() {
            let size = |bytes| ByteSize::b(bytes).display().iec();
            bar.set_prefix(format!("{} of {} memory", size(memory.granted), size(memory.budget)));
        }
        if bar.message() != progress.stage {
            let template = match progress.total {
                Some(_) => "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec}, {eta} left {prefix}",
                None => "{msg} {human_pos} {per_sec} {prefix}",
            };
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(progress.stage);
            bar.reset_eta();
        }
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
