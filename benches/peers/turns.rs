//! Lets the libraries search in turns.

use serde_json::Value;
use vdb::Store;

use crate::common::{Report, median};
use crate::data::Data;
use crate::peer::{About, Found, Peer, Start};
use crate::series::{self, Point, Series};
use crate::{Fault, ours};

/// Who answers.
enum Source {
    Ours(Store),
    /// And so many queries at a time.
    Theirs(Box<Peer>, usize),
}

/// A library at work.
struct Worker {
    source: Source,
    settings: Vec<Value>,
    /// One for each thing that it is asked for.
    series: Vec<Series>,
    /// Why it is asked no more.
    failed: Option<String>,
}

impl Worker {
    fn new(name: &str, modes: &[&str], settings: Vec<Value>, source: Source) -> Self {
        let series = |mode: &&str| Series { name: name.into(), mode: (*mode).into(), points: Vec::new() };
        Worker { source, settings, series: modes.iter().map(series).collect(), failed: None }
    }

    /// Searches with the setting at a place, for everything that is asked of it.
    fn turn(&mut self, data: &Data, place: usize, round: usize) -> Result<(), Fault> {
        let Some(setting) = self.settings.get(place) else { return Ok(()) };
        for series in &mut self.series {
            let mut search = || -> Result<Found, Fault> {
                match &mut self.source {
                    Source::Ours(store) => ours::search(store, data, setting, &series.mode),
                    Source::Theirs(peer, queries) => peer.search(setting, &series.mode, *queries),
                }
            };
            // Once for the caches, which hold what the library before has read.
            search()?;
            let (seconds, found) = search()?;
            if round == 0 {
                let recall = series::recall(&found, &data.truth);
                series.points.push(Point { setting: setting.to_string(), recall, speeds: Vec::new() });
            }
            if let Some(point) = series.points.get_mut(place) {
                let count = u32::try_from(found.len()).map_or(f64::NAN, f64::from);
                point.speeds.push(count / seconds);
            }
        }
        Ok(())
    }
}

/// Searches with every setting of every library. One that fails is asked no more, and added to `missing`.
pub(crate) fn measure(
    report: &Report,
    start: &Start<'_>,
    data: &Data,
    peers: &[About],
    rounds: usize,
    missing: &mut Vec<(String, String)>,
) -> Result<Vec<Series>, Fault> {
    let store = ours::open(&ours::path(data))?;
    let settings = ours::settings(&store, data)?;
    let mut workers = vec![Worker::new("vdb", &["ids", "documents"], settings, Source::Ours(store))];
    for about in peers {
        match start.serve(&about.name) {
            Ok(peer) => {
                let modes: Vec<&str> = about.modes.iter().map(String::as_str).collect();
                let source = Source::Theirs(Box::new(peer), about.queries);
                workers.push(Worker::new(&about.name, &modes, about.settings.clone(), source));
            }
            Err(reason) => missing.push((about.name.clone(), reason.to_string())),
        }
    }
    let most = workers.iter().map(|worker| worker.settings.len()).max().unwrap_or(0);
    // The rounds are outside, so that a slow minute of the machine is none of one setting.
    for round in 0..rounds {
        for place in 0..most {
            for worker in workers.iter_mut().filter(|worker| worker.failed.is_none()) {
                match (worker.turn(data, place, round), &worker.source) {
                    (Ok(()), _) => {}
                    (Err(fault), Source::Ours(_)) => return Err(fault),
                    (Err(fault), Source::Theirs(..)) => worker.failed = Some(fault.to_string()),
                }
            }
        }
    }
    let mut all = Vec::new();
    for worker in workers {
        match (worker.failed, worker.series.first()) {
            (Some(reason), Some(series)) => missing.push((series.name.clone(), reason)),
            _ => all.extend(worker.series),
        }
    }
    for series in &all {
        for Point { setting, recall, speeds } in &series.points {
            let (name, mode, speed) = (&series.name, &series.mode, median(speeds.iter().copied()));
            report.line(format!(
                "{name:<12} {mode:<10} {setting:>8}: recall {recall:.4}, {speed:>7.0} queries/s"
            ))?;
        }
    }
    Ok(all)
}
