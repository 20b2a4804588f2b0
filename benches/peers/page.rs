//! Writes the comparison as a page of tables.

use std::fmt::Write as _;

use crate::common::{median, percentile};
use crate::data::Data;
use crate::peer::About;
use crate::plot::number;
use crate::series::Series;

/// The recalls of the tables.
pub(crate) const RECALLS: [f64; 4] = [0.90, 0.95, 0.98, 0.99];

/// Rows a second of a build, from the seconds of its runs.
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) what: &'static str,
    pub(crate) seconds: Vec<f64>,
}

/// What was found.
pub(crate) struct Results<'a> {
    pub(crate) data: &'a Data,
    pub(crate) rounds: usize,
    pub(crate) machine: String,
    pub(crate) ours: String,
    pub(crate) peers: &'a [About],
    pub(crate) missing: &'a [(String, String)],
    pub(crate) builds: &'a [Build],
    pub(crate) series: &'a [Series],
    /// Lines about opening.
    pub(crate) notes: &'a [String],
    pub(crate) rules: String,
}

/// The page of some results; the picture lies beside it.
pub(crate) fn page(results: &Results<'_>) -> String {
    let Results { data, rounds, machine, .. } = results;
    let name = &data.name;
    let mut out = format!(
        "# {}\n\nWritten by `make bench-peers`; what the figures mean is said in the [README](README.md). {machine}. {rounds} \
         rounds in turns, best ten, one query at a time, one thread; queries a second are medians, lower quartiles in \
         brackets.\n\n![Recall and queries a second](peers-{name}.svg)\n\n",
        data.about
    );
    let _ =
        writeln!(out, "| Library | Version | Index | Instructions |\n|---|---|---|---|\n{}", results.ours);
    for About { name, version, index, dispatch, .. } in results.peers {
        let _ = writeln!(out, "| {name} | {version} | {index} | {dispatch} |");
    }
    for (name, reason) in results.missing {
        let _ = writeln!(out, "| {name} | left out | | {reason} |");
    }
    let ours = |mode: &str| results.series.iter().find(|series| series.name == "vdb" && series.mode == mode);
    for (mode, title) in [("ids", "Ids and scores"), ("documents", "With texts and metadata")] {
        let _ = writeln!(
            out,
            "\n## {title}\n\n| Queries a second at a recall of |{}",
            cells(&RECALLS.map(|r| format!("{r:.2}")))
        );
        let _ = writeln!(out, "|---|{}", "---|".repeat(RECALLS.len()));
        for series in results.series.iter().filter(|series| series.mode == mode) {
            let _ =
                writeln!(out, "| {} |{}", series.name, cells(&RECALLS.map(|recall| speed(series, recall))));
        }
        let Some(ours) = ours(mode) else { continue };
        let _ = writeln!(out, "\n| vdb / it, same recall |{}", cells(&RECALLS.map(|r| format!("{r:.2}"))));
        let _ = writeln!(out, "|---|{}", "---|".repeat(RECALLS.len()));
        for series in results.series.iter().filter(|series| series.mode == mode && series.name != "vdb") {
            let ratio = |recall| {
                ours.ratio(series, recall).map_or_else(String::new, |(m, q)| format!("{m:.2} ({q:.2})"))
            };
            let _ = writeln!(out, "| {} |{}", series.name, cells(&RECALLS.map(ratio)));
        }
    }
    out.push_str("\n## Building, two threads\n\n| Library | What | Rows/s |\n|---|---|---|\n");
    for build in results.builds {
        let rows = u32::try_from(data.rows).map_or(f64::NAN, f64::from);
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            build.name,
            build.what,
            number(rows / median(build.seconds.iter().copied()))
        );
    }
    for note in results.notes {
        let _ = writeln!(out, "\n{note}");
    }
    if !results.rules.is_empty() {
        let _ = writeln!(out, "\n## Bounds\n\n```text\n{}```", results.rules);
    }
    out
}

fn cells<const N: usize>(values: &[String; N]) -> String {
    values.iter().fold(String::new(), |out, value| out + " " + value + " |")
}

fn speed(series: &Series, recall: f64) -> String {
    let speeds = series.speeds_at(recall);
    if speeds.is_empty() {
        return "not reached".into();
    }
    format!("{} ({})", number(median(speeds.iter().copied())), number(percentile(speeds, 0.25)))
}
