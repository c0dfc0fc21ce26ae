//! Latency beside freshness: one point for each setting, one panel for each number of copies.

use std::fmt::Write;
use std::time::Duration;

use quorate::sla::{Advice, Setting};

use super::need::Wanted;
use super::svg::{Panel, Sheet};
use super::table::{ms, percent};

const WIDTH: u32 = 1_160;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 1_130.0;
const GAP: f64 = 26.0;
const TOP: f64 = 92.0;
const HEIGHT: f64 = 330.0;
/// What is stale less often than this is on the lowest line, together with what never is.
const RAREST: f64 = 1e-5;
/// By R.
const COLOURS: [&str; 5] = ["#0072b2", "#00805a", "#d55e00", "#6a3d9a", "#555555"];

pub(crate) fn draw(wanted: &Wanted, advice: &Advice) -> String {
    let mut sheet = Sheet::open(WIDTH, 520, LEFT, RIGHT, Duration::from_secs(1));
    let latency = |setting: &Setting| {
        let (read, write) = (setting.prediction.read.value.as_secs_f64(), setting.prediction.write.value.as_secs_f64());
        (wanted.model.reads * read + (1.0 - wanted.model.reads) * write).max(1e-6)
    };
    let copies: Vec<u8> =
        (1..=wanted.copies).filter(|n| advice.settings.iter().any(|it| it.prediction.quorum.n() == *n)).collect();
    let all = || advice.settings.iter().map(latency);
    let (least, most) = (all().fold(f64::MAX, f64::min) / 1.2, all().fold(0.0, f64::max) * 1.2);
    let width = (RIGHT - LEFT - GAP * (copies.len() - 1) as f64) / copies.len() as f64;
    let y = |stale: f64| TOP + HEIGHT * (stale.max(RAREST).log10() / RAREST.log10());
    head(&mut sheet, wanted);
    for stale in [1.0, 1e-1, 1e-2, 1e-3, 1e-4] {
        sheet.grid(y(stale), &format!("{} %", stale * 100.0));
    }
    sheet.grid(y(RAREST), "never");
    sheet.upright(24.0, &Panel { top: TOP, bottom: TOP + HEIGHT }, "#333", "reads that miss the last write");
    for (at, &n) in copies.iter().enumerate() {
        let left = LEFT + at as f64 * (width + GAP);
        let x = |seconds: f64| left + width * (seconds / least).ln() / (most / least).ln();
        sheet.text(left, TOP - 12.0, "start", "font-weight=\"bold\"", &format!("N = {n}"));
        for power in -6..3 {
            let seconds = 10_f64.powi(power);
            if (least..most).contains(&seconds) {
                let name = ms(Duration::from_secs_f64(seconds)).replace(".00", "");
                sheet.text(x(seconds), TOP + HEIGHT + 20.0, "middle", "fill=\"#333\" font-size=\"11\"", &name);
            }
        }
        for setting in advice.settings.iter().filter(|setting| setting.prediction.quorum.n() == n) {
            let is_best = advice.best().is_some_and(|best| best.setting == setting);
            point(&mut sheet, setting, is_best, x(latency(setting)), y(1.0 - setting.prediction.fresh.value));
        }
    }
    foot(&mut sheet, wanted);
    sheet.close()
}

fn head(sheet: &mut Sheet, wanted: &Wanted) {
    let title = "Latency and freshness of every setting of N, R and W";
    sheet.text(LEFT, 28.0, "start", "font-size=\"18\" font-weight=\"bold\"", title);
    let after = wanted.sla.fresh.map_or(Duration::ZERO, |fresh| fresh.after);
    let below = format!(
        "predicted for {} nodes like {}; reads begin {} after the write was acknowledged",
        wanted.model.nodes,
        wanted.name,
        ms(after)
    );
    sheet.text(LEFT, 46.0, "start", "fill=\"#555\"", &below);
}

fn foot(sheet: &mut Sheet, wanted: &Wanted) {
    let below = format!(
        "reads and writes at the {}th percentile, the mean of both by their share ({:.0} % reads)",
        percent(wanted.sla.percentile),
        wanted.model.reads * 100.0
    );
    sheet.text(f64::midpoint(LEFT, RIGHT), TOP + HEIGHT + 42.0, "middle", "fill=\"#333\"", &below);
    let y = TOP + HEIGHT + 72.0;
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
    sheet.text(x, y - 9.0, "middle", &format!("fill=\"{colour}\" font-size=\"10\""), &quorum.w().to_string());
}
