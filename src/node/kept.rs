//! What a node keeps of the membership over a restart: in its first storage, lost without harm, since all of it is heard
//! again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::control::Control;
use super::shard::Shard;
use super::{Event, Node, Output};
use crate::error::StorageError;
use crate::ids::{ClusterId, LayoutId};
use crate::members::Membership;
use crate::ring::Layout;
use crate::storage::{Batch, Space, Storage, Stored};
use crate::wire::{FormatError, checked, put_checksum};

const MEMBERSHIP: &[u8] = b"membership";
const LAYOUT: &[u8] = b"layout";

/// What is kept, and what is still to be written.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// As found. Taken when the node is open.
    pub(super) membership: Option<Membership>,
    pub(super) layouts: Vec<Arc<Layout>>,
    damage: Vec<StorageError>,
    /// Which layouts have a line.
    lines: BTreeSet<LayoutId>,
    /// Keys of lines that are of no use.
    useless: Vec<Vec<u8>>,
    /// Something is to be written.
    pub(super) is_due: bool,
    /// The last write failed: the next round tries again.
    failed: bool,
}

impl Kept {
    /// What a storage holds of a cluster and its layouts. What is damaged is passed over.
    ///
    /// # Errors
    /// [`StorageError`] if the storage fails, or holds what a later version of the program wrote.
    pub(super) fn load<S: Storage>(storage: &S, cluster: ClusterId, first: &Layout) -> Result<Self, StorageError> {
        let mut own = Self::default();
        if let Some(bytes) = storage.get(Space::Meta, MEMBERSHIP)? {
            match read_membership(&bytes, cluster) {
                Ok(membership) => own.membership = Some(membership),
                Err(error) => own.found(MEMBERSHIP, error)?,
            }
        }
        let mut lines = Vec::new();
        storage.scan(Space::Meta, LAYOUT, &mut |key, value| {
            if !key.starts_with(LAYOUT) {
                return ControlFlow::Break(());
            }
            lines.push((key.to_vec(), read_layout(key, value, first)));
            ControlFlow::Continue(())
        })?;
        for (key, line) in lines {
            match line {
                Ok(layout) => {
                    own.lines.insert(layout.id());
                    own.layouts.push(Arc::new(layout));
                }
                Err(error) => own.found(&key, error)?,
            }
        }
        Ok(own)
    }

    /// A line can't be read. What another program may have written is not touched.
    fn found(&mut self, key: &[u8], error: FormatError) -> Result<(), StorageError> {
        if let FormatError::Version(_) = error {
            return Err(error.into());
        }
        self.damage.push(error.into());
        self.useless.push(key.to_vec());
        self.is_due = true;
        Ok(())
    }

    pub(super) const fn try_again(&mut self) {
        self.is_due |= self.failed;
    }
}

fn read_membership(bytes: &[u8], cluster: ClusterId) -> Result<Membership, FormatError> {
    let membership = Membership::decode(checked(MEMBERSHIP, bytes)?)?;
    if membership.cluster() == cluster { Ok(membership) } else { Err(FormatError::Content("another cluster")) }
}

fn read_layout(key: &[u8], bytes: &[u8], first: &Layout) -> Result<Layout, FormatError> {
    let layout = Layout::decode(checked(key, bytes)?)?;
    let fits = (layout.n(), layout.partitions()) == (first.n(), first.partitions());
    if fits && layout_key(layout.id()) == key { Ok(layout) } else { Err(FormatError::Content("another layout")) }
}

/// By version, then by hash: the order of layouts.
fn layout_key(id: LayoutId) -> Vec<u8> {
    [LAYOUT, &id.version.to_be_bytes(), &id.hash.to_be_bytes()].concat()
}

fn put(batch: &mut Batch, key: &[u8], mut value: Vec<u8>) {
    put_checksum(key, &mut value, 0);
    batch.put(Space::Meta, key, &value);
}

impl Control {
    /// Tells what the operator of a node that was just opened wants to know.
    pub(super) fn report(&mut self, out: &mut impl FnMut(Output)) {
        if self.members.gossip.as_ref().is_some_and(|gossip| gossip.gossiper.is_removed()) {
            out(Output::Event(Event::Removed(self.members.node)));
        }
        let damage = std::mem::take(&mut self.members.kept.damage);
        damage.into_iter().for_each(|error| out(Output::Event(Event::StorageFailed(error))));
    }

    /// What is to be written, and which layouts have a line then.
    fn to_keep(&self) -> (Batch, BTreeSet<LayoutId>) {
        let (members, mut batch) = (&self.members, Batch::new());
        members.kept.useless.iter().for_each(|key| batch.delete(Space::Meta, key));
        if let Some(gossip) = &members.gossip {
            put(&mut batch, MEMBERSHIP, gossip.gossiper.membership().encode());
        }
        // Where there is no gossip, the host has the layout that it opens the node with.
        let first = Some(members.contents.first().id()).filter(|_| members.gossip.is_none());
        let counts = |layout: &&Arc<Layout>| members.layouts().knows(layout.id()) && Some(layout.id()) != first;
        let lines: BTreeSet<LayoutId> = members.contents.all().filter(counts).map(|layout| layout.id()).collect();
        for &id in lines.difference(&members.kept.lines) {
            let layout = members.contents.get(id).expect("it is one of them");
            put(&mut batch, &layout_key(id), layout.encode());
        }
        members.kept.lines.difference(&lines).for_each(|&id| batch.delete(Space::Meta, &layout_key(id)));
        (batch, lines)
    }
}

impl<S: Storage> Node<S> {
    /// Writes what is known of the membership; the next commit makes it durable.
    pub(super) fn keep_membership(&mut self) {
        let (batch, lines) = self.control.to_keep();
        let done = self.shards[0].keep(&batch);
        let kept = &mut self.control.members.kept;
        (kept.is_due, kept.failed) = (false, !done);
        if done {
            kept.lines = lines;
            kept.useless.clear();
        }
    }
}

impl<S: Storage> Shard<S> {
    /// Writes what nobody waits for. False if the storage failed.
    fn keep(&mut self, batch: &Batch) -> bool {
        match Stored::write(&mut self.storage, batch) {
            Ok(stored) => self.lanes.wrote(&stored),
            Err(error) => {
                self.storage_failed(error);
                return false;
            }
        }
        true
    }
}
