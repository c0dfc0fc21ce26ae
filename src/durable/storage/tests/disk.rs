//! A disk in memory that knows what was synced, and fails when it is told to.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use redb::StorageBackend;

/// What a disk writes whole.
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
    /// How many calls are left before the fault, if there is to be one.
    countdown: Option<(u64, Fault)>,
    /// It is full as long as this file takes room.
    beside: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// One call fails.
    Once(ErrorKind),
    /// That call fails and all after it, as if the power were cut in the middle.
    FromThereOn,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The fault comes at the `nth` call from now, the next one being the first.
    pub(super) fn fail_at(&self, nth: u64, fault: Fault) {
        self.state().countdown = Some((nth, fault));
    }

    /// Whether a fault was due and has come.
    pub(super) fn heal(&self) -> bool {
        matches!(self.state().countdown.take(), Some((0, _)))
    }

    pub(super) fn fill_up_beside(&self, path: PathBuf) {
        self.state().beside = Some(path);
    }

    /// What the power's failure leaves: what was synced, and of the rest any part, sector by sector. Sometimes only the
    /// process dies: then all of it.
    pub(super) fn crash(&self, rng: &mut Xoshiro256PlusPlus) -> Self {
        let state = self.state();
        let mut image = state.durable.clone();
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        for change in &state.unsynced {
            match change {
                Change::Length(length) if rng.random_bool(kept) => image.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    let (mut at, end) = (*offset, offset + data.len());
                    while at < end {
                        let next = (at / SECTOR + 1) * SECTOR;
                        let next = next.min(end);
                        if rng.random_bool(kept) {
                            put(&mut image, at, &data[at - offset..next - offset]);
                        }
                        at = next;
                    }
                }
            }
        }
        Self::of(image)
    }

    pub(super) fn of(image: Vec<u8>) -> Self {
        let state = State { live: image.clone(), durable: image, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state().live.clone()
    }
}

fn put(image: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[at..end].copy_from_slice(data);
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        let Some((left, fault)) = &mut self.countdown else { return Ok(()) };
        let is_over = *left == 0;
        *left = left.saturating_sub(1);
        match fault {
            Fault::Once(kind) if *left == 0 && !is_over => Err((*kind).into()),
            Fault::FromThereOn if *left == 0 => Err(ErrorKind::Other.into()),
            _ => Ok(()),
        }
    }

    fn room(&self) -> io::Result<()> {
        let is_taken = self.beside.as_ref().is_some_and(|path| path.metadata().is_ok_and(|file| file.len() > 0));
        if is_taken { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let at = offset as usize;
        let bytes = state.live.get(at..at + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.live.resize(length as usize, 0);
        state.unsynced.push(Change::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let state = &mut *state;
        for change in state.unsynced.drain(..) {
            match change {
                Change::Length(length) => state.durable.resize(length, 0),
                Change::Write(at, data) => put(&mut state.durable, at, &data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.room()?;
        let at = offset as usize;
        put(&mut state.live, at, data);
        state.unsynced.push(Change::Write(at, data.to_vec()));
        Ok(())
    }
}

impl Disk {
    /// Every page but the first gets some random bytes, behind the back of whoever has it open.
    pub(super) fn garble(&self, rng: &mut Xoshiro256PlusPlus) {
        let mut state = self.state();
        for page in state.live.chunks_mut(4096).skip(1) {
            for _ in 0..rng.random_range(0..8) {
                let at = rng.random_range(0..page.len().min(64));
                page[at] = rng.random();
            }
        }
    }
}
