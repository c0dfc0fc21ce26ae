//! Tests of layouts that come from others: the stores that they name, who is gone, which ballot a partition has.

use super::*;
use crate::bytes::Bytes;
use crate::ids::StoreId;

/// The third of three layouts: p0 has the second for its ballot, p1 the first, and p2 the third, which names another
/// store for n300 and declares the old one gone.
pub(super) fn grown() -> Layout {
    let first = small();
    let owners = vec![nodes(&[1, 2]), nodes(&[1, 2]), nodes(&[300, 2])];
    let second = first.next(first.members().to_vec(), owners).unwrap();
    let renewed = Member::new(NodeId(300)).zone(ZoneId(2)).weight(5).store(STORE);
    let third = plan_change(&second, &Change::of(&second).gone(renewed.node).join(renewed)).unwrap().layout;
    assert_eq!(all(&third).map(|p| third.ballot(p)).collect::<Vec<_>>(), [second.id(), first.id(), third.id()]);
    third
}
const STORE: StoreId = StoreId(0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110);

// ---- a child as a host wants it ----

#[test]
fn a_child_has_the_ballots_of_what_it_left_as_it_was() {
    let first = small();
    let ballots = |layout: &Layout| -> Vec<u64> { all(layout).map(|p| layout.ballot(p).version).collect() };
    assert!(all(&first).all(|p| first.ballot(p) == first.id()));
    let rows = |rows: [[u64; 2]; 3]| rows.iter().map(|row| nodes(row)).collect::<Vec<_>>();
    let members = first.members().to_vec();

    // Another order of owners is no change, nor is another zone, another weight or a member without partitions.
    let mut others = members.clone();
    others.push(Member::new(NodeId(9)));
    (others[0].zone, others[1].weight) = (ZoneId(7), 70);
    let second = first.next(others.clone(), rows([[300, 1], [2, 1], [2, 300]])).unwrap();
    assert_eq!((second.parent(), second.id().version, second.n()), (first.id(), 2, 2));
    assert!(all(&second).all(|p| second.ballot(p) == first.id()));
    assert_ne!(second.owners(PartitionId(0)), first.owners(PartitionId(0)));

    let third = second.next(others.clone(), rows([[300, 1], [2, 9], [2, 300]])).unwrap();
    assert_eq!(ballots(&third), [1, 3, 1]);
    // Another store is another owner, wherever it owns anything.
    let store = |node: u64, others: &[Member]| -> Vec<Member> {
        others.iter().map(|&member| if member.node == NodeId(node) { member.store(STORE) } else { member }).collect()
    };
    let fourth = third.next(store(300, &others), rows([[300, 1], [2, 9], [2, 300]])).unwrap();
    assert_eq!(ballots(&fourth), [4, 3, 4]);
    // The owners of once are not those of now: what is as it was two layouts ago has changed twice.
    let fifth = fourth.next(others, rows([[300, 1], [2, 9], [2, 300]])).unwrap();
    assert_eq!(ballots(&fifth), [5, 3, 5]);
    let sixth = fifth.next(members, rows([[300, 1], [2, 1], [2, 300]])).unwrap();
    assert_eq!((ballots(&sixth), sixth.parent()), (vec![5, 6, 5], fifth.id()));
    for layout in [second, third, fourth, fifth, sixth] {
        assert_eq!(Layout::decode(&layout.encode()), Ok(layout));
    }
}

#[test]
fn next_checks_everything() {
    let grown = grown();
    let members = || grown.members().to_vec();
    let rows = || all(&grown).map(|p| grown.owners(p).to_vec()).collect::<Vec<_>>();
    let refused = |members, owners| grown.next(members, owners).unwrap_err();
    let p = PartitionId(1);
    assert_eq!(refused(members(), rows()[1..].to_vec()), LayoutError::PartitionCount { partitions: 2, expected: 3 });
    assert_eq!(refused(members(), vec![]), LayoutError::PartitionCount { partitions: 0, expected: 3 });
    let with = |row: &[u64]| {
        let mut rows = rows();
        rows[1] = nodes(row);
        rows
    };
    assert_eq!(refused(members(), with(&[1])), LayoutError::OwnerCount { partition: p, owners: 1, n: 2 });
    assert_eq!(refused(members(), with(&[1, 1])), LayoutError::RepeatedOwner { partition: p, node: NodeId(1) });
    assert_eq!(refused(members(), with(&[1, 3])), LayoutError::UnknownOwner { partition: p, node: NodeId(3) });
    let twice = [members(), members()].concat();
    assert_eq!(refused(twice, rows()), LayoutError::DuplicateMember { node: NodeId(1) });
    let mut back = members();
    back[2].store = None;
    assert_eq!(refused(back, rows()), LayoutError::Gone { node: NodeId(300) });
    // Whom this layout declares gone is gone in the child, and with no other store than that.
    let next = grown.next(members(), rows()).unwrap();
    assert_eq!(next.gone(), [(NodeId(300), None)]);
    assert!(next.is_gone(NodeId(300), None) && !next.is_gone(NodeId(300), Some(STORE)));
    assert!(!next.is_gone(NodeId(1), None));

    let mut last = grown.to_content();
    (last.version, last.parent.version) = (u64::MAX, u64::MAX - 1);
    last.earlier.clear();
    last.ballots.fill(0);
    let last = Layout::from_content(last).unwrap();
    assert_eq!(last.next(members(), rows()), Err(LayoutError::LastVersion));
}

#[test]
#[should_panic(expected = "p3 of 3 partitions")]
fn a_partition_that_is_not_there_has_no_ballot() {
    let _ = grown().ballot(PartitionId(3));
}

// ---- bytes ----

#[test]
fn golden_bytes_of_a_child() {
    let layout = grown();
    let mut expected = vec![2, 3, 2];
    expected.extend(layout.parent().hash.to_le_bytes());
    expected.push(2);
    expected.extend([3, 1, 0, 1, 0, 2, 1, 1, 0, 0xac, 2, 2, 5, 1]);
    expected.extend(0x10..=0x1f);
    expected.extend([1, 0xac, 2, 0]);
    expected.extend([2, 1]);
    expected.extend(GOLDEN_HASH.to_le_bytes());
    expected.push(2);
    expected.extend(layout.parent().hash.to_le_bytes());
    expected.extend([3, 2, 0, 1, 1, 0, 1, 0, 2, 1]);
    expected.extend(GOLDEN_HASH_OF_A_CHILD.to_le_bytes());
    assert_eq!(layout.encode(), expected, "hash {:#x}", layout.id().hash);
    assert_eq!(Layout::decode(&expected), Ok(layout));
}
const GOLDEN_HASH_OF_A_CHILD: u64 = 0xa238_0a67_7405_c251;

/// A layout in a message is its bytes, with their length in front; what doesn't decode is refused.
#[test]
fn a_layout_travels_as_its_bytes() {
    let config = bincode::config::standard();
    for layout in [small(), grown()] {
        let sent = bincode::serde::encode_to_vec(&layout, config).unwrap();
        assert_eq!(sent, bincode::serde::encode_to_vec(Bytes::from(layout.encode()), config).unwrap());
        let (received, length): (Layout, usize) = bincode::serde::decode_from_slice(&sent, config).unwrap();
        assert_eq!((received, length), (layout, sent.len()));
        for at in 1..sent.len() {
            let mut damaged = sent.clone();
            damaged[at] ^= 1;
            assert!(bincode::serde::decode_from_slice::<Layout, _>(&damaged, config).is_err(), "at {at}");
        }
    }
}

#[test]
fn what_a_forged_child_breaks_is_named() {
    let decode = |change: &dyn Fn(&mut Content)| {
        let mut content = grown().to_content();
        change(&mut content);
        Layout::decode(&sealed(codec::content(&content))).map(|layout| layout.id().version)
    };
    let broken = |rule| Err(FormatError::Content(rule));
    assert_eq!(decode(&|_| {}), Ok(3));
    let owner = |node| (NodeId(node), None);
    // Owners of any name may be gone, with any stores, but those who are members.
    assert_eq!(decode(&|content| content.gone = vec![owner(7), (NodeId(7), Some(STORE)), owner(300)]), Ok(3));
    assert_eq!(decode(&|content| content.gone = vec![]), Ok(3));
    assert_eq!(decode(&|content| content.gone = vec![owner(2)]), broken("a member is gone"));
    assert_eq!(decode(&|content| content.gone = vec![(NodeId(300), Some(STORE))]), broken("a member is gone"));
    for gone in [vec![owner(300), owner(7)], vec![owner(7), owner(7)], vec![(NodeId(7), Some(STORE)), owner(7)]] {
        assert_eq!(decode(&|content| content.gone.clone_from(&gone)), broken("gone owners ascend"));
    }

    let older = broken("an earlier layout is the parent or older");
    let ascend = broken("earlier layouts ascend");
    assert_eq!(decode(&|content| content.earlier[0].hash ^= 1), Ok(3), "who it was, its own bytes say");
    assert_eq!(decode(&|content| content.earlier[1].hash ^= 1), older);
    assert_eq!(decode(&|content| content.earlier[1].version = 3), older);
    assert_eq!(decode(&|content| content.earlier.swap(0, 1)), ascend);
    assert_eq!(decode(&|content| content.earlier[1] = content.earlier[0]), ascend);
    assert_eq!(decode(&|content| content.earlier[0].version = 0), ascend, "there is no layout of version 0");
    assert_eq!(decode(&|content| content.earlier[0].version = 2), older, "a rival of the parent");
    let after = |hash| LayoutId { version: 8, hash };
    let of = |earlier: [LayoutId; 2]| decode(&|c| (c.version, c.parent, c.earlier) = (9, after(2), earlier.to_vec()));
    assert_eq!(of([LayoutId { version: 7, hash: 9 }, after(2)]), Ok(9));
    assert_eq!(of([7, 7].map(|version| LayoutId { version, hash: version })), ascend);
    // Two of one version are rivals: neither comes from the other.
    assert_eq!(of([1, 2].map(|hash| LayoutId { version: 7, hash })), ascend);
    assert_eq!(decode(&|content| (content.version, content.parent) = (1, content::NO_PARENT)), older);

    assert_eq!(decode(&|content| content.ballots[1] = 3), broken("a ballot is a layout"));
    assert_eq!(decode(&|content| content.ballots[1] = u32::MAX), broken("a ballot is a layout"));
    let unused = broken("an earlier layout is a ballot");
    assert_eq!(decode(&|content| content.ballots[1] = 2), unused);
    assert_eq!(decode(&|content| content.ballots.fill(0)), unused);
    let mut unknown = grown().encode();
    unknown.truncate(unknown.len() - 8);
    assert_eq!(unknown[25], 1);
    unknown[25] = 2;
    let rule = "a store is named or isn't";
    assert_eq!(Layout::decode(&sealed(unknown)), Err(FormatError::Content(rule)));
}

proptest! {
    /// Whatever is said of stores, gone owners and ballots has one spelling, and is read as it was said.
    #[test]
    fn any_child_is_read_as_it_was_written(
        stores in prop::collection::vec(any::<Option<u128>>(), 4),
        gone in prop::collection::btree_set((0_u64..400, any::<Option<u128>>()), 0..5),
        versions in prop::collection::btree_map(1_u64..1 << 40, any::<u64>(), 0..6),
        drawn in prop::collection::vec(any::<prop::sample::Index>(), 6..40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
    ) {
        let named = |store: Option<u128>| store.map(StoreId);
        let members: Vec<Member> =
            (0..).zip(&stores).map(|(node, &store)| Member { store: named(store), ..Member::new(NodeId(node * 100)) }).collect();
        let gone: Vec<_> = gone.into_iter().map(|(node, store)| (NodeId(node), named(store))).collect();
        let gone: Vec<_> = gone.into_iter().filter(|gone| members.iter().all(|m| (m.node, m.store) != *gone)).collect();
        let earlier: Vec<LayoutId> = versions.into_iter().map(|(version, hash)| LayoutId { version, hash }).collect();
        let parent = earlier.last().copied().unwrap_or(LayoutId { version: 5, hash: 5 });
        // Each of them once at least.
        let used = earlier.len() as u32;
        let ballots: Vec<u32> =
            (1..).zip(&drawn).map(|(at, drawn)| if at <= used { at } else { drawn.index(earlier.len() + 1) as u32 }).collect();
        let owners = drawn.iter().flat_map(|drawn| [drawn.index(4) as u32, (drawn.index(4) as u32 + 1) % 4]).collect();
        let content = Content { version: parent.version + 1, parent, n: 2, members, gone, earlier, ballots, owners };
        let layout = Layout::from_content(content).unwrap();
        let bytes = layout.encode();
        prop_assert_eq!(Layout::decode(&bytes), Ok(layout.clone()));
        for (p, drawn) in all(&layout).zip(layout.to_content().ballots) {
            let ballot = if drawn == 0 { layout.id() } else { layout.to_content().earlier[drawn as usize - 1] };
            prop_assert_eq!(layout.ballot(p), ballot);
        }
        let mut body = bytes[..bytes.len() - 8].to_vec();
        for (at, bit) in flips {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        let forged = sealed(body);
        if let Ok(layout) = Layout::decode(&forged) {
            prop_assert_eq!(layout.encode(), forged);
        }
    }
}
