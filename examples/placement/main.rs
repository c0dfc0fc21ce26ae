//! How evenly requests fall on nodes, by the strategy that places partitions: Dynamo's Figure 8, and this library.
//!
//! ```text
//! cargo run --release --example placement                 # some seconds
//! cargo run --release --example placement -- --quick      # few runs of each model
//! cargo run --release --example placement -- --svg PATH   # where the picture goes, else target/placement.svg
//! ```
//! The paper's strategies are drawn at random, and a point is the mean of many runs; this library's planner draws
//! nothing. All have the same metadata: so many tokens or partitions to remember.

mod figure;
mod models;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use figure::{CURVES, Panel};
use models::{NODES, PUBLISHED, Point, Strategy, measure, ours, strategy_1, strategy_2, strategy_3};

/// The models must come so near to the paper.
const NEAR: f64 = 0.02;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut quick = false;
    let mut path = PathBuf::from("target/placement.svg");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--svg" => path = arguments.next().ok_or("--svg needs a path")?.into(),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let points: Vec<[Point; 4]> = PUBLISHED.iter().map(|&(metadata, _)| point(metadata, quick)).collect();
    let healthy = panel("all nodes up", &points, |point| point.healthy, true);
    let down = panel("one node down, the worst of all", &points, |point| point.down, false);
    let joined = panel("after a join", &points, |point| point.joined, false);
    println!("Mean load over that of the busiest node; {NODES} nodes, three copies");
    [&healthy, &down, &joined].into_iter().for_each(table);
    let moved = panel("moved for the one that joined, over a fair share", &points, |point| point.moved, false);
    table(&moved);
    let metadata: Vec<usize> = PUBLISHED.iter().map(|&(metadata, _)| metadata).collect();
    let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let drawn = directory.and_then(|()| std::fs::write(&path, figure::svg(&metadata, &[healthy, down, joined])));
    match drawn {
        Ok(()) => println!("\ndrawn: {}", path.display()),
        Err(error) => println!("\nnot drawn: {}: {error}", path.display()),
    }
    Ok(verdict(&points, quick))
}

/// All four at so much metadata.
fn point(metadata: usize, quick: bool) -> [Point; 4] {
    // Few tokens, and the runs differ much.
    let runs = if quick { (2_400 / metadata).clamp(2, 20) } else { (120_000 / metadata).clamp(20, 1_000) };
    let drawn: [Strategy; 3] = [strategy_1, strategy_2, strategy_3];
    let [one, two, three] = drawn.map(|strategy| measure(strategy, metadata, runs));
    [one, two, three, measure(ours, metadata, 1)]
}

fn panel(title: &'static str, points: &[[Point; 4]], of: fn(&Point) -> f64, published: bool) -> Panel {
    let curve = |which: usize| {
        let point = |(at, point): (usize, &[Point; 4])| {
            let paper = PUBLISHED[at].1.get(which).copied();
            (of(&point[which]), paper.filter(|_| published))
        };
        points.iter().enumerate().map(point).collect()
    };
    Panel { title, curves: [0, 1, 2, 3].map(curve) }
}

fn table(panel: &Panel) {
    println!("\n{}", panel.title);
    print!("{:>10}", "metadata");
    CURVES.iter().for_each(|(name, ..)| print!("{name:>16}"));
    println!();
    for (at, (metadata, _)) in PUBLISHED.iter().enumerate() {
        print!("{metadata:>10}");
        for curve in &panel.curves {
            let (value, paper) = curve[at];
            let paper = paper.map_or_else(|| " ".repeat(8), |paper| format!(" [{paper:.3}]"));
            print!("{value:>8.3}{paper:<8}");
        }
        println!();
    }
}

/// What must hold of the tables.
fn verdict(points: &[[Point; 4]], quick: bool) -> ExitCode {
    let mut wrong = Vec::new();
    let mut farthest = (0.0, 0, 0);
    for (point, (metadata, published)) in points.iter().zip(PUBLISHED) {
        for (strategy, paper) in published.into_iter().enumerate() {
            let distance = (point[strategy].healthy - paper).abs();
            if distance > farthest.0 {
                farthest = (distance, strategy + 1, metadata);
            }
        }
        let [.., ours] = point;
        let mut must = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{metadata} partitions: {what}"));
            }
        };
        must(ours.healthy > 0.9999, "all nodes serve as much");
        must(metadata < 960 || ours.down > 0.95, "a lost node's load falls on all others");
        // Copies are whole: so many on the mean, over that rounded up.
        let copies = (models::COPIES * metadata) as f64 / (NODES + 1) as f64;
        must((ours.joined - copies / copies.ceil()).abs() < 1e-9, "shares stay even when a node joins");
        must(ours.moved <= 1.0, "nothing moves but the share of the one that joins");
        let best = point[..3].iter().map(|point| point.down).fold(0.0, f64::max);
        must(ours.down >= best, "no strategy of the paper is more even with a node down");
    }
    let (distance, strategy, metadata) = farthest;
    println!("models     at most {distance:.3} from the paper: strategy {strategy} at {metadata}");
    if distance > if quick { 0.1 } else { NEAR } {
        wrong.push("a model is too far from the paper".to_owned());
    }
    wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    println!("wrong      {}", wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
