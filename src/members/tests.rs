use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::bytes::Bytes;
use crate::ids::{LayoutId, Start, StoreId, ZoneId};
use crate::wire::FormatError;

const CLUSTER: ClusterId = ClusterId(5);

fn presence(start: u64) -> Presence {
    Presence {
        ordinal: 1,
        start: Start(start),
        store: StoreId(u128::from(start) + 1),
        protocols: Protocols { lowest: 1, highest: 2 },
        address: Bytes::from("10.0.0.1:7000"),
    }
}

fn joining(node: u64) -> MemberRecord {
    MemberRecord::joining(NodeId(node), ZoneId(1), 3, presence(node)).unwrap()
}

const fn layout(version: u64, hash: u64) -> LayoutId {
    LayoutId { version, hash }
}

/// Records of three nodes with few different numbers, so that equal numbers with different contents are frequent.
fn records() -> impl Strategy<Value = MemberRecord> {
    let phase = prop_oneof![Just(Phase::Joining), Just(Phase::Active), Just(Phase::Leaving), Just(Phase::Removed)];
    (1..4_u64, 1..3_u64, phase, 0..3_u64, 0..3_u32, 1..3_u64, 0..3_u64).prop_map(
        |(node, incarnation, phase, revision, weight, ordinal, start)| {
            // A client is nowhere seated.
            let revision = if weight == 0 { 0 } else { revision };
            let seat = Seat { revision, zone: ZoneId(weight), weight };
            let presence = Presence { ordinal, ..presence(start) };
            let standing = (phase != Phase::Removed).then_some(record::Standing { seat, presence });
            MemberRecord { node: NodeId(node), incarnation, phase, standing }.checked().unwrap()
        },
    )
}

fn layouts() -> impl Strategy<Value = Layouts> {
    // Twice as many as are kept.
    (0..40_u64, proptest::collection::vec(1..40_u64, 0..20)).prop_map(|(decided, proposed)| {
        let name = |number: u64| layout(1 + number / 3, number % 3);
        let mut layouts = Layouts::founded(name(decided));
        for number in proposed {
            layouts.propose(name(number), layout(0, 0)).unwrap();
        }
        layouts
    })
}

fn memberships() -> impl Strategy<Value = Membership> {
    (proptest::collection::vec(records(), 0..6), layouts()).prop_map(|(records, layouts)| {
        let mut membership = Membership::founding(CLUSTER, layouts);
        records.iter().for_each(|record| {
            membership.take(record).unwrap();
        });
        membership
    })
}

fn joined(a: &Membership, b: &Membership) -> Membership {
    let mut joined = a.clone();
    let news = joined.join(b).unwrap();
    assert_eq!(news, joined != *a, "news is what changes something");
    joined
}

proptest! {
    #[test]
    fn a_join_has_the_laws_of_a_lattice(a in memberships(), b in memberships(), c in memberships()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(joined(&joined(&a, &b), &b), joined(&a, &b));
    }

    #[test]
    fn records_end_alike_in_every_order_lost_and_repeated(
        heard in proptest::collection::vec(records(), 1..6),
        orders in proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..12), 2..4),
    ) {
        // Each order first hears some of them, some twice, and then all.
        let ends: Vec<_> = orders.iter().enumerate().map(|(turn, order)| {
            let mut membership = Membership::joining(CLUSTER);
            let all = 0..heard.len();
            let all: Vec<usize> = if turn % 2 == 0 { all.collect() } else { all.rev().collect() };
            for at in order.iter().map(|index| index.index(heard.len())).chain(all) {
                let before = membership.record(heard[at].node()).cloned();
                let joined = membership.take(&heard[at]).unwrap();
                let after = membership.record(heard[at].node()).cloned();
                assert_eq!(joined.grew, before != after);
                assert_eq!(joined.sender_behind, after.as_ref() != Some(&heard[at]));
            }
            membership
        }).collect();
        for end in &ends {
            prop_assert_eq!(end, &ends[0]);
            prop_assert_eq!(end.digest(), ends[0].digest());
            prop_assert_eq!(end.encode(), ends[0].encode());
        }
    }

    #[test]
    fn nothing_that_was_removed_comes_back_but_as_a_new_incarnation(
        heard in proptest::collection::vec(records(), 1..12)
    ) {
        let mut membership = Membership::joining(CLUSTER);
        for record in &heard {
            let before = membership.record(record.node()).cloned();
            membership.take(record).unwrap();
            let after = membership.record(record.node()).unwrap();
            if let Some(before) = before {
                prop_assert!(after.incarnation() >= before.incarnation());
                if after.incarnation() == before.incarnation() {
                    prop_assert!(after.phase() >= before.phase());
                }
            }
            prop_assert_eq!(after.phase() == Phase::Removed, after.seat().is_none());
            prop_assert_eq!(after.phase() == Phase::Removed, after.presence().is_none());
        }
    }

    #[test]
    fn equal_memberships_have_equal_digests_and_bytes_and_others_have_not(a in memberships(), b in memberships()) {
        prop_assert_eq!(a.encode() == b.encode(), a == b);
        prop_assert_eq!(a.digest() == b.digest(), a.records().eq(b.records()));
        prop_assert_eq!(Membership::decode(&a.encode()).unwrap(), a.clone());
        prop_assert_eq!(Membership::decode(&a.encode()).unwrap().digest(), a.digest());
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(
        membership in memberships(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = membership.encode();
        let end = bytes.len() - 4;
        bytes.truncate(end);
        let at = at.index(end);
        bytes[at] = byte;
        crate::wire::put_checksum(&[], &mut bytes, 0);
        // What is read is what these bytes, and no others, say.
        if let Ok(read) = Membership::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
        let mut noise = [vec![1], noise].concat();
        crate::wire::put_checksum(&[], &mut noise, 0);
        if let Ok(read) = Membership::decode(&noise) {
            prop_assert_eq!(read.encode(), noise);
        }
    }
}

#[test]
fn a_weight_and_an_address_that_are_new_on_two_sides_both_stay() {
    let base = joining(1);
    let heavier = base.seated(ZoneId(1), 9).unwrap();
    let moved = base.started(Presence { address: Bytes::from("elsewhere"), ..presence(2) }).unwrap();
    let mut both = heavier.clone();
    assert_eq!(both.join(&moved), Joined { grew: true, sender_behind: true });
    assert_eq!(both.seat().unwrap().weight, 9);
    assert_eq!(both.presence().unwrap().address, "elsewhere");
    assert_eq!(both.presence().unwrap().ordinal, 2);
}

#[test]
fn a_life_goes_one_way_and_begins_anew_with_nothing_of_the_old_one() {
    let active = joining(1).advanced(Phase::Active).unwrap();
    let back = active.advanced(Phase::Joining);
    assert_eq!(back, Err(RecordError::Phase { from: Phase::Active, to: Phase::Joining }));
    assert!(active.rejoining(ZoneId(1), 1, presence(1)).is_err(), "it isn't removed");
    let removed = active.started(presence(7)).unwrap().advanced(Phase::Removed).unwrap();
    assert_eq!((removed.seat(), removed.presence()), (None, None));
    assert!(removed.seated(ZoneId(1), 1).is_err() && removed.started(presence(1)).is_err());
    let again = removed.rejoining(ZoneId(2), 4, presence(8)).unwrap();
    assert_eq!((again.incarnation(), again.phase()), (2, Phase::Joining));
    assert_eq!(again.presence().unwrap().ordinal, 1);
    // Whichever of the two is heard last.
    for (mut first, second) in [(again.clone(), active.clone()), (active, again.clone())] {
        first.join(&second);
        assert_eq!(first, again);
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let make = |weight, presence| MemberRecord::joining(NodeId(1), ZoneId(1), weight, presence);
    assert_eq!(make(0, presence(1)), Err(RecordError::ZeroWeight));
    let protocols = Protocols { lowest: 3, highest: 2 };
    assert_eq!(make(1, Presence { protocols, ..presence(1) }), Err(RecordError::Protocols));
    let address = |length: usize| Presence { address: Bytes::from(vec![b'a'; length]), ..presence(1) };
    assert!(make(1, address(MemberRecord::ADDRESS_MAX)).is_ok());
    assert_eq!(make(1, address(264)), Err(RecordError::Address(264)));
    let mut last = joining(1);
    let standing = last.standing.as_mut().unwrap();
    (standing.seat.revision, standing.presence.ordinal) = (MemberRecord::NUMBER_MAX, MemberRecord::NUMBER_MAX);
    assert_eq!(last.seated(ZoneId(1), 1), Err(RecordError::Number));
    assert_eq!(last.started(presence(1)), Err(RecordError::Number));
    let mut gone = last.advanced(Phase::Removed).unwrap();
    assert!(gone.rejoining(ZoneId(1), 1, presence(1)).is_ok(), "the way out of numbers that were driven to their end");
    gone.incarnation = MemberRecord::NUMBER_MAX;
    assert_eq!(gone.rejoining(ZoneId(1), 1, presence(1)), Err(RecordError::Number));
}

#[test]
fn another_cluster_is_refused_and_changes_nothing() {
    let mut own = Membership::joining(CLUSTER);
    own.take(&joining(1)).unwrap();
    let mut other = Membership::founding(ClusterId(6), Layouts::founded(layout(9, 9)));
    other.take(&joining(2)).unwrap();
    let before = own.clone();
    let error = MembershipError::ForeignCluster { own: CLUSTER, theirs: ClusterId(6) };
    assert_eq!(own.join(&other), Err(error));
    assert_eq!(own, before);
}

#[test]
fn what_is_decided_rises_and_takes_what_it_supersedes_along() {
    let mut layouts = Layouts::founded(layout(1, 5));
    assert_eq!(layouts.highest(), layout(1, 5));
    for (id, parent, news) in [
        (layout(2, 7), layout(1, 5), true),
        (layout(2, 3), layout(1, 5), true),
        (layout(2, 7), layout(1, 5), false),
        (layout(3, 1), layout(2, 3), true),
        (layout(1, 4), layout(0, 0), false),
    ] {
        assert_eq!(layouts.propose(id, parent), Ok(news), "{id}");
    }
    assert_eq!(layouts.highest(), layout(3, 1));
    let parent = layout(4, 0);
    assert_eq!(layouts.propose(layout(4, 2), parent), Err(NotYounger { id: layout(4, 2), parent }));
    assert!(layouts.decide(layout(2, 7)) && !layouts.decide(layout(2, 3)) && !layouts.decide(layout(2, 7)));
    assert_eq!(layouts.proposed().collect::<Vec<_>>(), [(layout(3, 1), layout(2, 3))]);
    assert!(layouts.knows(layout(2, 7)) && layouts.knows(layout(3, 1)) && !layouts.knows(layout(2, 3)));
    // A rival of the decided one, which one who was away still holds for a candidate.
    let mut late = Layouts::founded(layout(1, 5));
    late.propose(layout(2, 3), layout(1, 5)).unwrap();
    assert!(!layouts.clone().join(&late));
    assert!(late.join(&layouts));
    assert_eq!(late, layouts);
}

#[test]
fn the_highest_proposals_are_kept() {
    let mut layouts = Layouts::founded(layout(1, 0));
    for version in 2..30 {
        assert_eq!(layouts.propose(layout(version, 0), layout(version - 1, 0)), Ok(true));
    }
    assert_eq!(layouts.proposed().count(), Layouts::PROPOSED_MAX);
    assert_eq!(layouts.highest(), layout(29, 0));
    assert_eq!(layouts.propose(layout(2, 0), layout(1, 0)), Ok(false), "there are so many above it");
}

#[test]
fn the_version_that_all_speak() {
    let mut membership = Membership::joining(CLUSTER);
    assert_eq!(membership.spoken_by_all(), None);
    for (node, lowest, highest, all) in [(1, 2, 5, Some(5)), (2, 1, 4, Some(4)), (3, 5, 6, None)] {
        let protocols = Protocols { lowest, highest };
        let presence = Presence { protocols, ..presence(node) };
        membership.take(&MemberRecord::joining(NodeId(node), ZoneId(1), 1, presence).unwrap()).unwrap();
        assert_eq!(membership.spoken_by_all(), all);
    }
    let gone = membership.record(NodeId(3)).unwrap().advanced(Phase::Removed).unwrap();
    membership.take(&gone).unwrap();
    assert_eq!(membership.spoken_by_all(), Some(4), "who is gone has no say");
}

#[test]
fn one_node_more_than_there_is_room_for_is_refused() {
    let gone = |node: u64| joining(node).advanced(Phase::Removed).unwrap();
    let mut bytes = Membership::joining(CLUSTER).encode();
    bytes.truncate(bytes.len() - 5);
    crate::wire::put_varint(&mut bytes, Membership::NODES_MAX as u64);
    let nodes = 0..Membership::NODES_MAX as u64;
    nodes.for_each(|node| format::put_record(&mut bytes, &gone(node)));
    crate::wire::put_checksum(&[], &mut bytes, 0);
    let mut full = Membership::decode(&bytes).unwrap();
    let before = full.clone();
    let error = MembershipError::Full { node: NodeId(100_000) };
    assert_eq!(full.take(&gone(100_000)), Err(error));
    assert_eq!(full, before);
    let again = gone(7).rejoining(ZoneId(1), 1, presence(1)).unwrap();
    assert!(full.take(&again).unwrap().grew, "who is known needs no room");
}

#[test]
fn golden_bytes() {
    let mut membership = Membership::founding(CLUSTER, Layouts::founded(layout(1, 0x11)));
    membership.layouts_mut().propose(layout(2, 0x22), layout(1, 0x11)).unwrap();
    let address = Bytes::from("host:7000");
    let presence = Presence { start: Start(0x99), store: StoreId(0x77), address, ..presence(1) };
    let first = MemberRecord::joining(NodeId(300), ZoneId(2), 3, presence).unwrap().advanced(Phase::Active).unwrap();
    membership.take(&first.seated(ZoneId(2), 4).unwrap()).unwrap();
    membership.take(&joining(7).advanced(Phase::Removed).unwrap()).unwrap();
    let mut expected = vec![1, 5];
    expected.extend([0; 15]);
    expected.extend([1, 0x11, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 2, 0x22, 0, 0, 0, 0, 0, 0, 0, 1, 0x11, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([2, 7, 1, 4, 0xac, 2, 1, 2, 1, 2, 4, 1, 0x99, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 9]);
    expected.extend(b"host:7000");
    crate::wire::put_checksum(&[], &mut expected, 0);
    assert_eq!(membership.encode(), expected);
    assert_eq!(Membership::decode(&expected).unwrap(), membership);
    assert_eq!(membership.digest(), GOLDEN_DIGEST);
}
/// Members of different builds compare it: this figure may never change.
const GOLDEN_DIGEST: u64 = 4366683985714106232;

#[test]
fn whatever_is_wrong_with_the_bytes_is_named() {
    let mut membership = Membership::founding(CLUSTER, Layouts::founded(layout(1, 0x11)));
    [1, 2].iter().for_each(|&node| {
        membership.take(&joining(node)).unwrap();
    });
    let bytes = membership.encode();
    let decode = |bytes: &[u8]| Membership::decode(bytes).unwrap_err();
    assert_eq!(decode(&[]), FormatError::Truncated);
    assert_eq!(decode(&[2, 0]), FormatError::Version(2));
    for at in 1..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(decode(&damaged), FormatError::Checksum);
    }
    let body = &bytes[..bytes.len() - 4];
    let sealed = |body: &[u8]| {
        let mut bytes = body.to_vec();
        crate::wire::put_checksum(&[], &mut bytes, 0);
        bytes
    };
    for end in 1..body.len() {
        assert_eq!(decode(&sealed(&body[..end])), FormatError::Truncated, "{end} bytes");
    }
    assert_eq!(decode(&sealed(&[body, &[0]].concat())), FormatError::Trailing);
    // After format, cluster, decided layout, no proposals, two records: the first node, its incarnation and phase.
    let with = |at: usize, byte: u8| {
        let mut body = body.to_vec();
        body[at] = byte;
        sealed(&body)
    };
    assert_eq!(body[26..31], [0, 2, 1, 1, 1]);
    assert_eq!(decode(&with(28, 2)), FormatError::Content("nodes ascend"));
    assert_eq!(decode(&with(29, 0)), FormatError::Content("a record that can't be"));
    assert_eq!(decode(&with(30, 0)), FormatError::Content("a phase"));
    assert_eq!(decode(&with(30, 5)), FormatError::Content("a phase"));
}

/// What a peer may send.
mod hostile {
    use super::*;
    use gossip::Said;

    fn said() -> Said {
        Said { decided: layout(1, 1), proposed: vec![], records: vec![], wanted: vec![], known: vec![], left: 1 }
    }

    fn read(said: &Said) -> Result<Gossip, String> {
        let bytes = bincode::serde::encode_to_vec(said, bincode::config::standard()).unwrap();
        let read = bincode::serde::decode_from_slice::<Gossip, _>(&bytes, bincode::config::standard());
        read.map(|(gossip, _)| gossip).map_err(|error| error.to_string())
    }

    fn check(said: &Said, expected: &str) {
        let error = read(said).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    fn range(first: u64, last: u64) -> Known {
        Known::Range { first: NodeId(first), last: NodeId(last), digest: 0 }
    }

    fn listed(first: u64, last: u64, nodes: &[u64]) -> Known {
        let hashes = nodes.iter().map(|&node| (NodeId(node), 0)).collect();
        Known::Listed { first: NodeId(first), last: NodeId(last), hashes }
    }

    #[test]
    fn what_is_within_bounds_comes_in() {
        let records = (0..Gossip::RECORDS_MAX as u64).map(joining).collect();
        let known = (0..Gossip::RANGES_MAX as u64).map(|at| range(at * 2, at * 2 + 1)).collect();
        let wanted = vec![NodeId(1); Gossip::RECORDS_MAX];
        let full = Said { records, wanted, known, left: Gossip::STEPS, ..said() };
        assert_eq!(read(&full), Ok(Gossip(full)));
        let nodes: Vec<_> = (10..10 + Gossip::LISTED_MAX as u64).collect();
        for known in [vec![Known::All(1)], vec![listed(10, 73, &nodes), listed(74, u64::MAX, &[u64::MAX])]] {
            let said = Said { known, ..said() };
            assert_eq!(read(&said), Ok(Gossip(said)));
        }
    }

    #[test]
    fn lists_that_are_too_long_are_refused() {
        let proposed = (2..19).map(|version| layout(version, 0)).collect();
        check(&Said { proposed, ..said() }, "too many layouts");
        check(&Said { records: vec![joining(1); Gossip::RECORDS_MAX + 1], ..said() }, "too many records");
        check(&Said { wanted: vec![NodeId(1); Gossip::RECORDS_MAX + 1], ..said() }, "too many records");
        let known = (0..=Gossip::RANGES_MAX as u64).map(|at| range(at, at)).collect();
        check(&Said { known, ..said() }, "too many ranges");
        check(&Said { left: Gossip::STEPS + 1, ..said() }, "too many answers");
    }

    #[test]
    fn ranges_that_would_be_looked_at_twice_are_refused() {
        for known in [
            vec![range(0, 5), range(5, 9)],
            vec![range(6, 9), range(0, 5)],
            vec![Known::All(1), Known::All(1)],
            vec![Known::All(1), range(1, 2)],
        ] {
            check(&Said { known, ..said() }, "overlap");
        }
        check(&Said { known: vec![range(5, 4)], ..said() }, "ends before it begins");
        let long: Vec<_> = (0..=Gossip::LISTED_MAX as u64).collect();
        for nodes in [&long[..], &[3, 2], &[2, 2], &[101]] {
            check(&Said { known: vec![listed(0, 100, nodes)], ..said() }, "a list");
        }
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let with = |change: &dyn Fn(&mut MemberRecord)| {
            let mut record = joining(1);
            change(&mut record);
            Said { records: vec![record], ..said() }
        };
        let standing =
            |change: &dyn Fn(&mut record::Standing)| with(&|record| change(record.standing.as_mut().unwrap()));
        check(&with(&|record| record.incarnation = 0), "out of range");
        check(&with(&|record| record.incarnation = MemberRecord::NUMBER_MAX + 1), "out of range");
        check(&with(&|record| record.phase = Phase::Removed), "doesn't fit the phase");
        check(&with(&|record| record.standing = None), "doesn't fit the phase");
        check(&standing(&|standing| (standing.seat.weight, standing.seat.revision) = (0, 1)), "weight zero");
        check(&standing(&|standing| standing.seat.revision = u64::MAX), "out of range");
        check(&standing(&|standing| standing.presence.ordinal = 0), "out of range");
        check(&standing(&|standing| standing.presence.ordinal = u64::MAX), "out of range");
        check(&standing(&|standing| standing.presence.protocols.lowest = 3), "protocol version");
        check(&standing(&|standing| standing.presence.address = Bytes::from(vec![0; 264])), "264 bytes");
    }

    /// A phase that doesn't exist, in the middle of a message.
    #[test]
    fn a_phase_that_does_not_exist_is_refused() {
        type Fields = (u64, u64, u32, Option<u64>);
        let bytes = bincode::serde::encode_to_vec::<Fields, _>((1, 1, 4, None), bincode::config::standard()).unwrap();
        let read = bincode::serde::decode_from_slice::<MemberRecord, _>(&bytes, bincode::config::standard());
        assert!(read.is_err());
        let bytes = bincode::serde::encode_to_vec::<Fields, _>((1, 1, 3, None), bincode::config::standard()).unwrap();
        let read = bincode::serde::decode_from_slice::<MemberRecord, _>(&bytes, bincode::config::standard());
        assert_eq!(read.unwrap().0, joining(1).advanced(Phase::Removed).unwrap());
    }

    #[test]
    fn a_list_that_claims_to_be_long_takes_no_memory() {
        // Layout id, no proposals, and 2^60 records that don't come.
        let mut bytes = vec![1, 1, 0, 253];
        bytes.extend((1_u64 << 60).to_le_bytes());
        let read = bincode::serde::decode_from_slice::<Gossip, _>(&bytes, bincode::config::standard());
        assert!(read.is_err());
        let unit = serde::de::value::UnitDeserializer::<serde::de::value::Error>::new();
        assert!(Gossip::deserialize(unit).is_err());
    }
}
