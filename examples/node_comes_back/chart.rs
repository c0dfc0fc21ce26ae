//! The drawing: latency over time, and below it what is owed.

use std::fmt::Write;
use std::time::Duration;

use super::load::{AWAY, Glance, Plan, Run};
use super::{grouped, percentile};

/// Percentiles are taken over so long.
const WINDOW: Duration = Duration::from_millis(500);
/// Where both panels begin and end, in pixels.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 890.0;
const LATENCY: Panel = Panel { top: 120.0, bottom: 370.0 };
const OWED: Panel = Panel { top: 420.0, bottom: 590.0 };

const MEDIAN: &str = "#2166ac";
const TAIL: &str = "#b2182b";
const HINTS: &str = "#1b7837";
const PAIRS: &str = "#762a83";

struct Panel {
    top: f64,
    bottom: f64,
}

struct Chart<'a> {
    plan: &'a Plan,
    out: String,
}

pub(crate) fn draw(plan: &Plan, run: &Run) -> String {
    let mut chart = Chart { plan, out: String::new() };
    chart.open();
    chart.shades(run);
    chart.latencies(run);
    chart.owed(run);
    chart.seconds();
    chart.legend();
    chart.out.push_str("</svg>\n");
    chart.out
}

impl Chart<'_> {
    fn open(&mut self) {
        let Plan { rate, goes, returns, .. } = self.plan;
        self.out.push_str(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 970 650\" width=\"970\" height=\"650\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
             <rect width=\"970\" height=\"650\" fill=\"white\"/>\n",
        );
        let title =
            format!("A node is away for {} s and comes back, under load", returns.saturating_sub(*goes).as_secs());
        self.text(LEFT, 28.0, "start", "font-size=\"18\" font-weight=\"bold\"", &title);
        let below = format!(
            "Five nodes, N = 3, R = W = 2, {} reads and as many writes a second; simulated, percentiles of each half \
             second",
            grouped(*rate)
        );
        self.text(LEFT, 47.0, "start", "fill=\"#555\"", &below);
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (RIGHT - LEFT) * at.as_secs_f64() / self.plan.ends.as_secs_f64()
    }

    /// When the node was away, and until when it caught up.
    fn shades(&mut self, run: &Run) {
        let (goes, returns, ends) = (self.plan.goes, self.plan.returns, self.plan.ends);
        let home = run.hints_home.unwrap_or(ends);
        let confirmed = run.confirmed.unwrap_or(ends);
        let shades = [(goes, returns, "#dddddd"), (returns, home, "#fdd49e"), (home, confirmed, "#fff3dc")];
        for (from, to, fill) in shades {
            let (x, width) = (self.x(from), self.x(to) - self.x(from));
            for Panel { top, bottom } in [LATENCY, OWED] {
                let height = bottom - top;
                let _ = writeln!(
                    self.out,
                    "<rect x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>"
                );
            }
        }
        let away = f64::midpoint(self.x(goes), self.x(returns));
        self.text(away, 135.0, "middle", "fill=\"#555\"", &format!("{AWAY} is away"));
        // Above the panel, and away from where they meet: the shades may be too narrow for their words.
        self.text(self.x(home) - 4.0, 113.0, "end", "fill=\"#a05a00\"", "hints go home");
        self.text(self.x(home) + 4.0, 113.0, "start", "fill=\"#a05a00\"", "owners compare");
    }

    fn latencies(&mut self, run: &Run) {
        let series = |percent| {
            let windows = (0..).map(|at| WINDOW * at).take_while(|from| *from < self.plan.ends);
            let at = |from| Some((from + WINDOW / 2, percentile(run, from, from + WINDOW, percent)?));
            windows.filter_map(at).map(|(at, latency)| (at, latency.as_secs_f64() * 1e3)).collect::<Vec<_>>()
        };
        let lines = [(series(99), TAIL), (series(50), MEDIAN)];
        let values = lines.iter().flat_map(|(points, _)| points.iter().map(|(_, value)| *value));
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        let steps: Vec<f64> = (0..6).flat_map(|tens| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(tens))).collect();
        let from = steps.iter().rev().copied().find(|step| *step <= least).unwrap_or(1.0);
        let to = steps.iter().copied().find(|step| *step >= most).unwrap_or(most);
        let y = |value: f64| LATENCY.y((value.max(from) / from).ln() / (to / from).ln());
        for &step in steps.iter().filter(|step| (from..=to).contains(*step)) {
            self.grid(y(step), &format!("{step} ms"));
        }
        self.upright(24.0, &LATENCY, "#333", "latency (logarithmic)");
        for (points, colour) in &lines {
            self.line(points, y, colour, "2");
        }
    }

    fn owed(&mut self, run: &Run) {
        let series =
            |of: fn(&Glance) -> f64| run.glances.iter().map(|glance| (glance.at, of(glance))).collect::<Vec<_>>();
        let hints = series(|glance| glance.hints as f64);
        let pairs = series(|glance| glance.unconfirmed as f64);
        let most = |points: &[(Duration, f64)]| points.iter().fold(1.0, |most: f64, (_, value)| most.max(*value));
        let top = round_up(most(&hints));
        let top_of_pairs = round_up(most(&pairs));
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            let y = OWED.y(share);
            self.grid(y, &grouped((top * share) as u64));
            let style = format!("fill=\"{PAIRS}\"");
            self.text(RIGHT + 8.0, y + 4.0, "start", &style, &grouped((top_of_pairs * share) as u64));
        }
        self.upright(24.0, &OWED, HINTS, "hints owed");
        self.upright(955.0, &OWED, PAIRS, "pairs not found equal");
        self.line(&pairs, |value| OWED.y(value / top_of_pairs), PAIRS, "1.5");
        self.line(&hints, |value| OWED.y(value / top), HINTS, "2");
    }

    fn seconds(&mut self) {
        let every = if self.plan.ends > Duration::from_secs(30) { 10 } else { 2 };
        for second in (0..=self.plan.ends.as_secs()).step_by(every) {
            let x = self.x(Duration::from_secs(second));
            self.text(x, OWED.bottom + 18.0, "middle", "fill=\"#333\"", &second.to_string());
        }
        self.text(f64::midpoint(LEFT, RIGHT), 632.0, "middle", "fill=\"#333\"", "seconds");
    }

    fn legend(&mut self) {
        self.keys(72.0, &[(TAIL, "99th percentile"), (MEDIAN, "median")]);
        let below =
            [(HINTS, "hints kept for the node"), (PAIRS, "its partitions not found equal at another owner (right)")];
        self.keys(402.0, &below);
    }

    fn keys(&mut self, y: f64, keys: &[(&str, &str)]) {
        let mut x = LEFT;
        for (colour, name) in keys {
            let to = x + 26.0;
            let _ = writeln!(
                self.out,
                "<line x1=\"{x:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
            self.text(x + 32.0, y + 4.0, "start", "fill=\"#333\"", name);
            x += 56.0 + name.len() as f64 * 6.0;
        }
    }

    /// A horizontal line, and its name at the left.
    fn grid(&mut self, y: f64, name: &str) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#888\" stroke-width=\"0.5\" stroke-opacity=\"0.4\"/>"
        );
        self.text(LEFT - 8.0, y + 4.0, "end", "fill=\"#333\"", name);
    }

    /// What an axis shows, along it.
    fn upright(&mut self, x: f64, panel: &Panel, colour: &str, name: &str) {
        let y = f64::midpoint(panel.top, panel.bottom);
        self.text(x, y, "middle", &format!("fill=\"{colour}\" transform=\"rotate(-90 {x} {y})\""), name);
    }

    fn line(&mut self, points: &[(Duration, f64)], y: impl Fn(f64) -> f64, colour: &str, width: &str) {
        self.out.push_str("<polyline points=\"");
        for &(at, value) in points {
            let x = self.x(at);
            let _ = write!(self.out, "{x:.1},{:.1} ", y(value));
        }
        let _ = writeln!(self.out, "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>");
    }
}

impl Panel {
    /// Where a share of the height is.
    fn y(&self, share: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * share
    }
}

/// To a number whose quarters are whole.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(40.0).log10().floor()) / 2.5;
    (value / unit).ceil() * unit
}
