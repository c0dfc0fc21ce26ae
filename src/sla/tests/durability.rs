//! Who syncs before a put is acknowledged: what it costs, and what it keeps.

use super::*;

const SYNC: u32 = 50;
/// A message there, and one back; one more to a node that owns no copy.
const TRIP: u32 = 2;

/// Messages take a millisecond, and syncs 50; one of the owners coordinates.
fn slow_disks(durability: Durability) -> Model {
    let (way, synced) = (|| Latency::Fixed(MS), Latency::Fixed((SYNC + 1) * MS));
    let mut model = Model::alike(Replica { write: ways(way(), synced), read: ways(way(), way()) });
    model.coordinator = Coordinator::Owner { stores: Latency::Fixed(SYNC * MS) };
    model.durability = durability;
    model
}

fn predicted(model: &Model, n: u8, w: u8) -> Prediction {
    predict(quorum(n, 1, w), &Sla::default(), model, trials(2_000, 1)).unwrap()
}

#[test]
fn a_put_waits_for_the_syncs_that_its_durability_asks_for() {
    let took = |durability, n, w| (predicted(&slow_disks(durability), n, w).write.value.as_secs_f64() * 1e3).round();
    let of_three = |durability| [1, 2, 3].map(|w| took(durability, 3, w) as u32);
    assert_eq!(of_three(Durability::Quorum), [SYNC, SYNC + TRIP, SYNC + TRIP]);
    // The others answer after a trip, and nothing is said before the coordinator's sync.
    assert_eq!(of_three(Durability::Coordinator), [SYNC, SYNC, SYNC]);
    // The one that syncs is waited for only if all are.
    assert_eq!(of_three(Durability::One), [0, TRIP, SYNC + TRIP]);
    assert_eq!(of_three(Durability::Memory), [0, TRIP, TRIP]);
    // Alone it syncs, unless nobody is to.
    let alone = |durability| took(durability, 1, 1) as u32;
    assert_eq!([alone(Durability::One), alone(Durability::Memory)], [SYNC, 0]);
}

/// An owner shows nothing that it hasn't synced, and so doesn't say either that enough others have a write.
#[test]
fn no_put_is_acknowledged_before_its_coordinator_has_synced() {
    let mut model = slow_disks(Durability::Quorum);
    model.coordinator = Coordinator::Owner { stores: Latency::Fixed(500 * MS) };
    for w in 1..=3 {
        assert_eq!(predicted(&model, 3, w).write.value, 500 * MS);
    }
    // By then all others have it.
    assert_eq!(predicted(&model, 3, 1).fresh.value.to_bits(), 1.0_f64.to_bits());
}

/// Against going through everything that may be lost.
#[test]
fn what_is_kept_is_what_counting_gives() {
    let (disk, crash, up) = (0.1, 0.3, 0.8);
    for n in 1..=4_u8 {
        for w in 1..=n {
            for durability in [Durability::Quorum, Durability::Coordinator, Durability::One, Durability::Memory] {
                let mut model = slow_disks(durability);
                (model.disk_loss, model.crash, model.up) = (disk, crash, up);
                // Of the first W, of which the first coordinates, and of the last of all: is the disk lost, and the memory?
                let mut lost = 0.0;
                let nodes = usize::from(n);
                for state in 0_u32..1 << (2 * nodes + 1) {
                    let is = |bit: usize| state >> bit & 1 == 1;
                    let mut likely = if is(2 * nodes) { up } else { 1.0 - up };
                    for node in 0..nodes {
                        likely *= if is(2 * node) { disk } else { 1.0 - disk };
                        likely *= if is(2 * node + 1) { crash } else { 1.0 - crash };
                    }
                    let syncs = |node: usize| match durability {
                        Durability::Quorum => true,
                        Durability::Coordinator => node == 0,
                        Durability::One => node + 1 == nodes,
                        Durability::Memory => false,
                    };
                    let keeps = |node: usize| !is(2 * node) && (syncs(node) || !is(2 * node + 1));
                    let is_kept = (0..usize::from(w)).any(keeps)
                        || durability == Durability::One && is(2 * nodes) && keeps(nodes - 1);
                    lost += if is_kept { 0.0 } else { likely };
                }
                let kept = predicted(&model, n, w).durable;
                assert!((kept - (1.0 - lost)).abs() < 1e-12, "{durability:?} {n} {w}: {kept}, {}", 1.0 - lost);
            }
        }
    }
}

#[test]
fn what_a_crash_takes_back_is_no_promise() {
    let always = Sla { fresh: Some(Freshness { share: 1.0, after: Duration::ZERO }), ..Sla::default() };
    for durability in [Durability::Coordinator, Durability::One, Durability::Memory] {
        let advice = advise(&always, &slow_disks(durability), 3..=3, trials(100, 1)).unwrap();
        let setting = advice.setting(quorum(3, 2, 2)).unwrap();
        assert_eq!(setting.strict, [Obstacle::MayForget(durability)]);
        assert_eq!(advice.in_the_way().unwrap().alone, [Need::Freshness]);
        // As often as not it does not matter.
        let mostly = Sla { fresh: Some(Freshness { share: 0.999, after: Duration::ZERO }), ..Sla::default() };
        assert!(advise(&mostly, &slow_disks(durability), 3..=3, trials(100, 1)).unwrap().best().is_some());
        let apart = Model { coordinator: Coordinator::Apart, ..slow_disks(durability) };
        let refused = predict(quorum(3, 2, 2), &always, &apart, trials(10, 1));
        assert_eq!(refused, Err(SlaError::Durability(durability)));
    }
    assert!(advise(&always, &slow_disks(Durability::Quorum), 3..=3, trials(100, 1)).unwrap().best().is_some());
}
