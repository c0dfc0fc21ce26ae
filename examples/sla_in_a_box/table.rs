//! All settings, which of them meet the need, and the cheapest.

use std::time::Duration;

use quorate::Mode;
use quorate::sla::{Advice, Availability, Estimate, Obstacle, Offer, Setting, Share};

use super::need::Wanted;

pub(crate) fn print(wanted: &Wanted, advice: &Advice) {
    let (sla, model) = (&wanted.sla, &wanted.model);
    let (after, share) = sla.fresh.map_or((Duration::ZERO, sla.percentile), |fresh| (fresh.after, fresh.share));
    println!(
        "{} nodes like {}, each up {:.3} % of the time; {:.0} % of requests are reads; latencies at the {}th percentile\n",
        model.nodes,
        wanted.name,
        model.up * 100.0,
        model.reads * 100.0,
        percent(sla.percentile)
    );
    println!(
        "{:>9} {:>10} {:>10} {:>11} {:>11} {:>19} {:>19} {:>8}",
        "", "", "", "fresh", "fresh", "fail, strict", "fail, sloppy", "messages"
    );
    println!(
        "{:>9} {:>10} {:>10} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "N R W",
        "read",
        "write",
        format!("after {}", ms(after)),
        format!("{:.2} %", share * 100.0),
        "reads",
        "writes",
        "reads",
        "writes",
        "each"
    );
    let best = advice.best();
    for setting in advice.settings() {
        let is_best = best.is_some_and(|best| best.setting.prediction.quorum == setting.prediction.quorum);
        row(setting, is_best);
    }
    println!();
    match (best, advice.in_the_way()) {
        (Some(best), _) => offer(best),
        (None, Some(in_the_way)) => {
            println!("No setting meets it.");
            if in_the_way.alone.is_empty() {
                println!("Each part of the need is met by some setting, but not all of them by one.");
            } else {
                println!("What none gives, whatever else is let go: {:?}", in_the_way.alone);
            }
            println!("The nearest is {}, {}:", name(&in_the_way.nearest), mode(in_the_way.nearest.mode));
            in_the_way.nearest.obstacles().iter().for_each(|obstacle| println!("    {obstacle}"));
        }
        (None, None) => unreachable!("either a setting is offered, or something is in the way"),
    }
}

fn offer(offer: Offer<'_>) {
    let prediction = &offer.setting.prediction;
    println!("The cheapest that meets it: {}, {}", name(&offer), mode(offer.mode));
    for (what, estimate) in [("reads", prediction.read), ("writes", prediction.write)] {
        let (value, lower, upper) = (ms(estimate.value), ms(estimate.lower), ms(estimate.upper));
        println!("    {what} take {value} ({lower} to {upper}, with 99 % confidence)");
    }
    let Share { value, lower, upper } = prediction.fresh;
    println!("    {:.3} % of reads are fresh ({:.3} to {:.3})", value * 100.0, lower * 100.0, upper * 100.0);
}

fn name(offer: &Offer<'_>) -> String {
    let quorum = offer.setting.prediction.quorum;
    format!("N = {}, R = {}, W = {}", quorum.n(), quorum.r(), quorum.w())
}

fn mode(mode: Mode) -> &'static str {
    if mode == Mode::Strict { "strict" } else { "sloppy" }
}

fn row(setting: &Setting, is_best: bool) {
    let prediction = &setting.prediction;
    let quorum = prediction.quorum;
    let mark = match (is_best, setting.mode()) {
        (true, _) => "=>",
        (false, Some(_)) => "+",
        (false, None) => "",
    };
    let fail = |Availability { reads, writes }| format!("{:>9} {:>9}", rare(1.0 - reads), rare(1.0 - writes));
    let verdict = setting.mode().map_or_else(|| against(setting), |found| format!("meets it, {}", mode(found)));
    println!(
        "{mark:>2} {:>2} {} {} {:>10} {:>10} {:>10.3}% {:>11} {} {} {:>8.1}  {verdict}",
        quorum.n(),
        quorum.r(),
        quorum.w(),
        ms(prediction.read.value),
        ms(prediction.write.value),
        prediction.fresh.value * 100.0,
        fresh_after(prediction.fresh_after),
        fail(prediction.strict),
        fail(prediction.sloppy),
        prediction.cost.messages
    );
}

/// What is against it, in few words; the fewer of the two modes.
fn against(setting: &Setting) -> String {
    let obstacles = if setting.strict.len() <= setting.sloppy.len() { &setting.strict } else { &setting.sloppy };
    let word = |obstacle: &Obstacle| match obstacle {
        Obstacle::ReadsSlow { .. } => "reads slow",
        Obstacle::WritesSlow { .. } => "writes slow",
        Obstacle::Stale { .. } => "stale",
        Obstacle::NoOverlap => "R + W ≤ N",
        Obstacle::MayMiss => "sloppy",
        Obstacle::MayForget(_) => "may be forgotten",
        Obstacle::Unreadable { .. } => "reads fail",
        Obstacle::Unwriteable { .. } => "writes fail",
        Obstacle::Lost { .. } => "writes lost",
        _ => "something else",
    };
    obstacles.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn fresh_after(estimate: Estimate) -> String {
    if estimate.value.is_zero() { "at once".to_owned() } else { ms(estimate.value) }
}

/// Without what binary fractions add.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

fn rare(share: f64) -> String {
    if share < 1e-15 { "<1e-15".to_owned() } else { format!("{share:.1e}") }
}

pub(crate) fn ms(duration: Duration) -> String {
    if duration == Duration::MAX {
        return "?".to_owned();
    }
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}
