//! Storages that outlive their process: ordered bytes in files, by [redb](https://docs.rs/redb), and the directory that
//! holds those of one node.
//!
//! A [`DataDirectory`] belongs to one node, and to one process at a time. It holds one file for each data shard;
//! [`DataDirectory::storages`] opens them as [`RedbStorage`]s, which a [`Server`](crate::Server) or a
//! [`Node`](crate::Node) takes.
//!
//! ```
//! use quorate::NodeId;
//! use quorate::durable::{DataDirectory, Options};
//! use quorate::storage::{Batch, Space, Storage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("quorate-doc-{}", std::process::id()));
//! let options = Options { reserve: 1 << 20, ..Options::default() };
//! let directory = DataDirectory::open(&path, NodeId(1), 1, &options)?;
//! let mut storage = directory.storages()?.remove(0);
//! let mut batch = Batch::new();
//! batch.put(Space::Objects, b"key", b"value");
//! storage.write(&batch)?;
//! storage.sync()?;
//! drop((storage, directory));
//!
//! let directory = DataDirectory::open(&path, NodeId(1), 1, &options)?;
//! let storage = directory.storages()?.remove(0);
//! assert_eq!(storage.get(Space::Objects, b"key")?.as_deref(), Some(&b"value"[..]));
//! # drop((storage, directory));
//! # std::fs::remove_dir_all(path)?;
//! # Ok(())
//! # }
//! ```
//!
//! # When a file is damaged
//!
//! Opening a file verifies the checksums of all its pages. One that doesn't check is
//! [`DirectoryError::Damaged`], with its name, and is left as it is. [`DataDirectory::set_aside`] renames it and begins
//! an empty one in its place, which the node's peers fill: open the node with [`Setup::founding`] false. Where layouts
//! change ([`Setup::elastic`]) a layout must name the new store first ([`Change::renew`]; with gossip it is staged by
//! itself), and a node of several shards needs one new store for all of them: call
//! [`mark_set_back`](crate::storage::mark_set_back) on the shards that are sound, which keep what they have.
//!
//! What rots while a file is open is found by the checksums of records, by the node's own scrub
//! ([`Timing::scrub`](crate::config::Timing::scrub)), or by redb: then it is an error of that read, other replicas are
//! asked, and the next open tells. redb may panic on a page that is garbled. Such a panic is caught and made an error;
//! a program built with `panic = "abort"` ends instead.
//!
//! # Backups
//!
//! [`DataDirectory::back_up`] copies what is durable while the node runs, and [`DataDirectory::restore`] makes a data
//! directory of that. A backup is older than what its node has promised since, so it is marked: what is restored comes
//! back as a new store, which has what it has, claims nothing, and counts in no read before it has seen what the other
//! owners have. A file copied by hand has no such mark, and must never be put in the place of a newer one.
//!
//! [`Setup::founding`]: crate::Setup::founding
//! [`Setup::elastic`]: crate::Setup::elastic
//! [`Change::renew`]: crate::ring::Change::renew

mod backup;
mod directory;
mod error;
mod overlay;
mod room;
mod storage;

pub use backup::Progress;
pub use directory::{DataDirectory, Options};
pub use error::{BackupError, DirectoryError};
pub use storage::RedbStorage;
