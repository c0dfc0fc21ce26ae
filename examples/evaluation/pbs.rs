//! Probabilistically bounded staleness (Bailis and others, VLDB 2012), Table 4: what partial quorums do to freshness.

use std::time::Duration;

use quorate::sla::{CONFIDENCE, Estimate, Freshness, Model, Prediction, Sla, Trials, predict_copies};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section, percent};

pub(crate) const PART: Part =
    Part { name: "pbs", title: "PBS, Table 4: latency and staleness of partial quorums", run };

struct Fit {
    name: &'static str,
    model: fn() -> Model,
    colour: &'static str,
    /// For each (R, W) of `SETTINGS`: the 99.9th percentile of reads and of writes, and how long after a write 99.9 % of
    /// reads see it, in milliseconds.
    published: [[f64; 3]; 6],
    /// Reads at once that see the write with R = W = 1.
    at_once: f64,
}

const SETTINGS: [(u8, u8); 6] = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (1, 3)];

const FITS: [Fit; 4] = [
    Fit {
        name: "LNKD-SSD",
        model: Model::linkedin_ssd,
        colour: COLOURS[0],
        published: [
            [0.66, 0.66, 1.85],
            [0.66, 1.63, 1.79],
            [1.63, 0.65, 0.0],
            [1.62, 1.64, 0.0],
            [4.14, 0.65, 0.0],
            [0.65, 4.09, 0.0],
        ],
        at_once: 0.974,
    },
    Fit {
        name: "LNKD-DISK",
        model: Model::linkedin_disk,
        colour: COLOURS[1],
        published: [
            [0.66, 10.99, 45.5],
            [0.65, 20.97, 43.3],
            [1.63, 10.9, 13.6],
            [1.64, 20.96, 0.0],
            [4.12, 10.89, 0.0],
            [0.65, 112.7, 0.0],
        ],
        at_once: 0.439,
    },
    Fit {
        name: "YMMR",
        model: Model::yammer,
        colour: COLOURS[2],
        published: [
            [5.58, 10.83, 1_364.0],
            [5.61, 427.0, 1_352.0],
            [32.6, 10.73, 202.0],
            [33.2, 428.0, 0.0],
            [219.3, 10.79, 0.0],
            [5.63, 1_871.0, 0.0],
        ],
        at_once: 0.893,
    },
    Fit {
        name: "WAN",
        model: Model::wan,
        colour: COLOURS[3],
        published: [
            [3.4, 55.1, 113.0],
            [3.4, 167.6, 0.0],
            [151.3, 56.4, 30.2],
            [151.3, 167.7, 0.0],
            [153.9, 55.2, 0.0],
            [3.4, 241.6, 0.0],
        ],
        at_once: 0.33,
    },
];

/// So many trials had each time that the sweep looked at, which is supposed to have made the published table.
const SWEEP_TRIALS: f64 = 50_000.0;

fn run(scale: &Scale) -> Section {
    let trials = |count| Trials { count, seed: 1 };
    let (of_table, of_curve) = (trials(scale.pick(4_000, 500_000)), trials(scale.pick(1_000, 100_000)));
    let tables: Vec<Vec<Prediction>> = FITS.iter().map(|fit| predicted(fit, None, of_table)).collect();
    let curves: Vec<Vec<(f64, f64)>> = FITS.iter().map(|fit| curve(fit, of_curve)).collect();

    let mut section = Section::default();
    section.say(&format!(
        "The Dynamo paper tunes R and W and doesn't say how stale reads become; PBS does, by trials of a model (WARS) with one \
         way there and back to each replica. The workload: one write, and one read that begins t after the write was \
         acknowledged; N = 3; no failures, no repair; a read asks all replicas and takes the first R answers. The ways are the \
         authors' four fits: LinkedIn's Voldemort on solid-state disks and on spinning ones, Yammer's Riak, and data centres \
         75 ms apart. Nothing of it is fitted here. `quorate::sla` predicts, with {} trials; in brackets are the intervals that \
         hold the model's true value with {:.0} % confidence. The published table is quoted at second hand; those of its rows \
         whose numbers the authors repeat elsewhere agree.",
        of_table.count,
        CONFIDENCE * 100.0
    ));
    table(&mut section, &tables);
    section.picture(
        "pbs",
        "Reads that miss the last write, over the time since its acknowledgement",
        chart(&curves).svg(),
    );
    conclude(&mut section, &tables, &curves);
    section
}

fn predicted(fit: &Fit, after: Option<f64>, trials: Trials) -> Vec<Prediction> {
    let fresh = after.map(|ms| Freshness { share: 0.999, after: Duration::from_secs_f64(ms / 1e3) });
    let sla = Sla { fresh, ..Sla::default() };
    predict_copies(3, &sla, &(fit.model)(), trials).expect("the model is a valid one")
}

fn of_setting(all: &[Prediction], (r, w): (u8, u8)) -> &Prediction {
    all.iter().find(|it| (it.quorum.r(), it.quorum.w()) == (r, w)).expect("all settings are there")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn table(section: &mut Section, tables: &[Vec<Prediction>]) {
    let head = [
        "fit",
        "R, W",
        "read p99.9 ms",
        "published",
        "ratio",
        "write p99.9 ms",
        "published",
        "ratio",
        "99.9 % fresh after ms",
        "published",
        "ratio",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (fit, predictions) in FITS.iter().zip(tables) {
        for (&(r, w), published) in SETTINGS.iter().zip(fit.published) {
            let found = of_setting(predictions, (r, w));
            let mut row = vec![fit.name.to_owned(), format!("{r}, {w}")];
            for (estimate, published) in [found.read, found.write, found.fresh_after].into_iter().zip(published) {
                let ours = ms(estimate.value);
                let ratio = if published > 0.0 { format!("{:.2}", ours / published) } else { String::new() };
                row.extend([interval(estimate), format!("{published}"), ratio]);
            }
            rows.push(row);
        }
    }
    section.table(&rows);
}

fn interval(estimate: Estimate) -> String {
    if estimate.upper.is_zero() {
        return "0".to_owned();
    }
    let digits = if estimate.value < Duration::from_millis(10) { 2 } else { 1 };
    let upper =
        if estimate.upper == Duration::MAX { "?".to_owned() } else { format!("{:.digits$}", ms(estimate.upper)) };
    format!("{:.digits$} [{:.digits$}–{upper}]", ms(estimate.value), ms(estimate.lower))
}

/// The share of reads with R = W = 1 that miss the write, so many milliseconds after its acknowledgement.
fn curve(fit: &Fit, trials: Trials) -> Vec<(f64, f64)> {
    // By powers, and from a third of the time when 99.9 % are fresh in even steps, for the sweep to go by.
    let last = fit.published[0][2];
    let early = (0..9).map(|step| LEAST * (last * 0.3 / LEAST).powf(f64::from(step) / 9.0));
    let times = early.chain((3..=16).map(|tenths| last * f64::from(tenths) / 10.0));
    std::iter::once(0.0)
        .chain(times)
        .map(|at| (at, 1.0 - of_setting(&predicted(fit, Some(at), trials), (1, 1)).fresh.value))
        .collect()
}

/// Where the picture begins, in milliseconds, and where it ends below, in percent.
const LEAST: f64 = 0.1;
const FEWEST: f64 = 0.03;

fn chart(curves: &[Vec<(f64, f64)>]) -> Chart {
    let mut series = Vec::new();
    for (fit, curve) in FITS.iter().zip(curves) {
        let within =
            curve.iter().skip(1).map(|(at, missed)| (*at, missed * 100.0)).take_while(|point| point.1 > FEWEST);
        let points = within.collect();
        series.push(Series::new(fit.name, fit.colour, Style::Line, points));
    }
    for fit in &FITS {
        // What holds at once stands at the left edge.
        let mut points = vec![(LEAST, (1.0 - fit.at_once) * 100.0), (fit.published[0][2], 0.1)];
        if fit.name == "LNKD-DISK" {
            points.push((10.0, 7.5));
        }
        series.push(Series::new(format!("published, {}", fit.name), fit.colour, Style::Published, points));
    }
    Chart {
        title: "PBS: reads that miss the last write, N = 3, R = W = 1",
        x: Axis::powers("ms from the acknowledgement to the read, by powers; at once: left edge", LEAST, 2_500.0),
        y: Axis::powers("reads that miss it, %, by powers", FEWEST, 100.0),
        series,
        limits: vec![(0.1, "99.9 % are fresh")],
    }
}

fn conclude(section: &mut Section, tables: &[Vec<Prediction>], curves: &[Vec<(f64, f64)>]) {
    let mut rows = vec![["fit", "fresh at once, R = W = 1", "published"].map(String::from).to_vec()];
    for ((fit, predictions), _) in FITS.iter().zip(tables).zip(curves) {
        let at_once = 1.0 - curves[rows.len() - 1][0].1;
        rows.push(vec![fit.name.to_owned(), percent(at_once, 1), percent(fit.at_once, 1)]);
        section.must((at_once - fit.at_once).abs() < 0.008, "as many reads at once are fresh as was published");
        let found = of_setting(predictions, (2, 2));
        section.always(found.fresh_after.upper.is_zero(), "reads are fresh at once where R + W > N");
    }
    section.table(&rows);
    let (mut latencies, mut times) = (Vec::new(), Vec::new());
    for (fit, predictions) in FITS.iter().zip(tables) {
        for (&setting, [read, write, fresh]) in SETTINGS.iter().zip(fit.published) {
            let found = of_setting(predictions, setting);
            for (estimate, published) in [(found.read, read), (found.write, write)] {
                let ratio = ms(estimate.value) / published;
                let within = (ms(estimate.lower)..=ms(estimate.upper)).contains(&published);
                section
                    .must(within || (ratio - 1.0).abs() < 0.05, "latencies agree within 5 %, or lie in the interval");
                latencies.push(ratio);
            }
            if fresh > 0.0 {
                times.push(ms(found.fresh_after.value) / fresh);
                section.must(
                    ms(found.fresh_after.upper) >= fresh * 0.99,
                    "no published time to freshness is above the interval",
                );
            }
        }
    }
    let ends =
        |all: &[f64]| all.iter().fold((f64::MAX, f64::MIN), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    let ((low, high), (early, late)) = (ends(&latencies), ends(&times));
    let mut swept = Vec::new();
    for ((fit, curve), step) in FITS.iter().zip(curves).zip([0.01, 0.1, 1.0, 1.0]) {
        let (end, published) = (sweep(curve, step), fit.published[0][2]);
        swept.push(format!("{} {end:.*}, published {published}", fit.name, usize::from(step < 1.0) + 1));
        let explained = (end / published - 1.0).abs() < 0.05;
        section.must(explained || fit.name == "WAN", "the sweep ends near the published time");
    }
    section.say(&format!(
        "What agrees: latencies ({low:.2} to {high:.2} of the published), the shares of reads that are fresh at once, and that \
         nothing is stale where R + W > N. What doesn't: the times until 99.9 % are fresh are published lower than they are \
         here; ours are {early:.2} to {late:.2} times as long. The probable reason is how they were found. A sweep over t that \
         ends at the first t whose estimate reaches 99.9 % ends too early, because estimates vary and there are many chances. \
         Such a sweep over the curves of the picture, with {SWEEP_TRIALS} trials for each t in steps of 0.01 ms (SSD), 0.1 ms (DISK) and 1 ms, ends at (ms, the mean of many): \
         {}. The first three come out as published within some 3 %, the last doesn't; and it is no proof: the trials for each t, and the steps, are assumed, for they aren't known. Here the quantile is taken \
         of the trials themselves.",
        swept.join("; ")
    ));
    section.say(
        "A free parameter: the shape of the Pareto part of Yammer's writes is 3.5, as in the authors' simulator; copies of the \
         paper say 3.35, which doesn't give the paper's own figures.",
    );
    section.must(late < 1.17, "times to freshness are no more than a sixth longer than published");
}

/// Where a sweep in steps of so many milliseconds ends, in the mean, that takes each t for itself.
fn sweep(curve: &[(f64, f64)], step: f64) -> f64 {
    const SWEEPS: u32 = 100;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut sum = 0.0;
    for _ in 0..SWEEPS {
        let last = curve.last().expect("it has points").0;
        // Before that no estimate comes near.
        let mut at = last * 0.2;
        loop {
            let expected = SWEEP_TRIALS * missed(curve, at);
            if at >= last || expected + deviate(&mut rng) * expected.sqrt() <= SWEEP_TRIALS * 0.001 {
                break;
            }
            at += step;
        }
        sum += at;
    }
    sum / f64::from(SWEEPS)
}

/// Between two points of the curve, its second part by powers.
fn missed(curve: &[(f64, f64)], at: f64) -> f64 {
    let next = curve.partition_point(|(time, _)| *time <= at).clamp(1, curve.len() - 1);
    let ((before, high), (after, low)) = (curve[next - 1], curve[next]);
    let share = (at - before) / (after - before);
    high.max(1e-9).powf(1.0 - share) * low.max(1e-9).powf(share)
}

/// Normal, by the sum of twelve even ones.
fn deviate(rng: &mut Xoshiro256PlusPlus) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
