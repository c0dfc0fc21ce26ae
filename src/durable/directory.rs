//! A node's data directory: whose it is, who has it open, and one file for each shard.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redb::Database;
use redb::backends::FileBackend;

use super::error::DirectoryError;
use super::room::Room;
use super::storage::{RedbStorage, Refused};
use crate::ids::NodeId;

/// How files are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of memory for pages of each shard's file. Default 64 MiB.
    pub cache: usize,
    /// Bytes of disk that each shard holds back for the sync that meets a full disk: with them that sync succeeds, and
    /// writes are refused from then on. A sync writes several pages of 4 KiB for each key that it touches. With 0 a full
    /// disk fails the sync, and the node is fenced. Default 32 MiB.
    pub reserve: u64,
    /// Whether a commit is synced twice. With one sync a commit that was torn by a crash is told by the checksums of its
    /// pages, which are not cryptographic: whoever decides what is stored, reads the file, and has a say in the order in
    /// which the disk writes pages could make half a commit pass for a whole one. Default false.
    pub two_phase_commit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache: 64 << 20, reserve: 32 << 20, two_phase_commit: false }
    }
}

/// The directory of one node's storages, held by one process.
///
/// It stays locked until this and all storages that it opened are dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    label: Label,
    is_new: bool,
    options: Options,
    lock: Arc<Lock>,
    /// Those that are open.
    databases: Mutex<Vec<Weak<Database>>>,
}

const LOCK: &str = "lock";

impl DataDirectory {
    /// Locks the directory and looks whose it is; a new one is made for `node`, with `shards` empty storages.
    ///
    /// # Errors
    /// [`DirectoryError`]: it is in use, is of another node, number of shards or a newer format, or can't be read.
    ///
    /// # Panics
    /// If `shards` is zero.
    pub fn open(path: impl AsRef<Path>, node: NodeId, shards: u32, options: &Options) -> Result<Self, DirectoryError> {
        assert!(shards > 0, "a node has at least one shard");
        let path = path.as_ref().to_path_buf();
        let lock = lock(&path)?;
        let asked = Label { kind: Kind::Data, node, shards };
        let found = Label::load(&path, Kind::Data)?;
        let is_new = found.is_none() && !path.join(shard_file(0)).exists();
        let own =
            Self { path, label: asked, is_new, options: options.clone(), lock, databases: Mutex::new(Vec::new()) };
        let path = || own.path.clone();
        match found {
            Some(found) if found.node != node => {
                return Err(DirectoryError::Node { path: path(), found: found.node, expected: node });
            }
            Some(found) if found.shards != shards => {
                return Err(DirectoryError::Shards { path: path(), found: found.shards, expected: shards });
            }
            Some(_) => {}
            None => {
                // The label comes last: a directory that has one lacks no file.
                for shard in (0..shards).filter(|&shard| !own.file(shard).exists()) {
                    own.begin(shard)?;
                }
                asked.store(&own.path)?;
            }
        }
        Ok(own)
    }

    /// Whether this call of [`DataDirectory::open`] has made it from nothing. Only then may a node be opened as its
    /// cluster's founder ([`Setup::founding`](crate::Setup::founding)): a storage that is empty for another reason may
    /// have lost something. A directory whose making was cut short is not new; nothing is in it, and it can be removed.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whose it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.label.node
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens all shards' storages, in order, after verifying the files: that reads all of them.
    ///
    /// # Errors
    /// [`DirectoryError`] for the first that can't be opened. None is open then.
    pub fn storages(&self) -> Result<Vec<RedbStorage>, DirectoryError> {
        let storages = (0..self.label.shards).map(|shard| self.storage(shard)).collect::<Result<Vec<_>, _>>()?;
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        *databases = storages.iter().map(|storage| Arc::downgrade(storage.database())).collect();
        Ok(storages)
    }

    /// Renames the file of a shard that is damaged, and begins an empty one in its place. Gives the new name of the old
    /// file, which nothing looks at any more, or none if it was missing.
    ///
    /// The node must not be opened as a founder then: it has lost what the file held, and the other owners fill it
    /// again (see [the module](super)).
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] if the shard is open; [`DirectoryError::Io`]. The old file is not changed.
    pub fn set_aside(&self, shard: u32) -> Result<Option<PathBuf>, DirectoryError> {
        let file = self.file(shard);
        if self.database(shard).is_some() {
            return Err(DirectoryError::InUse { path: file, pid: Some(std::process::id()) });
        }
        let mut moved = None;
        if file.exists() {
            let names = (1_u32..).map(|number| self.path.join(format!("shard-{shard}.redb.damaged-{number}")));
            let free = { names }.find(|name| !name.exists()).expect("there are fewer files than numbers");
            fs::rename(&file, &free).map_err(DirectoryError::io(&file))?;
            moved = Some(free);
        }
        self.begin(shard)?;
        Ok(moved)
    }

    pub(super) const fn label(&self) -> Label {
        self.label
    }

    pub(super) fn database(&self, shard: u32) -> Option<Arc<Database>> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        databases.get(shard as usize).and_then(Weak::upgrade)
    }

    fn file(&self, shard: u32) -> PathBuf {
        self.path.join(shard_file(shard))
    }

    fn storage(&self, shard: u32) -> Result<RedbStorage, DirectoryError> {
        let room = self.path.join(format!("shard-{shard}.reserve"));
        let room = Room::open(room.clone(), self.options.reserve).map_err(DirectoryError::io(&room))?;
        open_file(&self.file(shard), shard, room, &self.options, Some(self.lock.clone()))
    }

    /// Makes an empty file for a shard: it has its name when it is complete.
    fn begin(&self, shard: u32) -> Result<(), DirectoryError> {
        let (file, unfinished) = (self.file(shard), self.path.join(format!("shard-{shard}.redb.new")));
        drop(create_file(&unfinished, shard, &self.options)?);
        fs::rename(&unfinished, &file).map_err(DirectoryError::io(&file))?;
        sync_directory(&self.path)
    }
}

pub(super) fn shard_file(shard: u32) -> String {
    format!("shard-{shard}.redb")
}

/// Makes the file of a shard, in the place of whatever stands there.
pub(super) fn create_file(path: &Path, shard: u32, options: &Options) -> Result<RedbStorage, DirectoryError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    open_with(file.map_err(DirectoryError::io(path))?, path, shard, Room::none(), options, None)
}

/// Opens the file of a shard, which must be there.
pub(super) fn open_file(
    path: &Path,
    shard: u32,
    room: Room,
    options: &Options,
    lock: Option<Arc<Lock>>,
) -> Result<RedbStorage, DirectoryError> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DirectoryError::Missing { path: path.to_path_buf(), shard });
        }
        file => file.map_err(DirectoryError::io(path))?,
    };
    // redb would take it for a new one.
    if file.metadata().map_err(DirectoryError::io(path))?.len() == 0 {
        return Err(DirectoryError::Damaged { path: path.to_path_buf(), shard, what: "it is empty".into() });
    }
    open_with(file, path, shard, room, options, lock)
}

fn open_with(
    file: File,
    path: &Path,
    shard: u32,
    room: Room,
    options: &Options,
    lock: Option<Arc<Lock>>,
) -> Result<RedbStorage, DirectoryError> {
    let path = path.to_path_buf();
    let opened = match FileBackend::new(file) {
        Ok(backend) => RedbStorage::open(backend, Arc::new(room), options.cache, options.two_phase_commit, lock),
        Err(error) => Err(super::storage::refused(error.into())),
    };
    opened.map_err(|refused| match refused {
        Refused::Damaged(what) => DirectoryError::Damaged { path, shard, what },
        Refused::InUse => DirectoryError::InUse { path, pid: None },
        Refused::Format(found) => DirectoryError::Newer { path, found: found.into(), known: 3 },
        Refused::Io(error) => DirectoryError::Io { path, error },
    })
}

/// Makes the directory, and locks it for as long as what this gives is there. The system lets go of it when the process
/// ends, however it does.
#[allow(clippy::incompatible_msrv, reason = "redb needs a later Rust than the crate, see Cargo.toml")]
pub(super) fn lock(directory: &Path) -> Result<Arc<Lock>, DirectoryError> {
    fs::create_dir_all(directory).map_err(DirectoryError::io(directory))?;
    let path = directory.join(LOCK);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(DirectoryError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // It may be about to be written.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(DirectoryError::InUse { path: directory.to_path_buf(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(DirectoryError::io(&path)(error)),
    }
    let named = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    named.map_err(DirectoryError::io(&path))?;
    Ok(Arc::new(Lock(file)))
}

/// A directory's lock.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing the file would not do: a child that another thread is about to start has it open, too, until it runs.
    #[allow(clippy::incompatible_msrv, reason = "redb needs a later Rust than the crate, see Cargo.toml")]
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What has been renamed or made in the directory survives the loss of power.
pub(super) fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(DirectoryError::io(path))?;
    }
    Ok(())
}

/// Whose a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label {
    pub(super) kind: Kind,
    pub(super) node: NodeId,
    pub(super) shards: u32,
}

/// What a directory is. One that is a backup is never opened in the place of a node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Data,
    Backup,
}

const LABEL: &str = "label";
const FORMAT: u64 = 1;

impl Label {
    /// The label of a directory; none if there is none.
    pub(super) fn load(directory: &Path, kind: Kind) -> Result<Option<Self>, DirectoryError> {
        let path = directory.join(LABEL);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => String::from_utf8_lossy(&bytes.map_err(DirectoryError::io(&path))?).into_owned(),
        };
        match Self::parse(&text) {
            Ok(label) if label.kind == kind => Ok(Some(label)),
            Ok(label) => Err(DirectoryError::Garbled {
                path,
                what: format!("it is a {}, not a {}", label.kind.name(), kind.name()),
            }),
            Err(Unread::Newer(found)) => Err(DirectoryError::Newer { path, found, known: FORMAT }),
            Err(Unread::Garbled(what)) => Err(DirectoryError::Garbled { path, what: what.into() }),
        }
    }

    /// Whole or not at all, and durable.
    pub(super) fn store(self, directory: &Path) -> Result<(), DirectoryError> {
        let (path, unfinished) = (directory.join(LABEL), directory.join(format!("{LABEL}.new")));
        let write = || -> io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(self.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(DirectoryError::io(&path))?;
        sync_directory(directory)
    }

    /// For people, too. The format comes before all that another format may say otherwise.
    fn text(self) -> String {
        let (kind, node, shards) = (self.kind.name(), self.node.0, self.shards);
        let text = format!("quorate {kind}\nformat {FORMAT}\nnode {node}\nshards {shards}\n");
        let checksum = crc32fast::hash(text.as_bytes());
        text + &format!("checksum {checksum:08x}\n")
    }

    fn parse(text: &str) -> Result<Self, Unread> {
        let mut lines = text.lines();
        let kind = match lines.next() {
            Some("quorate data directory") => Kind::Data,
            Some("quorate backup") => Kind::Backup,
            _ => return Err(Unread::Garbled("it doesn't say what it is")),
        };
        let mut number = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<u64>().ok())
        };
        match number("format") {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => return Err(Unread::Newer(newer)),
            _ => return Err(Unread::Garbled("it names no format")),
        }
        let node = number("node").ok_or(Unread::Garbled("it names no node"))?;
        let shards = number("shards").and_then(|shards| u32::try_from(shards).ok()).filter(|&shards| shards > 0);
        let label = Self { kind, node: NodeId(node), shards: shards.ok_or(Unread::Garbled("it names no shards"))? };
        if label.text() == text { Ok(label) } else { Err(Unread::Garbled("its checksum doesn't fit")) }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Unread {
    Newer(u64),
    Garbled(&'static str),
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Data => "data directory",
            Self::Backup => "backup",
        }
    }
}
