//! Why a data directory, or a backup of it, could not be had.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::ids::NodeId;

/// Why a data directory could not be opened. What it holds is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system refused something. What is stored is as it was.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it open, or this one already has. Nothing was changed.
    #[error("{} is in use{}", path.display(), by(*pid))]
    InUse {
        /// The directory, or the file of a shard.
        path: PathBuf,
        /// The process that has it open, if it has said so.
        pid: Option<u32>,
    },
    /// A newer program has written it. Nothing was changed.
    #[error("{}: format {found}; this program knows none above {known}", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The format that it is in.
        found: u64,
        /// The highest format that this program knows.
        known: u64,
    },
    /// It belongs to another node. Nothing was changed.
    #[error("{} belongs to {found}, not to {expected}", path.display())]
    Node {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who was to open it.
        expected: NodeId,
    },
    /// It was made for another number of shards, which can't be changed. Nothing was changed.
    #[error("{} holds {found} shards, not {expected}", path.display())]
    Shards {
        /// The directory.
        path: PathBuf,
        /// How many it holds.
        found: u32,
        /// How many were asked for.
        expected: u32,
    },
    /// The file that says whose the directory is can't be read. Nothing was changed.
    #[error("{} is garbled: {what}", path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file of a shard is damaged. It is left as it is: [`set_aside`](super::DataDirectory::set_aside) begins an
    /// empty one in its place, which the other owners fill.
    #[error("{} (shard {shard}) is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which shard it is of.
        shard: u32,
        /// What is wrong with it.
        what: String,
    },
    /// There is no file of a shard. [`set_aside`](super::DataDirectory::set_aside) begins an empty one.
    #[error("{} (shard {shard}) is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Which shard it is of.
        shard: u32,
    },
}

impl DirectoryError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Io { path, error }
    }
}

fn by(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" by process {pid}"))
}

/// Why a backup was not made, or not restored. What it was made of is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The target holds something already. Nothing was written.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A shard isn't open, so there is nothing to be copied. The target is no backup.
    #[error("shard {0} is not open")]
    NotOpen(u32),
    /// The caller broke it off. The target is no backup, nor a data directory.
    #[error("it was broken off")]
    BrokenOff,
    /// Reading what is to be copied, or writing the copy, failed. The target is no backup, nor a data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file or directory: of the backup, or where it is to go. The target is no backup, nor a data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}
