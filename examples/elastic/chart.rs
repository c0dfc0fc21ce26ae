//! The drawing: what each node handles over time, and below it latency, and what is moved.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use quorate::NodeId;

use super::clients::Load;
use super::script::{GLANCE, Phase, Run};
use super::svg::{Panel, Sheet, round_up};
use super::{grouped, load_of, percentile};

/// Rates and percentiles are taken over so many glances.
const GLANCES: usize = 5;
/// Where all panels begin and end, in pixels.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 1_120.0;
const LOAD: Panel = Panel { top: 130.0, bottom: 420.0 };
const LATENCY: Panel = Panel { top: 466.0, bottom: 596.0 };
const MOVED: Panel = Panel { top: 642.0, bottom: 732.0 };

const MEDIAN: &str = "#2166ac";
const TAIL: &str = "#b2182b";
const BYTES: &str = "#444";
/// Those that came together have shades of one colour.
const NODES: [&str; 10] =
    ["#4a7fb5", "#6b9ac8", "#93b8da", "#3f8f5d", "#66ab7d", "#97c9a6", "#d0772a", "#e29a5a", "#f0bf92", "#8a63ad"];

struct Chart<'a> {
    run: &'a Run,
    ends: Duration,
    sheet: Sheet,
}

pub(crate) fn draw(load: &Load, run: &Run) -> String {
    let ends = run.phases.last().map_or(GLANCE, |phase| phase.to);
    let mut chart = Chart { run, ends, sheet: Sheet::open(1_160, 790, LEFT, RIGHT, ends) };
    chart.open(load);
    chart.shades();
    chart.load();
    chart.phases();
    chart.latencies();
    chart.moved();
    chart.marks();
    chart.seconds();
    chart.sheet.close()
}

impl Chart<'_> {
    fn open(&mut self, load: &Load) {
        let title = "A cluster grows from three nodes to nine and shrinks to four, under load";
        self.sheet.text(LEFT, 28.0, "start", "font-size=\"18\" font-weight=\"bold\"", title);
        let below = format!(
            "N = 3, R = W = 2, strict; {} keys, {} reads and as many writes a second; simulated, each half second",
            grouped(load.keys),
            grouped(load.rate)
        );
        self.sheet.text(LEFT, 46.0, "start", "fill=\"#555\"", &below);
        let numbers = "below the number of nodes: what the busiest of them handled a second";
        self.sheet.text(LEFT, 61.0, "start", "fill=\"#555\"", numbers);
    }

    /// While the layout changes.
    fn shades(&mut self) {
        for phase in self.run.phases.iter().filter(|phase| phase.change.is_some()) {
            self.sheet.shade(phase.from, phase.to, 2.0, &[LOAD, LATENCY, MOVED], "#e6e6e6");
        }
    }

    /// One band for each node.
    fn load(&mut self) {
        let windows: Vec<_> = self.run.glances.iter().step_by(GLANCES).collect();
        let rates: Vec<(Duration, BTreeMap<NodeId, f64>)> = windows
            .windows(2)
            .map(|pair| {
                let time = pair[1].at.saturating_sub(pair[0].at);
                let seconds = time.as_secs_f64().max(1e-9);
                let before = |node: &NodeId| pair[0].handled.get(node).copied().unwrap_or(0);
                let rate = |(node, all): (&NodeId, &u64)| (*node, (all - before(node)) as f64 / seconds);
                (pair[0].at + time / 2, pair[1].handled.iter().map(rate).collect())
            })
            .collect();
        let all = |rates: &BTreeMap<NodeId, f64>| rates.values().sum::<f64>();
        let rests = self.run.phases.iter().filter(|phase| phase.change.is_none());
        let mean = |phase: &Phase| phase.handled.values().sum::<u64>() as f64 / phase.seconds();
        // What a change takes at its peak is said in words, or else the rest would be too flat to be seen.
        let top = round_up(rests.map(mean).fold(0.0, f64::max) * 1.6);
        let nodes: Vec<NodeId> = rates.last().map(|(_, rates)| rates.keys().copied().collect()).unwrap_or_default();
        let up_to =
            |rates: &BTreeMap<NodeId, f64>, node: NodeId| rates.range(..=node).map(|(_, rate)| rate).sum::<f64>();
        for (at, &node) in nodes.iter().enumerate() {
            let upper = rates.iter().map(|(time, rates)| (*time, up_to(rates, node)));
            let lower = rates.iter().rev().map(|(time, rates)| {
                let own = rates.get(&node).copied().unwrap_or(0.0);
                (*time, up_to(rates, node) - own)
            });
            let points: Vec<_> =
                upper.chain(lower).map(|(time, rate)| (self.sheet.x(time), LOAD.y((rate / top).min(1.0)))).collect();
            self.sheet.out.push_str("<polygon points=\"");
            for (x, y) in points {
                let _ = write!(self.sheet.out, "{x:.1},{y:.1} ");
            }
            let colour = NODES[at % NODES.len()];
            let _ = writeln!(self.sheet.out, "\" fill=\"{colour}\" stroke=\"white\" stroke-width=\"0.8\"/>");
        }
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            self.sheet.grid(LOAD.y(share), &grouped((top * share) as u64));
        }
        self.sheet.upright(24.0, &LOAD, "#333", "messages and requests handled a second");
        for peak in rates.chunk_by(|(_, a), (_, b)| (all(a) > top) == (all(b) > top)) {
            let most = peak.iter().map(|(_, rates)| all(rates)).fold(0.0, f64::max);
            if let (true, Some((at, _))) = (most > top, peak.last()) {
                let text = format!("peak {}", grouped(most as u64));
                self.sheet.text(
                    self.sheet.x(*at) + 6.0,
                    LOAD.top + 46.0,
                    "start",
                    "font-size=\"10\" fill=\"#333\"",
                    &text,
                );
            }
        }
        self.names(&nodes, top);
    }

    /// Each band is named wherever nothing changes and there is room.
    fn names(&mut self, nodes: &[NodeId], top: f64) {
        for phase in self.run.phases.iter().filter(|phase| phase.change.is_none()) {
            let x = f64::midpoint(self.sheet.x(phase.from), self.sheet.x(phase.to));
            if self.sheet.x(phase.to) - self.sheet.x(phase.from) < 24.0 {
                continue;
            }
            let seconds = phase.seconds();
            let mut below = 0.0;
            for node in nodes {
                let rate = phase.handled.get(node).copied().unwrap_or(0) as f64 / seconds;
                let (low, high) = (LOAD.y(below / top), LOAD.y((below + rate) / top));
                below += rate;
                if low - high > 11.0 {
                    let y = f64::midpoint(low, high) + 4.0;
                    self.sheet.text(x, y, "middle", "font-size=\"11\" fill=\"#111\"", &node.to_string());
                }
            }
        }
    }

    fn phases(&mut self) {
        let run = self.run;
        let mut row = 0;
        for phase in &run.phases {
            let middle = f64::midpoint(self.sheet.x(phase.from), self.sheet.x(phase.to));
            if phase.change.is_none() {
                if self.sheet.x(phase.to) - self.sheet.x(phase.from) > 42.0 {
                    let most = grouped(load_of(phase).0 as u64);
                    self.sheet.text(
                        middle,
                        LOAD.top + 14.0,
                        "middle",
                        "font-weight=\"bold\" fill=\"#333\"",
                        &phase.name,
                    );
                    self.sheet.text(middle, LOAD.top + 28.0, "middle", "font-size=\"11\" fill=\"#333\"", &most);
                }
                continue;
            }
            // In two rows: changes may be shorter than their names.
            row = 1 - row;
            let y = if row == 1 { 84.0 } else { 104.0 };
            self.sheet.text(middle, y, "middle", "fill=\"#333\"", &phase.name);
            let _ = writeln!(
                self.sheet.out,
                "<line x1=\"{middle:.1}\" y1=\"{}\" x2=\"{middle:.1}\" y2=\"{}\" stroke=\"#999\" stroke-width=\"0.8\"/>",
                y + 4.0,
                LOAD.top
            );
        }
    }

    fn latencies(&mut self) {
        let window = GLANCE * GLANCES as u32;
        let (run, ends) = (self.run, self.ends);
        let series = |percent| {
            let windows = (0..).map(|at| window * at).take_while(|from| *from < ends);
            let at = |from| Some((from + window / 2, percentile(run, from, from + window, percent)?));
            windows.filter_map(at).map(|(at, latency)| (at, latency.as_secs_f64() * 1e3)).collect::<Vec<_>>()
        };
        let lines = [(series(99), TAIL), (series(50), MEDIAN)];
        let most = lines[0].0.iter().map(|(_, value)| *value).fold(100.0, f64::max);
        let to = 10_f64.powf(most.log10().ceil());
        let y = |value: f64| LATENCY.y(value.max(1.0).ln() / to.ln());
        for step in (0..6).map(|tens| 10_f64.powi(tens)).filter(|step| *step <= to) {
            self.sheet.grid(y(step), &format!("{step} ms"));
        }
        self.sheet.upright(24.0, &LATENCY, "#333", "latency");
        for (points, colour) in &lines {
            self.sheet.line(points, y, colour, "1.6");
        }
        for (at, _) in &run.seen.errors {
            if *at < ends {
                let x = self.sheet.x(*at);
                let (from, to) = (LATENCY.top, LATENCY.top + 8.0);
                let _ = writeln!(
                    self.sheet.out,
                    "<line x1=\"{x:.1}\" y1=\"{from}\" x2=\"{x:.1}\" y2=\"{to}\" stroke=\"red\"/>"
                );
            }
        }
        let y = LATENCY.top - 8.0;
        self.sheet.key(LEFT, y, TAIL, "99th percentile of all requests");
        self.sheet.key(LEFT + 230.0, y, MEDIAN, "median");
        let errors = format!("errors, as ticks at the top: {}", run.seen.errors.len());
        self.sheet.text(RIGHT, y + 4.0, "end", "fill=\"#333\"", &errors);
    }

    fn moved(&mut self) {
        let windows: Vec<_> = self.run.glances.iter().step_by(GLANCES).collect();
        let points: Vec<(Duration, f64)> = windows
            .windows(2)
            .map(|pair| {
                let (time, bytes) = (pair[1].at.saturating_sub(pair[0].at), pair[1].moved - pair[0].moved);
                (pair[0].at + time / 2, bytes as f64 / 1024.0 / time.as_secs_f64().max(1e-9))
            })
            .collect();
        let top = round_up(points.iter().map(|(_, value)| *value).fold(1.0, f64::max) * 1.15);
        for half in 0..=2 {
            let share = f64::from(half) / 2.0;
            self.sheet.grid(MOVED.y(share), &grouped((top * share) as u64));
        }
        self.sheet.upright(24.0, &MOVED, "#333", "KiB a second");
        self.sheet.line(&points, |value| MOVED.y(value / top), BYTES, "1.6");
        let name = "moved and repaired: exchanges between owners, hints, repairs after reads, agreement on changes";
        self.sheet.key(LEFT, MOVED.top - 8.0, BYTES, name);
    }

    /// Where a node went and came back.
    fn marks(&mut self) {
        for (at, name) in &self.run.marks {
            let x = self.sheet.x(*at);
            let _ = writeln!(
                self.sheet.out,
                "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"{TAIL}\" stroke-dasharray=\"4 3\"/>",
                LOAD.top + 34.0,
                MOVED.bottom
            );
            let style = format!("fill=\"{TAIL}\" font-size=\"11\" transform=\"rotate(-90 {:.1} 172)\"", x - 4.0);
            self.sheet.text(x - 4.0, 172.0, "end", &style, name);
        }
    }

    fn seconds(&mut self) {
        let every = if self.ends > Duration::from_secs(60) { 10 } else { 5 };
        for second in (0..=self.ends.as_secs()).step_by(every) {
            let x = self.sheet.x(Duration::from_secs(second));
            self.sheet.text(x, MOVED.bottom + 18.0, "middle", "fill=\"#333\"", &second.to_string());
        }
        let below = "seconds; shaded: from the proposal of a change until every owner has all that it owns";
        self.sheet.text(f64::midpoint(LEFT, RIGHT), 774.0, "middle", "fill=\"#333\"", below);
    }
}
