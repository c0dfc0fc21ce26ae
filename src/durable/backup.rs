//! Copies of a running node's storages, and data directories made of them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use super::directory::{DataDirectory, Kind, Label, Options, create_file, lock, open_file, shard_file, sync_directory};
use super::error::{BackupError, DirectoryError};
use super::room::Room;
use super::storage::Committed;
use crate::error::StorageError;
use crate::storage::{Batch, Space, Storage as _, mark_set_back};

/// How far a backup, or its restoration, has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The shard that is being copied.
    pub shard: u32,
    /// Of so many.
    pub shards: u32,
    /// How much of this shard is copied: pairs of a key and a value by a backup, bytes by a restoration.
    pub copied: u64,
    /// Of so much.
    pub total: u64,
}

/// Is told how far it has come, and says whether to go on.
type Told<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// How much is copied between two reports, and held in memory meanwhile.
const SLICE: usize = 4 << 20;

impl DataDirectory {
    /// Copies all that is durable to a new directory, while the node goes on. Each shard is copied as of one instant;
    /// pages that the node replaces meanwhile stay in its file until the shard is copied.
    ///
    /// The copy is marked as one that is older than what its node has said since: see [`DataDirectory::restore`].
    ///
    /// # Errors
    /// [`BackupError`]. The target is no backup then, and [`DataDirectory::restore`] refuses it.
    pub fn back_up(
        &self,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), BackupError> {
        let (to, label) = (to.as_ref(), self.label());
        make_empty(to)?;
        for shard in 0..label.shards {
            self.back_up_shard(to, shard, label.shards, progress)?;
        }
        Label { kind: Kind::Backup, ..label }.store(to)?;
        Ok(())
    }

    fn back_up_shard(&self, to: &Path, shard: u32, shards: u32, progress: Told<'_>) -> Result<(), BackupError> {
        let database = self.database(shard).ok_or(BackupError::NotOpen(shard))?;
        let source = Committed::open(&database).map_err(|error| StorageError::Read(error.to_string()))?;
        let options = Options { cache: 2 * SLICE, ..Options::default() };
        let mut copy = create_file(&to.join(shard_file(shard)), shard, &options)?;
        let mut total = 0;
        for space in Space::ALL {
            total += source.len(space)?;
        }
        let (mut copied, mut bytes, mut batch) = (0, 0, Batch::new());
        for space in Space::ALL {
            let mut pairs = source.range(space, &[])?;
            while let Some((key, value)) = pairs.next()? {
                batch.put(space, key.value(), value.value());
                bytes += key.value().len() + value.value().len();
                copied += 1;
                if bytes >= SLICE {
                    copy.write(&batch)?;
                    copy.sync()?;
                    batch.clear();
                    bytes = 0;
                    go_on(progress, Progress { shard, shards, copied, total })?;
                }
            }
        }
        copy.write(&batch)?;
        // With the last of it: what is complete is marked.
        mark_set_back(&mut copy)?;
        go_on(progress, Progress { shard, shards, copied, total })
    }

    /// Makes a data directory of a backup, for the node that it was made of.
    ///
    /// The node comes back as with a new disk that happens to hold something: it has another
    /// [`StoreId`](crate::ids::StoreId), what it had promised counts no more, its records are taken over one by one, and
    /// it counts in no read before it has seen what the other owners have. So a backup of any age is as safe as an empty
    /// disk, and spares the network what it holds. Where layouts change, a layout must name the new store
    /// ([`Change::renew`](crate::ring::Change::renew)). With the backups of all nodes a cluster comes back that has lost
    /// all: then it has what was acknowledged before the first of them was made.
    ///
    /// The copy is verified.
    ///
    /// # Errors
    /// [`BackupError`]. The target is no data directory then; the backup is as it was.
    pub fn restore(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), BackupError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let Some(label) = Label::load(from, Kind::Backup)? else {
            let what = "there is none: the backup was not completed".into();
            return Err(DirectoryError::Garbled { path: from.join("label"), what }.into());
        };
        make_empty(to)?;
        let _lock = lock(to)?;
        for shard in 0..label.shards {
            let (source, target) = (from.join(shard_file(shard)), to.join(shard_file(shard)));
            copy_file(&source, &target, |copied, total| {
                go_on(progress, Progress { shard, shards: label.shards, copied, total })
            })?;
            let mut copy = open_file(&target, shard, Room::none(), &Options::default(), None)?;
            // It is there already, unless somebody has put another file in the place of the backup's.
            mark_set_back(&mut copy)?;
        }
        Label { kind: Kind::Data, ..label }.store(to)?;
        Ok(())
    }
}

fn go_on(progress: Told<'_>, reached: Progress) -> Result<(), BackupError> {
    if progress(reached).is_break() { Err(BackupError::BrokenOff) } else { Ok(()) }
}

fn make_empty(path: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(path).map_err(DirectoryError::io(path))?;
    let mut entries = fs::read_dir(path).map_err(DirectoryError::io(path))?;
    if entries.next().is_some() { Err(BackupError::NotEmpty(path.to_path_buf())) } else { Ok(()) }
}

fn copy_file(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(DirectoryError::io(from))?;
    let total = source.metadata().map_err(DirectoryError::io(from))?.len();
    let mut target = File::create_new(to).map_err(DirectoryError::io(to))?;
    let (mut buffer, mut copied) = (vec![0; SLICE], 0);
    loop {
        let read = source.read(&mut buffer).map_err(DirectoryError::io(from))?;
        if read == 0 {
            break;
        }
        target.write_all(&buffer[..read]).map_err(DirectoryError::io(to))?;
        copied += read as u64;
        progress(copied, total)?;
    }
    target.sync_all().map_err(DirectoryError::io(to))?;
    Ok(sync_directory(to.parent().unwrap_or(to))?)
}
