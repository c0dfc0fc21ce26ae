//! What a trace tells must be what was done, and telling it must change nothing.

use std::time::Duration;

use quorate::config::{Mode, Spread};
use quorate::error::{GetError, PutError, Refusal};
use quorate::sim::Sim;
use quorate::storage::MemoryStorage;
use quorate::trace::{Answered, Ask, Step, Trace, Why};
use quorate::{Bytes, Cluster, Context, GetOptions, Keyspace, NodeId, PutOptions, Reply, Request, Versions, Written};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn even(count: u64) -> Sim {
    let mut sim = Sim::new(count, 1);
    (sim.network.delay, sim.network.jitter) = (ms(1), Duration::ZERO);
    sim
}

fn get(sim: &mut Sim, node: NodeId, key: &str, options: GetOptions) -> (Result<Versions, GetError>, Trace) {
    let options = GetOptions { traced: true, ..options };
    let ticket =
        sim.start(node, Request::Get { keyspace: Keyspace::new("default").id(), key: Bytes::from(key), options });
    match sim.wait(node, ticket).map(Reply::split) {
        Some((Reply::Get(result), trace)) => (result, trace),
        other => panic!("{other:?}"),
    }
}

fn put(
    sim: &mut Sim,
    node: NodeId,
    key: &str,
    value: Option<&str>,
    context: &Context,
    options: PutOptions,
) -> (Result<Written, PutError>, Trace) {
    let ticket = sim.start_put(node, key, value, context, PutOptions { traced: true, ..options });
    match sim.wait(node, ticket).map(Reply::split) {
        Some((Reply::Put(result), trace)) => (result, trace),
        other => panic!("{other:?}"),
    }
}

fn asked(trace: &Trace) -> Vec<(NodeId, Ask, Why)> {
    let step = |step: &Step| match step {
        Step::Asked { node, ask, why, .. } => Some((*node, *ask, *why)),
        _ => None,
    };
    trace.steps().iter().filter_map(|stepped| step(&stepped.step)).collect()
}

fn has(trace: &Trace, is_it: impl Fn(&Step) -> bool) -> bool {
    trace.steps().iter().any(|stepped| is_it(&stepped.step))
}

fn at(trace: &Trace, is_it: impl Fn(&Step) -> bool) -> u64 {
    let found = trace.steps().iter().find(|stepped| is_it(&stepped.step));
    found.unwrap_or_else(|| panic!("not there:\n{trace}")).at_us
}

#[test]
fn a_put_tells_who_was_asked_and_when_it_was_reached() {
    let mut sim = even(5);
    let [owner, second, third] = sim.owners("k")[..] else { panic!("three owners") };
    let (written, trace) = put(&mut sim, owner, "k", Some("v"), &Context::empty(), PutOptions::default());
    assert_eq!(written.unwrap().owners, 2);
    let all = [(owner, Ask::Write, Why::Owner), (second, Ask::Write, Why::Owner), (third, Ask::Write, Why::Owner)];
    assert_eq!(asked(&trace), all);
    assert!(has(&trace, |step| matches!(step, Step::Named { .. })));
    let placed = |step: &Step| matches!(step, Step::Placed { owners, .. } if *owners == [owner, second, third]);
    assert_eq!(at(&trace, placed), 0);
    assert!(has(&trace, |step| *step == Step::Durable));
    let last = trace.steps().last().unwrap();
    assert_eq!((last.at_us, &last.step), (2_300, &Step::Reached { got: 2, needed: 2 }));
    let text = trace.to_string();
    assert!(text.contains("2.300 ms  reached: 2 of 2\n") && text.contains("asked n"), "{text}");
    let json = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&json).unwrap(), trace);
}

#[test]
fn a_suspect_is_skipped_and_another_stands_in_and_the_trace_says_why() {
    let mut sim = even(5);
    let [owner, second, third] = sim.owners("k")[..] else { panic!("three owners") };
    let stand_in = sim.bystanders("k")[0];
    sim.crash(third);
    // The first put finds it late.
    let (_, late) =
        put(&mut sim, owner, "k", Some("v"), &Context::empty(), PutOptions { w: Some(3), ..PutOptions::default() });
    assert!(has(&late, |step| matches!(step, Step::Late { node, waited_us: 100_000.. } if *node == third)), "{late}");
    assert_eq!(asked(&late).last(), Some(&(stand_in, Ask::Keep(third), Why::InStead(third))));
    sim.run_for(ms(1_000));
    let (_, trace) = put(&mut sim, owner, "k", Some("w"), &Context::empty(), PutOptions::default());
    let skipped =
        |step: &Step| matches!(step, Step::Skipped { node, silent_us: 1_000_000.., phi: 3_000.. } if *node == third);
    assert!(has(&trace, skipped), "{trace}");
    let who: Vec<NodeId> = asked(&trace).into_iter().map(|(node, ..)| node).collect();
    assert_eq!(who, [owner, second, stand_in]);
    assert!(trace.to_string().contains(&format!("{third} skipped: suspected (silent for 1")), "{trace}");
    // A strict write has no choice.
    let strict = PutOptions { mode: Some(Mode::Strict), w: Some(3), ..PutOptions::default() };
    let (failed, trace) = put(&mut sim, owner, "k", Some("x"), &Context::empty(), strict);
    let Err(PutError::Unavailable(shortfall)) = failed else { panic!("{failed:?}") };
    assert!(asked(&trace).contains(&(third, Ask::Write, Why::TooFew)));
    assert_eq!(trace.steps().last().unwrap().step, Step::Failed(shortfall), "a failure has its trace, too");
}

#[test]
fn a_get_tells_who_lags_who_is_slow_and_what_was_reconciled() {
    let mut sim = even(5);
    let [owner, second, third] = sim.owners("k")[..] else { panic!("three owners") };
    // What one owner lacks: it was cut off when it was written.
    let base = sim.put(owner, "k", "base").unwrap().context;
    sim.network.cut_one_way(owner, second);
    sim.put_with(owner, "k", Some("one"), &base, PutOptions::default()).unwrap();
    sim.put_with(owner, "k", Some("other"), &base, PutOptions::default()).unwrap();
    sim.heal();
    let all = GetOptions { r: Some(3), ..GetOptions::default() };
    let (found, trace) = get(&mut sim, owner, "k", all);
    assert_eq!(found.unwrap().siblings, 2);
    assert!(has(&trace, |step| *step == Step::ToRepair { node: second }), "{trace}");
    assert!(has(&trace, |step| *step == Step::Reconciled { siblings: 2, shown: 2 }));
    assert!(has(
        &trace,
        |step| matches!(step, Step::Answered { node, answer: Answered::Versions(2), took_us: 0 } if *node == owner)
    ));
    assert_eq!(asked(&trace)[0], (owner, Ask::Read, Why::Fastest));
    // Reads go to the others until their latency is known; then one gets slow.
    for _ in 0..60 {
        sim.get(owner, "k").unwrap();
        sim.run_for(ms(100));
    }
    let preferred = asked(&get(&mut sim, owner, "k", GetOptions::default()).1)[1].0;
    sim.network.slow(preferred, ms(40));
    sim.run_for(ms(100));
    let (_, trace) = get(&mut sim, owner, "k", GetOptions::default());
    let other = if preferred == second { third } else { second };
    let is_slow = |step: &Step| matches!(step, Step::Slow { node, may_hedge: true, .. } if *node == preferred);
    assert!(has(&trace, is_slow), "{trace}");
    assert_eq!(asked(&trace).last(), Some(&(other, Ask::Read, Why::Hedge(preferred))));
}

#[test]
fn a_write_that_is_handed_on_tells_to_whom_and_what_that_one_said() {
    let mut sim = even(5);
    let bystander = sim.bystanders("k")[0];
    let (written, trace) = put(&mut sim, bystander, "k", Some("v"), &Context::empty(), PutOptions::default());
    let written = written.unwrap();
    let [(coordinator, Ask::Coordinate, Why::Fastest)] = asked(&trace)[..] else { panic!("{trace}") };
    let answer = Answered::Coordinated { owners: written.owners, fallbacks: written.fallbacks };
    assert_eq!(trace.steps().last().unwrap().step, Step::Answered { node: coordinator, answer, took_us: 4_300 });
    // That one is cut off: another gets the same write.
    sim.isolate(coordinator);
    let (_, trace) = put(&mut sim, bystander, "k", Some("w"), &Context::empty(), PutOptions::default());
    let [(first, ..), (_, Ask::Coordinate, Why::InStead(late)), ..] = asked(&trace)[..] else { panic!("{trace}") };
    assert!(first == coordinator && late == coordinator && has(&trace, |step| matches!(step, Step::Late { .. })));
}

#[test]
fn what_comes_before_a_write_is_told_and_so_is_a_refusal() {
    let mut sim = even(3);
    let owner = sim.owners("k")[0];
    let context = sim.put(owner, "k", "v").unwrap().context;
    sim.put(owner, "k", "sibling").unwrap();
    let unchanged = PutOptions { if_unchanged: true, ..PutOptions::default() };
    let (changed, trace) = put(&mut sim, owner, "k", Some("w"), &context, unchanged);
    assert_eq!(changed.unwrap_err(), PutError::Changed);
    assert_eq!(trace.steps()[0].step, Step::ReadsFirst);
    assert_eq!(trace.steps().last().unwrap().step, Step::Condition { holds: false });
    assert!(!has(&trace, |step| matches!(step, Step::Named { .. })));
    let (deleted, trace) = put(&mut sim, owner, "k", None, &Context::empty(), PutOptions::default());
    deleted.unwrap();
    assert!(at(&trace, |step| matches!(step, Step::Named { .. })) >= 2_000, "after the read");
    let (refused, trace) = get(&mut sim, owner, "k", GetOptions { r: Some(9), ..GetOptions::default() });
    assert!(refused.is_err() && trace.steps().is_empty());
}

#[test]
fn an_owner_whose_disk_fails_refuses_and_the_trace_says_who_and_why() {
    use quorate::sim::DiskFault;
    let mut sim = even(5);
    let [owner, second, _] = sim.owners("k")[..] else { panic!("three owners") };
    sim.disk(second)[0].set(DiskFault::Writes, true);
    let (_, trace) =
        put(&mut sim, owner, "k", Some("v"), &Context::empty(), PutOptions { w: Some(3), ..PutOptions::default() });
    let refused = |step: &Step| matches!(step, Step::Answered { node, answer: Answered::Refused(Refusal::Storage), .. } if *node == second);
    assert!(has(&trace, refused), "{trace}");
    assert_eq!(asked(&trace).last().unwrap().2, Why::InStead(second));
}

/// All that a cluster does while clients trace everything, or nothing.
fn story(traced: bool) -> (Vec<String>, String) {
    let mut sim = Sim::builder(5, 7).partitions(16).build();
    (sim.network.loss, sim.network.tail) = (5, ms(3));
    let (nodes, mut seen) = (sim.members(), Vec::new());
    for round in 0..300_u64 {
        let (node, key) = (nodes[round as usize % 5], format!("k{}", round % 7));
        match round {
            100 => sim.crash(nodes[3]),
            200 => sim.restart(nodes[3]),
            _ => {}
        }
        if !sim.is_up(node) {
            continue;
        }
        let ticket = match round % 3 {
            0 => {
                let spread = if round % 2 == 0 { Spread::Nodes } else { Spread::Zones };
                let options = GetOptions { traced, spread, ..GetOptions::default() };
                sim.start(
                    node,
                    Request::Get { keyspace: Keyspace::new("default").id(), key: Bytes::from(&key[..]), options },
                )
            }
            kind => {
                let options = PutOptions { traced, if_unchanged: kind == 2, ..PutOptions::default() };
                sim.start_put(node, &key, Some(&round.to_string()), &Context::empty(), options)
            }
        };
        let (reply, trace) = sim.wait(node, ticket).expect("it is up").split();
        assert_eq!(traced, !trace.steps().is_empty());
        seen.push(format!("{:?} {reply:?}", sim.now()));
    }
    sim.run_for(ms(5_000));
    (seen, format!("{:?} {:?} {:?}", sim.traffic(), sim.counters(), sim.events()))
}

#[test]
fn to_trace_changes_nothing_else() {
    assert_eq!(story(true), story(false));
}

#[test]
fn a_client_gets_the_trace_of_what_it_asked_and_of_nothing_else() {
    let cluster: Cluster<MemoryStorage> = Cluster::builder(3).start().unwrap();
    let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
    let put = bucket.trace_put("k", "v", &Context::empty(), PutOptions::default()).wait();
    let context = put.result.unwrap().context;
    assert!(has(&put.trace, |step| matches!(step, Step::Reached { .. })));
    let got = bucket.trace_get("k", GetOptions::default()).wait();
    assert_eq!(got.result.unwrap().values, ["v"]);
    assert!(has(&got.trace, |step| matches!(step, Step::Asked { ask: Ask::Read, .. })), "{}", got.trace);
    let deleted = bucket.trace_delete("k", &context, PutOptions::default()).wait();
    assert!(deleted.result.is_ok() && !deleted.trace.steps().is_empty());
    // Whoever asks for a trace and not for its result's way gets the result.
    let options = GetOptions { traced: true, ..GetOptions::default() };
    assert!(bucket.get_with("k", options).wait().unwrap().values.is_empty());
    cluster.stop(NodeId(1));
    let stopped = bucket.trace_get("k", GetOptions::default()).wait();
    assert_eq!((stopped.result.unwrap_err(), stopped.trace), (GetError::Stopped, Trace::default()));
}

#[test]
fn the_trace_in_the_operating_guide_is_what_a_node_tells() {
    let mut sim = even(5);
    let [owner, .., third] = sim.owners("k")[..] else { panic!("three owners") };
    sim.put(owner, "k", "v").unwrap();
    sim.crash(third);
    for _ in 0..8 {
        sim.put(owner, "k", "w").unwrap();
        sim.run_for(ms(200));
    }
    let (_, trace) = put(&mut sim, owner, "k", Some("x"), &Context::empty(), PutOptions::default());
    // The start in the dot's name is drawn by the simulator's seed, like all else here.
    let shown = format!("    {}\n", trace.to_string().trim_end().replace('\n', "\n    "));
    let guide = include_str!("../docs/OPERATING.md");
    assert!(guide.contains(&shown), "it is:\n{shown}");
}
