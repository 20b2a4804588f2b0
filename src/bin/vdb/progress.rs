//! Progress of long calls: a bar on a terminal, JSON Lines under `--json`, after a quarter of a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vdb::{MemoryUse, Progress};

/// How long a call is silent.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a bar is drawn in a second.
const DRAWS: u8 = 20;
/// The time between two JSON Lines.
const INTERVAL: Duration = Duration::from_millis(500);

/// The longest account of the memory. With the rest of a bar it fits into 80 columns.
const MEMORY_CHARS: usize = 44;

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
            let shares = memory.components.iter().map(|share| (share.component, share.bytes)).collect();
            bar.set_prefix(in_short(memory.granted, memory.budget, shares));
        }
        if bar.message() != progress.stage {
            let template = match progress.total {
                Some(_) => "{msg} [{bar:10}] {percent}%, {eta} left, {prefix}",
                None => "{msg} {human_pos} {per_sec}, {prefix}",
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

/// What is granted of the budget, in MiB, and for what: the most first, as many as there is room for.
fn in_short(granted: u64, budget: u64, mut shares: Vec<(&str, u64)>) -> String {
    let size = |bytes: u64| bytes.div_ceil(1 << 20);
    shares.retain(|&(_, bytes)| bytes > 0);
    shares.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let mut text = format!("{} of {} MiB", size(granted), size(budget));
    for (n, (name, bytes)) in shares.into_iter().enumerate() {
        let more = format!("{} {name} {}", if n == 0 { ":" } else { "," }, size(bytes));
        if text.len() + more.len() > MEMORY_CHARS {
            break;
        }
        text.push_str(&more);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_by_component_as_far_as_there_is_room() {
        let said = |granted: u64, budget: u64, shares: &[(&'static str, u64)]| {
            let shares = shares.iter().map(|&(name, mib)| (name, mib << 20)).collect();
            in_short(granted << 20, budget << 20, shares)
        };
        let shares = [("catalog", 19), ("tail", 0), ("indexing", 240), ("importing", 5)];
        assert_eq!(said(264, 512, &shares), "264 of 512 MiB: indexing 240, catalog 19");
        assert_eq!(said(5, 32, &[("catalog", 5)]), "5 of 32 MiB: catalog 5");
        assert_eq!(said(0, 32, &[]), "0 of 32 MiB");
        let most = said(65_536, 65_536, &[("embedding", 65_000), ("importing", 60_000)]);
        assert_eq!(most, "65536 of 65536 MiB: embedding 65000");
        assert!(most.len() <= MEMORY_CHARS);
        let rest =
            "compact [          ] 100%, 59m left, ".len().max("import 100,000,000 10,000.0000/s, ".len());
        assert!(rest + MEMORY_CHARS <= 81, "{rest}");
    }
}
