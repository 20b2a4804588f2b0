//! Draws recall and speed as an SVG picture.

use std::fmt::Write as _;

use crate::series::Series;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 520.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 62.0;
/// The left edges of the two panels, and how wide they are.
const LEFT: [f64; 2] = [72.0, 572.0];
const PANEL: f64 = 300.0;
/// The recalls at the left and right edges.
const RECALLS: [f64; 2] = [0.90, 1.0];
/// Told apart by people who see few colours, too; the first is ours.
const COLOURS: [&str; 8] =
    ["#d1495b", "#1f4e79", "#2a9d8f", "#7fb069", "#8d6a9f", "#e09f3e", "#5c6b73", "#3a86ff"];
/// Names of libraries stand at least so far from each other.
const NAME_HEIGHT: f64 = 15.0;

/// The picture: at the left ids and scores, at the right with documents.
pub(crate) fn svg(title: &str, subtitle: &str, all: &[Series]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for series in all {
        if !names.contains(&series.name.as_str()) {
            names.push(&series.name);
        }
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"30\" font-size=\"18\" font-weight=\"bold\">{}</text>\n\
         <text x=\"{}\" y=\"50\" fill=\"#666\">{}</text>",
        LEFT[0],
        escaped(title),
        LEFT[0],
        escaped(subtitle)
    );
    for (left, mode, name) in
        [(LEFT[0], "ids", "ids and scores"), (LEFT[1], "documents", "with texts and metadata")]
    {
        let of_mode: Vec<(&Series, &str)> = all
            .iter()
            .filter(|series| series.mode == mode && !series.points.is_empty())
            .map(|series| (series, colour(&names, &series.name)))
            .collect();
        Panel::new(left, &of_mode).draw(&mut out, name, &of_mode);
    }
    out.push_str("</svg>\n");
    out
}

fn colour(names: &[&str], name: &str) -> &'static str {
    let place = names.iter().position(|known| *known == name).unwrap_or(0);
    COLOURS[place % COLOURS.len()]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One diagram, with a logarithmic scale of speeds.
struct Panel {
    left: f64,
    /// Logarithms of the least and the greatest speed.
    low: f64,
    high: f64,
}

impl Panel {
    fn new(left: f64, all: &[(&Series, &str)]) -> Self {
        let speeds = || {
            let points = all.iter().flat_map(|(series, _)| series.frontier());
            points.filter(|point| point.0 >= RECALLS[0]).map(|point| point.1.log10())
        };
        let (low, high) = (speeds().fold(f64::INFINITY, f64::min), speeds().fold(0.0, f64::max));
        // Whole steps of the scale, so that the lines end on one.
        let low = if low.is_finite() { (low * 4.0).floor() / 4.0 } else { 2.0 };
        Panel { left, low, high: ((high * 4.0).ceil() / 4.0).max(low + 0.5) }
    }

    fn x(&self, recall: f64) -> f64 {
        self.left + PANEL * (recall - RECALLS[0]) / (RECALLS[1] - RECALLS[0])
    }

    fn y(&self, speed: f64) -> f64 {
        let part = (speed.log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    }

    fn draw(&self, out: &mut String, name: &str, all: &[(&Series, &str)]) {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{name}</text>",
            self.left,
            TOP - 14.0
        );
        self.grid(out);
        let mut ends = Vec::new();
        for (series, colour) in all {
            let points: Vec<(f64, f64)> =
                series.frontier().into_iter().filter(|point| point.0 >= RECALLS[0]).collect();
            let place = |point: &(f64, f64)| (self.x(point.0), self.y(point.1));
            let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let width = if series.name == "vdb" { 3.0 } else { 1.8 };
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\"/>",
                line.join(" ")
            );
            for (x, y) in points.iter().map(place) {
                let _ =
                    writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{width}\" fill=\"{colour}\"/>");
            }
            if let Some(last) = points.last().map(place) {
                ends.push((last, series.name.as_str(), *colour));
            }
        }
        self.names(out, ends);
    }

    fn grid(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, self.left + PANEL);
        for step in 0..=5_u8 {
            let recall = RECALLS[0] + f64::from(step) * (RECALLS[1] - RECALLS[0]) / 5.0;
            let x = self.x(recall);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e6e6e6\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{recall:.2}</text>",
                bottom + 18.0
            );
        }
        for (speed, label) in (1..=6)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|part| part * 10_f64.powi(power)))
            .map(|s| (s, number(s)))
        {
            if (self.low - 1e-9..=self.high + 1e-9).contains(&speed.log10()) {
                let y = self.y(speed);
                let _ = writeln!(
                    out,
                    "<line x1=\"{}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e6e6e6\"/>\
                     <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                    self.left,
                    self.left - 8.0,
                    y + 4.0
                );
            }
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">recall at 10</text>\
             <text transform=\"translate({:.1} {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#666\">queries a second</text>",
            self.left + PANEL / 2.0,
            bottom + 40.0,
            self.left - 54.0,
            f64::midpoint(TOP, bottom)
        );
    }

    /// Writes the names beside the ends of the lines, none over another.
    fn names(&self, out: &mut String, mut ends: Vec<((f64, f64), &str, &str)>) {
        ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let mut free = TOP;
        let count = u32::try_from(ends.len()).unwrap_or(0);
        for (n, ((x, y), name, colour)) in (0_u32..).zip(ends) {
            // Those below need room, too.
            let most = HEIGHT - BOTTOM - NAME_HEIGHT * f64::from(count - n - 1);
            let at = y.max(free).min(most);
            free = at + NAME_HEIGHT;
            let right = self.left + PANEL + 14.0;
            let _ = writeln!(
                out,
                "<path d=\"M {x:.1} {y:.1} L {:.1} {at:.1} H {:.1}\" stroke=\"{colour}\" stroke-width=\"0.7\" fill=\"none\" opacity=\"0.6\"/>\
                 <text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\"{}>{}</text>",
                right - 6.0,
                right - 2.0,
                right + 2.0,
                at + 4.0,
                if name == "vdb" { " font-weight=\"bold\"" } else { "" },
                escaped(name)
            );
        }
    }
}

/// A number with commas.
pub(crate) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
