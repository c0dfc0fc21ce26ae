//! The drawing: latency over time, and below it what is owed.

use std::time::Duration;

use super::load::{AWAY, Glance, Plan, Run};
use super::svg::{Panel, Sheet, round_up};
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

struct Chart<'a> {
    plan: &'a Plan,
    sheet: Sheet,
}

pub(crate) fn draw(plan: &Plan, run: &Run) -> String {
    let mut chart = Chart { plan, sheet: Sheet::open(970, 650, LEFT, RIGHT, plan.ends) };
    chart.open();
    chart.shades(run);
    chart.latencies(run);
    chart.owed(run);
    chart.seconds();
    chart.legend();
    chart.sheet.close()
}

impl Chart<'_> {
    fn open(&mut self) {
        let Plan { rate, goes, returns, .. } = self.plan;
        let title =
            format!("A node is away for {} s and comes back, under load", returns.saturating_sub(*goes).as_secs());
        self.sheet.text(LEFT, 28.0, "start", "font-size=\"18\" font-weight=\"bold\"", &title);
        let below = format!(
            "Five nodes, N = 3, R = W = 2, {} reads and as many writes a second; simulated, percentiles of each half \
             second",
            grouped(*rate)
        );
        self.sheet.text(LEFT, 47.0, "start", "fill=\"#555\"", &below);
    }

    /// When the node was away, and until when it caught up.
    fn shades(&mut self, run: &Run) {
        let (goes, returns, ends) = (self.plan.goes, self.plan.returns, self.plan.ends);
        let home = run.hints_home.unwrap_or(ends);
        let confirmed = run.confirmed.unwrap_or(ends);
        let shades = [(goes, returns, "#dddddd"), (returns, home, "#fdd49e"), (home, confirmed, "#fff3dc")];
        for (from, to, fill) in shades {
            self.sheet.shade(from, to, 0.0, &[LATENCY, OWED], fill);
        }
        let away = f64::midpoint(self.sheet.x(goes), self.sheet.x(returns));
        self.sheet.text(away, 135.0, "middle", "fill=\"#555\"", &format!("{AWAY} is away"));
        // Above the panel, and away from where they meet: the shades may be too narrow for their words.
        self.sheet.text(self.sheet.x(home) - 4.0, 113.0, "end", "fill=\"#a05a00\"", "hints go home");
        self.sheet.text(self.sheet.x(home) + 4.0, 113.0, "start", "fill=\"#a05a00\"", "owners compare");
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
            self.sheet.grid(y(step), &format!("{step} ms"));
        }
        self.sheet.upright(24.0, &LATENCY, "#333", "latency (logarithmic)");
        for (points, colour) in &lines {
            self.sheet.line(points, y, colour, "2");
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
            self.sheet.grid(y, &grouped((top * share) as u64));
            let style = format!("fill=\"{PAIRS}\"");
            self.sheet.text(RIGHT + 8.0, y + 4.0, "start", &style, &grouped((top_of_pairs * share) as u64));
        }
        self.sheet.upright(24.0, &OWED, HINTS, "hints owed");
        self.sheet.upright(955.0, &OWED, PAIRS, "pairs not found equal");
        self.sheet.line(&pairs, |value| OWED.y(value / top_of_pairs), PAIRS, "1.5");
        self.sheet.line(&hints, |value| OWED.y(value / top), HINTS, "2");
    }

    fn seconds(&mut self) {
        let every = if self.plan.ends > Duration::from_secs(30) { 10 } else { 2 };
        for second in (0..=self.plan.ends.as_secs()).step_by(every) {
            let x = self.sheet.x(Duration::from_secs(second));
            self.sheet.text(x, OWED.bottom + 18.0, "middle", "fill=\"#333\"", &second.to_string());
        }
        self.sheet.text(f64::midpoint(LEFT, RIGHT), 632.0, "middle", "fill=\"#333\"", "seconds");
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
            self.sheet.key(x, y, colour, name);
            x += 56.0 + name.len() as f64 * 6.0;
        }
    }
}
