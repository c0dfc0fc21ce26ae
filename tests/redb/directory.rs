//! Who may open a data directory, and as what.

use quorate::storage::{Batch, Space, Storage};

use super::*;

fn refused(path: &Path, node: u64, shards: u32) -> DirectoryError {
    DataDirectory::open(path, NodeId(node), shards, &options()).expect_err("it is refused")
}

#[test]
fn one_process_has_it_open_and_says_which() {
    let root = Temporary::new();
    let directory = DataDirectory::open(&root.0, NodeId(1), 1, &options()).unwrap();
    assert!(directory.is_new());
    let in_use = |error| matches!(error, DirectoryError::InUse { pid: Some(pid), .. } if pid == std::process::id());
    assert!(in_use(refused(&root.0, 1, 1)));
    // Its storages hold it, too.
    let storages = directory.storages().unwrap();
    assert!(matches!(directory.storages(), Err(DirectoryError::InUse { .. })), "nor can a file be open twice");
    drop(directory);
    assert!(in_use(refused(&root.0, 1, 1)));
    drop(storages);
    assert!(!DataDirectory::open(&root.0, NodeId(1), 1, &options()).unwrap().is_new());
}

#[test]
fn it_belongs_to_one_node_and_keeps_its_number_of_shards() {
    let root = Temporary::new();
    let directory = DataDirectory::open(&root.0, NodeId(7), 3, &options()).unwrap();
    assert_eq!(directory.storages().unwrap().len(), 3);
    drop(directory);
    match refused(&root.0, 8, 3) {
        DirectoryError::Node { found, expected, .. } => assert_eq!((found, expected), (NodeId(7), NodeId(8))),
        other => panic!("{other}"),
    }
    match refused(&root.0, 7, 2) {
        DirectoryError::Shards { found, expected, .. } => assert_eq!((found, expected), (3, 2)),
        other => panic!("{other}"),
    }
}

/// Disks hold these bytes: what is read here must be read for ever.
#[test]
fn its_label_is_what_it_always_was_and_a_newer_one_is_refused() {
    let root = Temporary::new();
    drop(DataDirectory::open(&root.0, NodeId(7), 3, &options()).unwrap());
    let label = root.join("label");
    let text = fs::read_to_string(&label).unwrap();
    assert_eq!(text, "quorate data directory\nformat 1\nnode 7\nshards 3\nchecksum 9aadc663\n");
    fs::write(&label, "quorate data directory\nformat 2\nsomething else\n").unwrap();
    let newer = refused(&root.0, 7, 3);
    assert!(matches!(newer, DirectoryError::Newer { found: 2, known: 1, .. }), "{newer}");
    for at in 0..text.len() {
        let mut garbled = text.clone().into_bytes();
        garbled[at] ^= 1;
        fs::write(&label, garbled).unwrap();
        let error = refused(&root.0, 7, 3);
        let is_named = matches!(error, DirectoryError::Garbled { .. } | DirectoryError::Newer { .. });
        assert!(is_named, "byte {at}: {error}");
    }
}

#[test]
fn a_directory_without_a_label_that_holds_files_makes_no_founder() {
    let root = Temporary::new();
    drop(DataDirectory::open(&root.0, NodeId(1), 1, &options()).unwrap());
    fs::remove_file(root.join("label")).unwrap();
    let directory = DataDirectory::open(&root.0, NodeId(1), 1, &options()).unwrap();
    assert!(!directory.is_new() && directory.storages().is_ok());
}

#[test]
fn a_file_that_is_missing_or_empty_is_no_new_one() {
    let root = Temporary::new();
    let directory = DataDirectory::open(&root.0, NodeId(1), 2, &options()).unwrap();
    fs::write(root.join("shard-0.redb"), b"").unwrap();
    assert!(matches!(directory.storages(), Err(DirectoryError::Damaged { shard: 0, .. })));
    fs::remove_file(root.join("shard-0.redb")).unwrap();
    assert!(matches!(directory.storages(), Err(DirectoryError::Missing { shard: 0, .. })));
    assert_eq!(directory.set_aside(0).unwrap(), None);
    let storages = directory.storages().unwrap();
    assert!(matches!(directory.set_aside(1), Err(DirectoryError::InUse { .. })), "it is open");
    drop(storages);
}

#[test]
fn what_was_synced_is_there_after_a_restart_shard_by_shard() {
    let root = Temporary::new();
    let write = |storage: &mut RedbStorage, value: &[u8]| {
        let mut batch = Batch::new();
        batch.put(Space::Dots, b"k", value);
        storage.write(&batch).unwrap();
        storage.sync().unwrap();
    };
    let open = || DataDirectory::open(&root.0, NodeId(1), 2, &options()).unwrap().storages().unwrap();
    let mut storages = open();
    write(&mut storages[0], b"first");
    write(&mut storages[1], b"second");
    drop(storages);
    let found: Vec<_> = open().iter().map(|storage| storage.get(Space::Dots, b"k").unwrap().unwrap()).collect();
    assert_eq!(found, ["first", "second"]);
}
