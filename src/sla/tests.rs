//! Predictions beside closed forms, published figures and themselves.

use proptest::prelude::*;

use super::*;
use crate::config::{Durability, Mode, Quorum};
use crate::ids::NodeId;
use crate::latencies::{Latencies, PeerLatencies, Phase};

mod durability;
mod edges;

const MS: Duration = Duration::from_millis(1);

fn quorum(n: u8, r: u8, w: u8) -> Quorum {
    Quorum::new(n, r, w).unwrap()
}

fn trials(count: u32, seed: u64) -> Trials {
    Trials { count, seed }
}

fn ways(there: Latency, back: Latency) -> Trip {
    Trip::Ways { there, back }
}

/// All ways exponential.
fn exponential(mean: Duration, asks: Asks) -> Model {
    let trip = || ways(Latency::Exponential { mean }, Latency::Fixed(Duration::ZERO));
    Model { asks, ..Model::alike(Replica { write: trip(), read: trip() }) }
}

/// Of a thousand reads, and of a thousand writes.
fn messages(prediction: &Prediction) -> (u32, u32) {
    let of_a_thousand = |messages: f64| (messages * 1e3).round() as u32;
    (of_a_thousand(prediction.cost.read_messages), of_a_thousand(prediction.cost.write_messages))
}

fn seconds(estimate: Estimate) -> f64 {
    estimate.value.as_secs_f64()
}

#[test]
fn closed_forms_give_the_papers_figures() {
    let near = |got: f64, expected: f64| assert!((got - expected).abs() < 5e-4, "{got} is not {expected}");
    near(misses(quorum(3, 1, 1)), 0.667);
    near(misses(quorum(3, 2, 1)), 0.333);
    near(misses(quorum(3, 1, 2)), 0.333);
    near(misses(quorum(5, 2, 2)), 0.3);
    for (k, within) in [(1, 0.333), (2, 0.556), (3, 0.704), (5, 0.868), (10, 0.983)] {
        near(within_versions(quorum(3, 1, 1), k), within);
    }
    near(within_versions(quorum(3, 2, 2), 1), 1.0);
    near(within_versions(quorum(3, 1, 1), 0), 0.0);
    // Nobody writes in between: what was shown before is missed as often as any version.
    near(monotonic(quorum(3, 1, 1), 0.0), 1.0 - misses(quorum(3, 1, 1)));
    near(monotonic(quorum(3, 1, 1), 2.0), within_versions(quorum(3, 1, 1), 3));
}

/// At the moment of its acknowledgement a write whose acknowledgements take no time is at W replicas and no more, and
/// a read that looks at once, and counts on whoever answers first, draws R of N.
#[test]
fn a_read_at_once_misses_as_often_as_random_quorums_do_not_meet() {
    let wide = || Latency::Uniform { from: Duration::ZERO, to: Duration::from_secs(1) };
    let at_once = || Latency::Fixed(Duration::ZERO);
    let replica = Replica { write: ways(wide(), at_once()), read: ways(at_once(), wide()) };
    let count = 20_000;
    for asks in [Asks::All, Asks::Fastest] {
        let model = Model { asks, ..Model::alike(replica.clone()) };
        for n in 1..=5 {
            for prediction in predict_copies(n, &Sla::default(), &model, trials(count, n.into())).unwrap() {
                let expected = 1.0 - misses(prediction.quorum);
                let deviation = (expected * (1.0 - expected) / f64::from(count)).sqrt();
                let off = (prediction.fresh.value - expected).abs();
                assert!(off <= 5.0 * deviation, "{:?}: {:?} is not {expected}", prediction.quorum, prediction.fresh);
                if prediction.quorum.overlaps() {
                    assert_eq!((prediction.fresh, prediction.fresh_after), (Share::ALL, Estimate::ZERO));
                }
            }
        }
    }
}

#[test]
fn latencies_are_those_of_order_statistics() {
    let mean = 10.0;
    let sla = Sla { percentile: 0.9, ..Sla::default() };
    let predicted = |asks, r| {
        let model = exponential(Duration::from_secs(10), asks);
        predict(quorum(3, r, 3), &sla, &model, trials(50_000, 7)).unwrap()
    };
    // The first of three is exponential with a third of the mean, the last below t if all are.
    let (first, last) = (-mean / 3.0 * 0.1_f64.ln(), -mean * (1.0 - 0.9_f64.powf(1.0 / 3.0)).ln());
    for (asks, r, expected) in [
        (Asks::All, 1, first),
        (Asks::All, 3, last),
        (Asks::Fastest, 1, -mean * 0.1_f64.ln()),
        (Asks::Fastest, 3, last),
    ] {
        let prediction = predicted(asks, r);
        assert!((seconds(prediction.read) / expected - 1.0).abs() < 0.03, "{asks:?} {r}: {:?}", prediction.read);
        assert!((seconds(prediction.write) / last - 1.0).abs() < 0.03);
    }
}

/// 300 predictions of what is known: their intervals must hold it about 297 times. Fewer than 290 happen to one that is
/// right less often than once in a thousand times; an interval that is too wide is found by its width.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let sla = Sla { percentile: 0.95, ..Sla::default() };
    let model = exponential(Duration::from_secs(1), Asks::All);
    let truth = -(0.05_f64.ln());
    let wide = || Latency::Uniform { from: Duration::ZERO, to: Duration::from_secs(1) };
    let at_once = || Latency::Fixed(Duration::ZERO);
    let instant = Model::alike(Replica { write: ways(wide(), at_once()), read: ways(at_once(), wide()) });
    let (mut quantiles, mut shares, mut width) = (0, 0, 0.0);
    for seed in 0..300 {
        let read = predict(quorum(1, 1, 1), &sla, &model, trials(1_000, seed)).unwrap().read;
        let (lower, upper) = (read.lower.as_secs_f64(), read.upper.as_secs_f64());
        quantiles += u32::from(lower <= truth && truth <= upper);
        assert!(lower <= seconds(read) && seconds(read) <= upper);
        width += (upper - lower) / 300.0;
        let fresh = predict(quorum(3, 1, 1), &sla, &instant, trials(1_000, seed)).unwrap().fresh;
        shares += u32::from(fresh.lower <= 1.0 / 3.0 && 1.0 / 3.0 <= fresh.upper);
        assert!(fresh.upper - fresh.lower < 0.085);
    }
    // 2 · 2.576 deviations of the rank, divided by the density at the quantile.
    let expected = 2.0 * 2.576 * (0.95 * 0.05 / 1_000.0_f64).sqrt() / 0.05;
    assert!((width / expected - 1.0).abs() < 0.1, "{width} is not {expected}");
    assert!(quantiles >= 290 && shares >= 290, "{quantiles}, {shares}");
}

#[test]
fn the_same_seed_gives_the_same_prediction() {
    let (sla, model) = (Sla::default(), Model::linkedin_disk());
    let predicted = |seed| predict_copies(3, &sla, &model, trials(5_000, seed)).unwrap();
    assert_eq!(predicted(1), predicted(1));
    assert_ne!(predicted(1), predicted(2));
}

type Row = (u8, u8, f64, f64, f64, f64);

/// R and W, then milliseconds at the 99.9th percentile, as published: of reads, of writes, and until 99.9 % of reads are
/// fresh; and this last as another simulation of the same model has it, with 1,000,000 trials.
const TABLE_4: [(&str, [Row; 6]); 4] = [
    (
        "LNKD-SSD",
        [
            (1, 1, 0.66, 0.66, 1.85, 1.94),
            (1, 2, 0.66, 1.63, 1.79, 1.86),
            (2, 1, 1.63, 0.65, 0.0, 0.0),
            (2, 2, 1.62, 1.64, 0.0, 0.0),
            (3, 1, 4.14, 0.65, 0.0, 0.0),
            (1, 3, 0.65, 4.09, 0.0, 0.0),
        ],
    ),
    (
        "LNKD-DISK",
        [
            (1, 1, 0.66, 10.99, 45.5, 51.1),
            (1, 2, 0.65, 20.97, 43.3, 48.5),
            (2, 1, 1.63, 10.9, 13.6, 14.1),
            (2, 2, 1.64, 20.96, 0.0, 0.0),
            (3, 1, 4.12, 10.89, 0.0, 0.0),
            (1, 3, 0.65, 112.7, 0.0, 0.0),
        ],
    ),
    (
        "YMMR",
        [
            (1, 1, 5.58, 10.83, 1_364.0, 1_446.0),
            (1, 2, 5.61, 427.0, 1_352.0, 1_421.0),
            (2, 1, 32.6, 10.73, 202.0, 219.0),
            (2, 2, 33.2, 428.0, 0.0, 0.0),
            (3, 1, 219.3, 10.79, 0.0, 0.0),
            (1, 3, 5.63, 1_871.0, 0.0, 0.0),
        ],
    ),
    (
        "WAN",
        [
            (1, 1, 3.4, 55.1, 113.0, 115.8),
            (1, 2, 3.4, 167.6, 0.0, 0.0),
            (2, 1, 151.3, 56.4, 30.2, 30.9),
            (2, 2, 151.3, 167.7, 0.0, 0.0),
            (3, 1, 153.9, 55.2, 0.0, 0.0),
            (1, 3, 3.4, 241.6, 0.0, 0.0),
        ],
    ),
];

/// Within 5 %, or where the interval of 300,000 trials has it; published times to freshness are up to 14 % below the
/// interval, and never above it.
#[test]
fn table_4_of_the_pbs_paper_comes_out() {
    let models = [Model::linkedin_ssd(), Model::linkedin_disk(), Model::yammer(), Model::wan()];
    for ((name, rows), model) in TABLE_4.iter().zip(models) {
        let predictions = predict_copies(3, &Sla::default(), &model, trials(300_000, 11)).unwrap();
        for &(r, w, read, write, published, simulated) in rows {
            let found = predictions.iter().find(|it| it.quorum == quorum(3, r, w)).unwrap();
            let near = |what: &str, estimate: Estimate, expected: f64| {
                let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
                let within = ms(estimate.lower) <= expected && expected <= ms(estimate.upper);
                let off = (ms(estimate.value) - expected).abs();
                assert!(within || off <= 0.05 * expected + 0.01, "{name} {r},{w} {what}: {estimate:?} for {expected}");
            };
            near("read", found.read, read);
            near("write", found.write, write);
            near("fresh", found.fresh_after, simulated);
            let [lower, upper] = [found.fresh_after.lower, found.fresh_after.upper].map(|it| it.as_secs_f64() * 1e3);
            let agrees = 0.86 * lower <= published && published <= 1.01 * upper;
            assert!(agrees, "{name} {r},{w}: {published}, predicted {lower} to {upper}");
        }
    }
}

#[test]
fn so_many_reads_at_once_are_fresh_as_was_published() {
    for (model, published) in [
        (Model::linkedin_ssd(), 0.974),
        (Model::linkedin_disk(), 0.439),
        (Model::wan(), 0.33),
        (Model::yammer(), 0.893),
    ] {
        let fresh = predict(quorum(3, 1, 1), &Sla::default(), &model, trials(100_000, 3)).unwrap().fresh;
        assert!((fresh.value - published).abs() < 0.006, "{fresh:?} for {published}");
    }
    let later = Sla { fresh: Some(Freshness { share: 0.9, after: 10 * MS }), ..Sla::default() };
    let fresh = predict(quorum(3, 1, 1), &later, &Model::linkedin_disk(), trials(100_000, 3)).unwrap().fresh;
    assert!((fresh.value - 0.925).abs() < 0.006, "{fresh:?}");
}

/// By going through every way in which nodes may be up.
#[test]
fn availability_is_what_counting_gives() {
    let up = 0.8_f64;
    for n in 1..=4_u32 {
        for others in 0..=3_u32 {
            for w in 1..=n {
                let (mut strict, mut sloppy, mut reads) = (0.0, 0.0, 0.0);
                for state in 0_u32..1 << (n + others) {
                    let (owners, all) = ((state & ((1 << n) - 1)).count_ones(), state.count_ones());
                    let likely = up.powf(f64::from(all)) * (1.0 - up).powf(f64::from(n + others - all));
                    strict += if owners >= w { likely } else { 0.0 };
                    reads += if owners >= 1 { likely } else { 0.0 };
                    // Who is asked is one of those that are up. Without an owner among them it doesn't count itself.
                    let counting = if owners > 0 || w == 1 { all } else { all.saturating_sub(1) };
                    sloppy += if counting >= w { likely } else { 0.0 };
                }
                let setting = quorum(n as u8, w as u8, w as u8);
                let (found, of_cluster) =
                    (Availability::strict(setting, up), Availability::sloppy(setting, up, (n + others) as u16));
                for (found, expected) in [
                    (found.writes, strict),
                    (found.reads, strict),
                    (of_cluster.writes, sloppy),
                    (of_cluster.reads, reads),
                ] {
                    assert!((found - expected).abs() < 1e-12, "{setting:?} + {others}: {found}, {expected}");
                }
            }
        }
    }
    // What Dynamo reports (§7), 99.9995 % of requests answered, fits nodes that are away for 0.129 % of the time.
    let strict = Availability::strict(quorum(3, 2, 2), 1.0 - 0.00129);
    assert!((1.0 - strict.reads - 5e-6).abs() < 1e-7, "{strict:?}");
    let sloppy = Availability::sloppy(quorum(3, 2, 2), 0.95, 30);
    assert!(sloppy.writes > 1.0 - 1e-15, "{sloppy:?}");
}

#[test]
fn an_owner_reads_its_own_copy_without_a_message() {
    let stores = Latency::Fixed(MS);
    let trip = || ways(Latency::Fixed(5 * MS), Latency::Fixed(5 * MS));
    let model =
        |coordinator, nodes| Model { nodes, coordinator, ..Model::alike(Replica { write: trip(), read: trip() }) };
    let predicted = |model: &Model, r, w| predict(quorum(3, r, w), &Sla::default(), model, trials(2_000, 1)).unwrap();
    let owner = model(Coordinator::Owner { stores: stores.clone() }, 5);
    let (one, two) = (predicted(&owner, 1, 1), predicted(&owner, 2, 2));
    assert_eq!([one.read.value, one.write.value], [Duration::ZERO, MS]);
    assert_eq!([two.read.value, two.write.value], [10 * MS, 10 * MS]);
    assert_eq!((messages(&one), messages(&two)), ((0, 4_000), (2_000, 4_000)));
    // One read in three is at the write's coordinator; the others look at once at a copy that comes 5 ms after the start.
    assert!((one.fresh.value - 1.0 / 3.0).abs() < 0.05, "{:?}", one.fresh);
    assert_eq!(one.fresh_after.value, 4 * MS);
    // Any of three nodes owns every key; of six each other one hands writes on, and reads from others.
    let three = model(Coordinator::AnyNode { stores: stores.clone() }, 3);
    assert_eq!(predicted(&three, 1, 1).read, one.read);
    let six = predicted(&model(Coordinator::AnyNode { stores }, 6), 1, 1);
    assert_eq!([six.read.value, six.write.value], [10 * MS, 11 * MS]);
    assert_eq!(messages(&six), (1_000, 5_000));
    // Stale is who owns another copy, and reads it before it comes: unless the answer of the write took as long to come back.
    assert!((six.fresh.value - 5.0 / 6.0).abs() < 0.05, "{:?}", six.fresh);
}

#[test]
fn the_nearest_replicas_are_asked_and_all_where_all_are_asked() {
    let replica = |ms: u32| {
        let trip = || ways(Latency::Fixed(ms * MS), Latency::Fixed(ms * MS));
        Replica { write: trip(), read: trip() }
    };
    let mut model = Model::alike(replica(1));
    model.replicas.extend([replica(10), replica(100)]);
    let read = |model: &Model, n, r| predict(quorum(n, r, 1), &Sla::default(), model, trials(2_000, 1)).unwrap().read;
    for asks in [Asks::Fastest, Asks::All] {
        model.asks = asks;
        assert_eq!([read(&model, 3, 1).value, read(&model, 3, 2).value], [2 * MS, 20 * MS]);
        // Two of the three at random: now and then both of the slow ones.
        assert_eq!(read(&model, 2, 1).value, 20 * MS);
    }
    // From a node that owns no copy the way to each owner is another, too.
    let mut any = model.clone();
    any.replicas.remove(1);
    (any.nodes, any.coordinator) = (200, Coordinator::AnyNode { stores: Latency::Fixed(MS) });
    let most = Sla { percentile: 0.3, ..Sla::default() };
    assert_eq!(predict(quorum(2, 2, 1), &most, &any, trials(2_000, 1)).unwrap().read.value, 200 * MS);
    let four = predict(quorum(4, 1, 1), &Sla::default(), &model, trials(10, 1));
    assert_eq!(four, Err(SlaError::Copies { copies: 4, nodes: 16, ways: 3 }));
}

#[test]
fn what_a_node_has_measured_is_what_is_predicted_from() {
    let mut latencies = Latencies::default();
    assert_eq!(Model::measured(&latencies, 5), Err(SlaError::Unmeasured { least: 100 }));
    let mut peer = PeerLatencies::default();
    for at in 0..10_000 {
        peer.read.record(Duration::from_micros(1_000 + at));
        peer.write.record(Duration::from_micros(2_000 + 2 * at));
    }
    for node in 2..=5 {
        latencies.merge_peer(NodeId(node), &peer);
    }
    let mut rare = PeerLatencies::default();
    for _ in 1..Model::LEAST_ANSWERS {
        rare.read.record(Duration::from_secs(9));
        rare.write.record(Duration::from_secs(9));
    }
    latencies.merge_peer(NodeId(6), &rare);
    let model = Model::measured(&latencies, 6).unwrap();
    assert_eq!(model.replicas.len(), 4);
    // With one write more it counts, and reads as it writes.
    rare.write.record(Duration::from_secs(1));
    let mut known = latencies.clone();
    known.merge_peer(NodeId(7), &rare);
    (0..Model::LEAST_ANSWERS).for_each(|_| known.record(Phase::Sync, MS));
    let whole = Model::measured(&known, 6).unwrap();
    let stores = Latency::Measured(known.of(Phase::Sync).clone().into());
    assert_eq!(whole.coordinator, Coordinator::AnyNode { stores });
    let last = &whole.replicas[4];
    assert_eq!(last.read, last.write);
    assert_ne!(model.replicas[0].read, model.replicas[0].write);
    let sla = Sla { percentile: 0.5, ..Sla::default() };
    let apart = Model { coordinator: Coordinator::Apart, ..model.clone() };
    let prediction = predict(quorum(1, 1, 1), &sla, &apart, trials(20_000, 1)).unwrap();
    for (estimate, expected) in [(prediction.read, 6_000.0), (prediction.write, 12_000.0)] {
        let got = estimate.value.as_secs_f64() * 1e6;
        assert!((got / expected - 1.0).abs() < 0.04, "{got} is not {expected}");
    }
    // The node's own copy comes on top of its four peers.
    assert!(predict(quorum(5, 2, 2), &sla, &model, trials(10, 1)).is_ok());
    assert!(predict(quorum(6, 2, 2), &sla, &model, trials(10, 1)).is_err());
}

#[test]
fn what_was_measured_in_whole_microseconds_took_up_to_one_more_and_goes_there_for_its_share() {
    let mut histogram = crate::histogram::Histogram::new();
    histogram.record(Duration::from_micros(5));
    let trip = || Trip::Whole { took: Latency::Measured(histogram.clone().into()), there: 0.8 };
    let sampler = trip().sampler().unwrap();
    let mut rng = rand::SeedableRng::seed_from_u64(1);
    let (mut mean, count) = (0.0, 10_000);
    for _ in 0..count {
        let (there, back) = sampler.draw(&mut rng);
        assert!((5.0..6.0).contains(&(there + back)) && (there / 4.0 - back).abs() < 1e-9, "{there}, {back}");
        mean += (there + back) / f64::from(count);
    }
    assert!((mean - 5.5).abs() < 0.02, "{mean}");
}

#[test]
fn what_is_no_need_and_no_model_is_refused() {
    let model = Model::linkedin_ssd();
    let refused = |sla: Sla, model: &Model| advise(&sla, model, 3..=3, trials(10, 1)).unwrap_err();
    let sla = Sla::default();
    assert_eq!(refused(Sla { percentile: 1.0, ..sla }, &model), SlaError::Percentile(1.0));
    let fresh = Some(Freshness { share: 1.5, after: MS });
    assert_eq!(refused(Sla { fresh, ..sla }, &model), SlaError::Share { name: "fresh", share: 1.5 });
    assert!(matches!(refused(Sla { durable: Some(f64::NAN), ..sla }, &model), SlaError::Share { .. }));
    assert!(matches!(refused(sla, &Model { up: 2.0, ..model.clone() }), SlaError::Share { name: "up", .. }));
    assert!(matches!(refused(sla, &Model { nodes: 2, ..model.clone() }), SlaError::Copies { .. }));
    let trip = || ways(Latency::Mixture(vec![(0.0, Latency::Fixed(MS))]), Latency::Fixed(MS));
    assert!(matches!(refused(sla, &Model::alike(Replica { write: trip(), read: trip() })), SlaError::Latency(_)));
    for count in [0, Trials::MOST + 1] {
        assert_eq!(advise(&sla, &model, 3..=3, trials(count, 1)).unwrap_err(), SlaError::Trials { count });
    }
    for rate in [0.0, -1.0, f64::NAN] {
        assert!(Latency::exponential_per_ms(rate).is_err() && Latency::pareto_ms(rate - 1.0, 2.0).is_err());
    }
}

#[test]
fn obstacles_say_whether_one_need_or_all_of_them_are_in_the_way() {
    let model = Model::linkedin_disk();
    let fast_and_fresh = Sla {
        read: Some(MS),
        write: Some(15 * MS),
        fresh: Some(Freshness { share: 1.0, after: Duration::ZERO }),
        ..Sla::default()
    };
    let advice = advise(&fast_and_fresh, &model, 3..=3, trials(20_000, 1)).unwrap();
    let in_the_way = advice.in_the_way().expect("fast reads and writes don't overlap");
    assert_eq!((in_the_way.alone, in_the_way.nearest.obstacles().len()), (vec![], 1));
    let never = Sla { read: Some(MS / 10), ..fast_and_fresh };
    let advice = advise(&never, &model, 3..=3, trials(20_000, 1)).unwrap();
    assert_eq!(advice.in_the_way().unwrap().alone, [Need::ReadLatency]);
    // Without the limit on writes (3, 1, 3) is the one; sloppy requests promise nothing.
    let relaxed = Sla { write: None, ..fast_and_fresh };
    let advice = advise(&relaxed, &model, 3..=3, trials(20_000, 1)).unwrap();
    let offer = advice.best().unwrap();
    assert_eq!((offer.setting.prediction.quorum, offer.mode), (quorum(3, 1, 3), Mode::Strict));
    assert_eq!(advice.in_the_way(), None);
    // Of what costs the same number of messages, that is the cheaper which takes less time by the shares of reads and writes;
    // also of what misses as much.
    for (reads, cheaper) in [(1.0, quorum(3, 1, 3)), (0.0, quorum(3, 3, 1))] {
        let model = Model { reads, ..model.clone() };
        let advice = advise(&Sla { read: None, ..relaxed }, &model, 3..=3, trials(5_000, 1)).unwrap();
        assert_eq!(advice.best().unwrap().setting.prediction.quorum, cheaper);
        let advice = advise(&Sla { write: None, ..never }, &model, 3..=3, trials(5_000, 1)).unwrap();
        assert_eq!(advice.in_the_way().unwrap().nearest.setting.prediction.quorum, cheaper);
    }
    // Writes that must not fail though nodes do take sloppy ones.
    let writeable = Sla { writeable: Some(0.999_999_9), ..Sla::default() };
    let advice = advise(&writeable, &Model { up: 0.99, ..model }, 2..=3, trials(1_000, 1)).unwrap();
    assert_eq!(advice.best().unwrap().mode, Mode::Sloppy);
}

fn needs() -> impl Strategy<Value = Sla> {
    let duration = || proptest::option::of((1..200_u32).prop_map(|tenths| tenths * MS / 10));
    let share = || proptest::option::of(prop_oneof![0.5..1.0_f64, Just(1.0), 0.999..1.0_f64]);
    let fresh = proptest::option::of((prop_oneof![0.01..1.0_f64, Just(1.0)], 0..100_u32));
    (0.5..0.99_f64, duration(), duration(), fresh, share(), share(), share()).prop_map(
        |(percentile, read, write, fresh, readable, writeable, durable)| {
            let fresh = fresh.map(|(share, after)| Freshness { share, after: after * MS });
            Sla { percentile, read, write, fresh, readable, writeable, durable }
        },
    )
}

fn models() -> impl Strategy<Value = Model> {
    let base = prop_oneof![Just(Model::linkedin_disk()), Just(Model::linkedin_ssd()), Just(Model::yammer())];
    let stores = || Latency::Exponential { mean: MS };
    let coordinator = prop_oneof![
        Just(Coordinator::Apart),
        (0..20_u32).prop_map(|by| Coordinator::Near(by * MS)),
        Just(Coordinator::Owner { stores: stores() }),
        Just(Coordinator::AnyNode { stores: stores() }),
    ];
    let asks = prop_oneof![Just(Asks::All), Just(Asks::Fastest)];
    let durability = prop_oneof![
        Just(Durability::Quorum),
        Just(Durability::Coordinator),
        Just(Durability::One),
        Just(Durability::Memory)
    ];
    (base, coordinator, asks, durability, 3..10_u16, 0.9..1.0_f64, 0.0..1.0_f64).prop_map(
        |(base, coordinator, asks, durability, nodes, up, reads)| {
            let mut model = Model { nodes, coordinator, asks, up, reads, ..base };
            model.durability = if model.is_owner() { durability } else { Durability::Quorum };
            model
        },
    )
}

/// Whether a prediction meets the need at the worse end; said here once more, apart from the obstacles.
fn meets(prediction: &Prediction, mode: Mode, sla: &Sla, model: &Model) -> bool {
    let availability = if mode == Mode::Strict { prediction.strict } else { prediction.sloppy };
    let fresh = sla.fresh.is_none_or(|fresh| {
        if fresh.share >= 1.0 {
            prediction.quorum.overlaps() && mode == Mode::Strict && model.durability == Durability::Quorum
        } else {
            prediction.fresh.lower >= fresh.share
        }
    });
    fresh
        && sla.read.is_none_or(|limit| prediction.read.upper <= limit)
        && sla.write.is_none_or(|limit| prediction.write.upper <= limit)
        && sla.readable.is_none_or(|needed| availability.reads >= needed)
        && sla.writeable.is_none_or(|needed| availability.writes >= needed)
        && sla.durable.is_none_or(|needed| prediction.durable >= needed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_offered_meets_the_need_and_nothing_cheaper_does(sla in needs(), model in models(), seed in any::<u64>()) {
        let advice = advise(&sla, &model, 1..=4, trials(300, seed)).unwrap();
        let price = |setting: &Setting| (setting.prediction.cost.copies, setting.prediction.cost.messages);
        for setting in advice.settings() {
            let prediction = &setting.prediction;
            prop_assert_eq!(setting.strict.is_empty(), meets(prediction, Mode::Strict, &sla, &model));
            prop_assert_eq!(setting.sloppy.is_empty(), meets(prediction, Mode::Sloppy, &sla, &model));
            for estimate in [prediction.read, prediction.write, prediction.fresh_after] {
                prop_assert!(estimate.lower <= estimate.value && estimate.value <= estimate.upper);
            }
            prop_assert!(prediction.fresh.lower <= prediction.fresh.value && prediction.fresh.value <= prediction.fresh.upper);
        }
        match advice.best() {
            Some(offer) => {
                prop_assert!(meets(&offer.setting.prediction, offer.mode, &sla, &model) && offer.obstacles().is_empty());
                for other in advice.settings().iter().filter(|other| other.mode().is_some()) {
                    prop_assert!(price(offer.setting) <= price(other), "{:?} is cheaper", other.prediction.quorum);
                }
                prop_assert_eq!(advice.in_the_way(), None);
            }
            None => {
                let in_the_way = advice.in_the_way().unwrap();
                prop_assert!(!in_the_way.nearest.obstacles().is_empty());
                let least = in_the_way.nearest.obstacles().len();
                for setting in advice.settings() {
                    let fewest = setting.strict.len().min(setting.sloppy.len());
                    prop_assert!(fewest >= least);
                    prop_assert!(fewest > least || price(in_the_way.nearest.setting) <= price(setting));
                    for need in &in_the_way.alone {
                        for obstacles in [&setting.strict, &setting.sloppy] {
                            prop_assert!(obstacles.iter().any(|obstacle| obstacle.need() == *need));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_larger_quorum_takes_longer_and_shows_more(model in models(), seed in any::<u64>()) {
        let all = predict_copies(3, &Sla { percentile: 0.9, ..Sla::default() }, &model, trials(500, seed)).unwrap();
        for one in &all {
            for other in &all {
                let (a, b) = (one.quorum, other.quorum);
                if a.r() <= b.r() && a.w() <= b.w() {
                    prop_assert!(one.read.value <= other.read.value && one.write.value <= other.write.value);
                    prop_assert!(one.fresh.value <= other.fresh.value);
                    prop_assert!(one.fresh_after.value >= other.fresh_after.value);
                    prop_assert!(one.durable <= other.durable);
                }
            }
        }
    }
}
