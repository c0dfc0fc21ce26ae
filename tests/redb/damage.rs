//! A file that was damaged while its node was away: named, set aside, and filled again by the other owners.

use quorate::storage::mark_set_back;

use super::*;

/// Garbles some bytes on each page behind the header.
fn garble(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..32].fill(0x5a);
    }
    fs::write(file, bytes).unwrap();
}

fn a_damaged_node_comes_back(gossip: bool) {
    let root = Temporary::new();
    let mut three = Three::start(&root.0, gossip);
    let mut expected = BTreeMap::new();
    fill(&three, &[1, 2, 3], 0..60, "first", &mut expected);
    three.kill(3);
    fill(&three, &[1, 2], 40..80, "second", &mut expected);
    let file = three.path(3).join("shard-0.redb");
    garble(&file);
    match three.open(3) {
        Err(DirectoryError::Damaged { path, shard: 0, what }) => assert!(path == file && !what.is_empty()),
        other => panic!("{other:?}"),
    }
    let garbled = fs::read(&file).unwrap();
    let moved = three.directory(3).unwrap().set_aside(0).unwrap().expect("it was there");
    assert_eq!(fs::read(&moved).unwrap(), garbled, "what was damaged is kept");
    three.open(3).unwrap();
    if gossip {
        three.renew(1);
    }
    // Beside it, and again without any one of the three.
    three.shows(3, &expected);
    eventually("nothing is owed", || three.is_healed());
    three.every_two_show(&expected);
    // The same again from disk, and a second file to set aside gets a name of its own.
    three.kill(3);
    garble(&file);
    assert!(matches!(three.open(3), Err(DirectoryError::Damaged { .. })));
    let second = three.directory(3).unwrap().set_aside(0).unwrap().unwrap();
    assert!(second != moved && moved.exists());
}

/// A layout names one store of a node: the shards that are sound become the new one, too, and keep what they have.
#[test]
fn where_layouts_change_a_node_of_several_shards_is_renewed_as_a_whole() {
    let root = Temporary::new();
    let mut three = Three::start_with(&root.0, true, 2);
    let mut expected = BTreeMap::new();
    fill(&three, &[1, 2, 3], 0..60, "first", &mut expected);
    three.kill(3);
    garble(&three.path(3).join("shard-1.redb"));
    assert!(matches!(three.open(3), Err(DirectoryError::Damaged { shard: 1, .. })));
    three.directory(3).unwrap().set_aside(1).unwrap();
    three.open_after(3, |storages| mark_set_back(&mut storages[0]).unwrap()).unwrap();
    three.renew(2);
    three.shows(3, &expected);
    eventually("nothing is owed", || three.is_healed());
    three.every_two_show(&expected);
}

#[test]
fn damage_is_named_and_healed_by_the_other_owners() {
    a_damaged_node_comes_back(false);
}

#[test]
fn where_layouts_change_a_layout_names_the_new_store() {
    a_damaged_node_comes_back(true);
}
