//! Charts: lines and marks over two axes, each with its unit.

use std::fmt::Write;

const LEFT: f64 = 74.0;
const TOP: f64 = 44.0;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 300.0;
/// Room right of the chart, for what its colours stand for.
const KEY: f64 = 210.0;
/// Told apart by those who see no red or green, too.
pub(crate) const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#00805a", "#6a3d9a", "#c08a00", "#555555"];

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Horizontal lines that mean something, with what they mean.
    pub(crate) limits: Vec<(f64, &'static str)>,
}

pub(crate) struct Axis {
    /// With its unit.
    pub(crate) name: &'static str,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) scale: Axes,
    /// Where it is marked, and with what.
    pub(crate) ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axes {
    Even,
    /// By powers.
    Powers,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Line,
    Dashes,
    /// Hollow marks: what was published.
    Published,
    /// Full marks.
    Marks,
}

impl Axis {
    /// From `from` to `to`, marked at each multiple of `step`.
    pub(crate) fn even(name: &'static str, from: f64, to: f64, step: f64) -> Self {
        let first = (from / step).ceil() as i64;
        let last = (to / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|number| number as f64 * step).map(|at| (at, short(at))).collect();
        Self { name, from, to, scale: Axes::Even, ticks }
    }

    /// From `from` to `to`, by powers; marked at 1, 2 and 5 times each power of ten, or if that is too many at the
    /// powers alone, or at every second one.
    pub(crate) fn powers(name: &'static str, from: f64, to: f64) -> Self {
        let decades = (to / from).log10();
        let times: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let (first, last) = (from.log10().floor() as i32, to.log10().ceil() as i32);
        let every = if decades > 7.0 { 2 } else { 1 };
        let all = (first..=last)
            .filter(|power| power % every == 0)
            .flat_map(|power| times.iter().map(move |times| times * 10_f64.powi(power)));
        let within = all.filter(|at| (from * 0.999..=to * 1.001).contains(at));
        Self { name, from, to, scale: Axes::Powers, ticks: within.map(|at| (at, short(at))).collect() }
    }

    /// Which share of the axis lies before a value.
    fn share(&self, value: f64) -> f64 {
        let value = value.clamp(self.from.min(self.to), self.to.max(self.from));
        match self.scale {
            Axes::Even => (value - self.from) / (self.to - self.from),
            Axes::Powers => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }
}

fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.0e}");
    }
    let digits = if value == 0.0 { 0 } else { (-value.abs().log10().floor()).clamp(0.0, 9.0) as usize };
    let text = format!("{value:.*}", digits + 1);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Series {
    pub(crate) fn new(name: impl Into<String>, colour: &'static str, style: Style, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, style, points }
    }
}

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let (width, height) = (LEFT + WIDTH + KEY, TOP + HEIGHT + 58.0);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            self.title
        );
        self.axes(&mut out);
        for (value, _) in &self.limits {
            let y = self.y(*value);
            let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#b00020\" stroke-dasharray=\"2 3\"/>");
        }
        for (number, series) in self.series.iter().enumerate() {
            self.draw(&mut out, series);
            key(&mut out, number, series);
        }
        self.limits.iter().for_each(|(value, name)| self.limit(&mut out, *value, name));
        out.push_str("</svg>\n");
        out
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + WIDTH * self.x.share(value)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - self.y.share(value))
    }

    /// What a horizontal line means: at that end of it where less is in the way.
    fn limit(&self, out: &mut String, value: f64, name: &str) {
        let y = self.y(value);
        let near = |end: f64| {
            let points = self.series.iter().flat_map(|series| &series.points);
            points.filter(|point| (self.x(point.0) - end).abs() < 180.0 && (self.y(point.1) - y).abs() < 24.0).count()
        };
        let (left, right) = (LEFT + 6.0, LEFT + WIDTH - 4.0);
        let (x, anchor) = if near(left) < near(right) { (left, "start") } else { (right, "end") };
        let halo = "stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\"";
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#b00020\" text-anchor=\"{anchor}\" {halo}>{name}</text>",
            y - 4.0
        );
    }

    fn axes(&self, out: &mut String) {
        let bottom = TOP + HEIGHT;
        for (value, name) in &self.y.ticks {
            let y = self.y(*value);
            let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#e3e3e3\"/>");
            let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0, y + 4.0);
        }
        for (value, name) in &self.x.ticks {
            let x = self.x(*value);
            let _ = writeln!(out, "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#888\"/>");
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", bottom + 20.0);
        }
        let _ = writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}h{WIDTH}\" fill=\"none\" stroke=\"#888\"/>");
        let (middle, centre) = (LEFT + WIDTH / 2.0, TOP + HEIGHT / 2.0);
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">{}</text>",
            bottom + 44.0,
            self.x.name
        );
        let _ = writeln!(
            out,
            "<text x=\"20\" y=\"{centre}\" text-anchor=\"middle\" fill=\"#444\" transform=\"rotate(-90 20 {centre})\">{}</text>",
            self.y.name
        );
    }

    fn draw(&self, out: &mut String, series: &Series) {
        let points = series.points.iter().map(|&(x, y)| (self.x(x), self.y(y)));
        match series.style {
            Style::Line | Style::Dashes => {
                let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let _ = writeln!(
                    out,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
                    points.join(" "),
                    series.colour,
                    dashes(series.style)
                );
            }
            Style::Published | Style::Marks => points.for_each(|(x, y)| mark(out, x, y, series)),
        }
    }
}

fn dashes(style: Style) -> &'static str {
    if style == Style::Dashes { "6 4" } else { "none" }
}

fn mark(out: &mut String, x: f64, y: f64, series: &Series) {
    let fill = if series.style == Style::Published { "#fff" } else { series.colour };
    let _ = writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\" stroke=\"{}\" stroke-width=\"1.5\"/>",
        series.colour
    );
}

/// What a series is, right of the chart.
fn key(out: &mut String, number: usize, series: &Series) {
    let (x, y) = (LEFT + WIDTH + 16.0, TOP + 10.0 + 20.0 * number as f64);
    match series.style {
        Style::Line | Style::Dashes => {
            let _ = writeln!(
                out,
                "<path d=\"M{x} {y}h24\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
                series.colour,
                dashes(series.style)
            );
        }
        Style::Published | Style::Marks => mark(out, x + 12.0, y, series),
    }
    let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 30.0, y + 4.0, series.name);
}
