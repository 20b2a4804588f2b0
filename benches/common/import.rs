//! Imports an array of NumPy by `vdb import`, in a process of its own whose memory is watched.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Clusters, Report, mib};

/// Twenty looks a second and more.
const INTERVAL: Duration = Duration::from_millis(25);

/// The peak of anonymous memory that every import may have, in bytes.
const PEAK_MAX: u64 = 160 << 20;
/// And of the raw vectors, where that is more.
const PEAK_PART_MAX: f64 = 0.6;

/// How an import went.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Imported {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// The most anonymous memory that was seen, in bytes.
    pub(crate) peak: u64,
    /// The most that it granted itself, in bytes.
    pub(crate) granted: u64,
    /// Documents.
    pub(crate) added: u64,
}

impl Imported {
    /// Runs a process that becomes `vdb import --json`.
    pub(crate) fn run(mut command: Command) -> Result<Self, Box<dyn std::error::Error>> {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let peak = watch(&mut child)?;
        let seconds = started.elapsed().as_secs_f64();
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("vdb import failed: {}", output.status).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let line: serde_json::Value = serde_json::from_str(text.lines().last().ok_or("no summary")?)?;
        let told = |key: &str| line["data"][key].as_u64().ok_or(format!("no {key} in {line}"));
        Ok(Imported { seconds, peak, granted: told("peak_granted")?, added: told("added")? })
    }

    /// Compares the peak with the budget, in bytes, and with what every import may have for so many bytes of vectors.
    pub(crate) fn bound(&self, report: &mut Report, what: &str, raw: u64, budget: u64) {
        let most = mib(PEAK_MAX).max(PEAK_PART_MAX * mib(raw));
        report.at_most(
            &format!("{what}: peak anonymous memory, MiB, of the budget"),
            mib(self.peak),
            mib(budget),
        );
        report.at_most(&format!("{what}: the same, by the raw vectors"), mib(self.peak), most);
    }

    /// Tells time, memory and documents.
    pub(crate) fn print(&self, report: &Report, under: &str) -> io::Result<()> {
        report.line(format!(
            "under {under}: imported and indexed in {:.0} s; peak anonymous {:.1} MiB, granted {:.1} MiB; {} documents",
            self.seconds,
            mib(self.peak),
            mib(self.granted),
            self.added,
        ))
    }
}

/// The part of the vectors of a store that has an index.
pub(crate) fn indexed_part(stats: &vdb::Stats) -> f64 {
    let rows = |index: bool| -> u64 {
        let segments = stats.segments.iter().filter(|segment| !index || segment.index != "exact");
        segments.map(|segment| segment.rows).sum()
    };
    rows(true) as f64 / (rows(false) + stats.tail_rows) as f64
}

/// Waits for the end of a process; returns the most anonymous memory that it had. It must not print more than a pipe holds.
pub(crate) fn watch(child: &mut Child) -> io::Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(INTERVAL);
    }
    Ok(peak)
}

/// Writes an array of the next so many of the vectors, each of them one long.
pub(crate) fn write_array(path: &Path, rows: usize, dim: usize, clusters: &mut Clusters) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let header = format!("{header:<117}\n");
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&u16::try_from(header.len()).unwrap_or(0).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for _ in 0..rows {
        for value in clusters.next_unit() {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    out.flush()
}
