//! Latency beside how soon a write is seen: one point for each setting, one panel for each number of copies.

use std::fmt::Write;
use std::time::Duration;

use quorate::sla::{Advice, Setting};

use super::need::Wanted;
use super::svg::{Panel, Sheet};
use super::table::{ms, percent};

const WIDTH: u32 = 1_160;
const HEIGHT: u32 = 520;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 1_130.0;
const GAP: f64 = 26.0;
const TOP: f64 = 92.0;
/// Where those begin that show each write at once: a line for each R below another.
const AT_ONCE: f64 = 340.0;
const LINE: f64 = 19.0;
/// By R.
const COLOURS: [&str; 5] = ["#0072b2", "#00805a", "#d55e00", "#6a3d9a", "#555555"];

pub(crate) fn draw(wanted: &Wanted, advice: &Advice) -> String {
    let mut sheet = Sheet::open(WIDTH, HEIGHT, LEFT, RIGHT, Duration::from_secs(1));
    let latency = |setting: &Setting| {
        let (read, write) = (setting.prediction.read.value.as_secs_f64(), setting.prediction.write.value.as_secs_f64());
        (wanted.model.reads * read + (1.0 - wanted.model.reads) * write).max(1e-6)
    };
    let copies: Vec<u8> =
        (1..=wanted.copies).filter(|n| advice.settings().iter().any(|it| it.prediction.quorum.n() == *n)).collect();
    let all = || advice.settings().iter().map(latency);
    let (least, most) = (all().fold(f64::MAX, f64::min) / 1.2, all().fold(0.0, f64::max) * 1.2);
    let bottom = AT_ONCE + LINE * f64::from(wanted.copies - 1);
    let width = (RIGHT - LEFT - GAP * (copies.len() - 1) as f64) / copies.len() as f64;
    let waits = || advice.settings().iter().map(wait).filter(|wait| *wait > 0.0);
    let (soonest, latest) = (waits().fold(1.0, f64::min) / 1.5, waits().fold(1e-3, f64::max) * 1.5);
    let scale = |wait: f64| AT_ONCE - 30.0 - (AT_ONCE - 30.0 - TOP) * (wait / soonest).ln() / (latest / soonest).ln();
    let y = |setting: &Setting| match wait(setting) {
        wait if wait > 0.0 => scale(wait),
        _ => AT_ONCE + LINE * f64::from(setting.prediction.quorum.r() - 1),
    };
    head(&mut sheet, wanted);
    for (power, times) in (-6..4).flat_map(|power| [1.0, 2.0, 5.0].map(|times| (power, times))) {
        let wait = times * 10_f64.powi(power);
        if (soonest..latest).contains(&wait) {
            sheet.grid(scale(wait), &ms(Duration::from_secs_f64(wait)).replace(".00", ""));
        }
    }
    sheet.grid(AT_ONCE, "at once");
    let share = wanted.sla.fresh.map_or(wanted.sla.percentile, |fresh| fresh.share);
    let name = format!("until {} % of reads see the write", percent(share));
    sheet.upright(24.0, &Panel { top: TOP, bottom }, "#333", &name);
    for (at, &n) in copies.iter().enumerate() {
        let left = LEFT + at as f64 * (width + GAP);
        let x = |seconds: f64| left + width * (seconds / least).ln() / (most / least).ln();
        sheet.text(left, TOP - 12.0, "start", "font-weight=\"bold\"", &format!("N = {n}"));
        for power in -6..3 {
            let seconds = 10_f64.powi(power);
            if (least..most).contains(&seconds) {
                let name = ms(Duration::from_secs_f64(seconds)).replace(".00", "");
                sheet.text(x(seconds), bottom + 26.0, "middle", "fill=\"#333\" font-size=\"11\"", &name);
            }
        }
        for setting in advice.settings().iter().filter(|setting| setting.prediction.quorum.n() == n) {
            let is_best = advice.best().is_some_and(|best| best.setting == setting);
            point(&mut sheet, setting, is_best, x(latency(setting)), y(setting));
        }
    }
    foot(&mut sheet, wanted, bottom);
    sheet.close()
}

/// How long after its acknowledgement a write is seen by as many reads as must, in seconds.
fn wait(setting: &Setting) -> f64 {
    setting.prediction.fresh_after.value.as_secs_f64()
}

fn head(sheet: &mut Sheet, wanted: &Wanted) {
    let title = "Latency and freshness of every setting of N, R and W";
    sheet.text(LEFT, 28.0, "start", "font-size=\"18\" font-weight=\"bold\"", title);
    let below = format!("predicted for {} nodes like {}", wanted.model.nodes, wanted.name);
    sheet.text(LEFT, 46.0, "start", "fill=\"#555\"", &below);
}

fn foot(sheet: &mut Sheet, wanted: &Wanted, bottom: f64) {
    let below = format!(
        "reads and writes at the {}th percentile, the mean of both by their share ({:.0} % reads)",
        percent(wanted.sla.percentile),
        wanted.model.reads * 100.0
    );
    sheet.text(f64::midpoint(LEFT, RIGHT), bottom + 48.0, "middle", "fill=\"#333\"", &below);
    let y = bottom + 78.0;
    for (at, colour) in COLOURS.iter().enumerate() {
        let x = LEFT + 90.0 * at as f64;
        let _ = writeln!(sheet.out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>");
        sheet.text(x + 10.0, y + 4.0, "start", "fill=\"#333\"", &format!("R = {}", at + 1));
    }
    let key = "the number is W; filled: it meets the need; ringed: the cheapest that does";
    sheet.text(LEFT + 480.0, y + 4.0, "start", "fill=\"#333\"", key);
}

fn point(sheet: &mut Sheet, setting: &Setting, is_best: bool, x: f64, y: f64) {
    let quorum = setting.prediction.quorum;
    let colour = COLOURS[usize::from(quorum.r() - 1).min(COLOURS.len() - 1)];
    let fill = if setting.mode().is_some() { colour } else { "white" };
    if is_best {
        let _ = writeln!(
            sheet.out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"10\" fill=\"none\" stroke=\"#b2182b\" stroke-width=\"2.5\"/>"
        );
    }
    let _ = writeln!(
        sheet.out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
    );
    sheet.text(x, y - 7.0, "middle", &format!("fill=\"{colour}\" font-size=\"9\""), &quorum.w().to_string());
}
