//! Backups of running nodes, and what comes of them when they are put back.

use std::ops::ControlFlow;

use quorate::durable::{BackupError, Progress};

use super::*;

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A node has lost its disk, and comes back with a backup that is behind.
fn a_restored_node_comes_back(gossip: bool) {
    let root = Temporary::new();
    let mut three = Three::start(&root.0, gossip);
    let mut expected = BTreeMap::new();
    fill(&three, &[1, 2, 3], 0..50, "first", &mut expected);
    eventually("nothing is owed", || three.is_healed());
    let (backup, mut told) = (root.join("backup"), Vec::new());
    let mut note = |progress: Progress| {
        told.push(progress);
        ControlFlow::Continue(())
    };
    three.nodes[&3].directory.back_up(&backup, &mut note).unwrap();
    let last = told.last().unwrap();
    assert!(last.copied == last.total && last.total >= 50, "{last:?}");
    // Overwritten, deleted and new since.
    fill(&three, &[1, 2, 3], 30..80, "second", &mut expected);
    for number in 0..10 {
        let (bucket, key) = (three.bucket(1), format!("key {number}"));
        let seen = bucket.get(key.as_str()).wait().unwrap();
        let _ = bucket.delete(key.as_str(), &seen.context).wait().unwrap();
        expected.remove(&key);
    }
    three.kill(3);
    fs::remove_dir_all(three.path(3)).unwrap();
    DataDirectory::restore(&backup, three.path(3), &mut go_on).unwrap();
    three.open(3).unwrap();
    assert!(gossip || three.is_refilling(3), "it does not take itself for whole");
    if gossip {
        three.renew(2);
    }
    // From the first moment on: what is answered is what was acknowledged last.
    for node in [3, 1, 2] {
        three.shows(node, &expected);
    }
    eventually("nothing is owed", || three.is_healed());
    three.every_two_show(&expected);
    for number in 0..10 {
        let key = format!("key {number}");
        assert_eq!(three.get(3, &key).as_deref(), Some(&[][..]), "{key} was deleted after the backup");
    }
}

#[test]
fn a_node_restored_from_a_backup_has_all_that_was_acknowledged_since() {
    a_restored_node_comes_back(false);
}

#[test]
fn where_layouts_change_a_restored_node_is_a_new_store() {
    a_restored_node_comes_back(true);
}

/// What was acknowledged by the second and the third, and the third is set back: the first and the third together know
/// nothing of it, and R + W > N.
fn read_without_the_second(put_back: impl FnOnce(&Path, &Path)) -> Option<Vec<String>> {
    let root = Temporary::new();
    let mut three = Three::start(&root.0, false);
    three.put(1, "k", "old");
    eventually("nothing is owed", || three.is_healed());
    three.nodes[&3].directory.back_up(root.join("backup"), &mut go_on).unwrap();
    three.kill(3);
    let copy = root.join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(three.path(3)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    three.open(3).unwrap();
    three.network.isolate(NodeId(1), true);
    three.put(2, "k", "new");
    three.kill(3);
    three.kill(2);
    fs::remove_dir_all(three.path(3)).unwrap();
    put_back(&root.0, &three.path(3));
    three.open(3).unwrap();
    three.network.isolate(NodeId(1), false);
    let mut found = None;
    // Whatever they can do to agree they have done by then.
    for _ in 0..4 {
        found = three.get(1, "k");
        if found.is_some() {
            break;
        }
    }
    three.open(2).unwrap();
    if found.is_none() {
        three.shows(1, &BTreeMap::from([("k".into(), "new".into())]));
        three.shows(3, &BTreeMap::from([("k".into(), "new".into())]));
    }
    found
}

#[test]
fn a_restored_node_does_not_help_a_read_to_miss_what_it_had_acknowledged() {
    let restored = read_without_the_second(|root, to| {
        DataDirectory::restore(root.join("backup"), to, &mut go_on).unwrap();
    });
    assert_eq!(restored, None, "refused until the second is back");
}

/// Why files are not copied by hand; and that the test above would notice.
#[test]
fn an_older_file_put_back_by_hand_does() {
    let copied = read_without_the_second(|root, to| fs::rename(root.join("copy"), to).unwrap());
    assert_eq!(copied.as_deref(), Some(&["old".to_string()][..]));
}

fn a_lost_cluster_comes_back(gossip: bool) {
    let root = Temporary::new();
    let mut three = Three::start(&root.0, gossip);
    let mut expected = BTreeMap::new();
    fill(&three, &[1, 2, 3], 0..40, "first", &mut expected);
    for node in 1..=3 {
        three.nodes[&node].directory.back_up(root.join(format!("backup {node}")), &mut go_on).unwrap();
    }
    three.put(1, "key 0", "lost");
    (1..=3).for_each(|node| three.kill(node));
    for node in 1..=3 {
        fs::remove_dir_all(three.path(node)).unwrap();
        DataDirectory::restore(root.join(format!("backup {node}")), three.path(node), &mut go_on).unwrap();
    }
    (1..=3).for_each(|node| three.open(node).unwrap());
    if gossip {
        three.renew_all(1);
    }
    (1..=3).for_each(|node| three.shows(node, &expected));
    eventually("nothing is owed", || three.is_healed());
    three.every_two_show(&expected);
}

#[test]
fn a_cluster_that_has_lost_everything_comes_back_from_the_backups_of_all_its_nodes() {
    a_lost_cluster_comes_back(false);
}

#[test]
fn where_layouts_change_too() {
    a_lost_cluster_comes_back(true);
}

#[test]
fn a_backup_is_complete_or_none_and_writes_into_nothing_that_is_there() {
    let root = Temporary::new();
    let three = Three::start(&root.0, false);
    let directory = &three.nodes[&1].directory;
    let backup = root.join("backup");
    let broken = directory.back_up(&backup, &mut |_| ControlFlow::Break(()));
    assert!(matches!(broken, Err(BackupError::BrokenOff)), "{broken:?}");
    let restored = DataDirectory::restore(&backup, root.join("back"), &mut go_on);
    assert!(matches!(restored, Err(BackupError::Directory(DirectoryError::Garbled { .. }))), "{restored:?}");
    let again = directory.back_up(&backup, &mut go_on);
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
    let complete = root.join("complete");
    directory.back_up(&complete, &mut go_on).unwrap();
    let opened = DataDirectory::open(&complete, NodeId(1), 1, &options());
    assert!(matches!(opened, Err(DirectoryError::Garbled { .. })), "a backup is no data directory");
    let over = DataDirectory::restore(&complete, three.path(2), &mut go_on);
    assert!(matches!(over, Err(BackupError::NotEmpty(_))), "{over:?}");
    // A backup that has rotted is noticed when it is needed.
    let file = complete.join("shard-0.redb");
    let mut bytes = fs::read(&file).unwrap();
    bytes.chunks_mut(4096).skip(1).for_each(|page| page[0] ^= 0x40);
    fs::write(&file, bytes).unwrap();
    let rotten = DataDirectory::restore(&complete, root.join("rotten"), &mut go_on);
    assert!(matches!(rotten, Err(BackupError::Directory(DirectoryError::Damaged { .. }))), "{rotten:?}");
    assert!(!root.join("rotten/label").exists());
}
