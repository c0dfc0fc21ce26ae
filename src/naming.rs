//! The names of old starts that a shard knows, per partition: in memory, and as lines beside the clocks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::dots::DotSet;
use crate::error::StorageError;
use crate::hash::Secret;
use crate::ids::{Actor, NodeId, PartitionId, Start};
use crate::names::{Definition, Name, Named, Names, Refused, Unknown, decode_line, encode_line, line_key, line_prefix};
use crate::storage::{Batch, Space, Storage, Stored};
use crate::wire::FormatError;

/// The dictionaries of one shard.
///
/// Those of partitions that the node owns are stored; of others it keeps what it was told in memory, so that it can
/// open contexts. A name is told to others as held only when its line is durable.
#[derive(Debug)]
pub(crate) struct NameStore {
    me: NodeId,
    secret: Secret,
    partitions: BTreeMap<PartitionId, Dictionary>,
    /// In which start each node was heard last: rows of its other starts grow no more.
    starts: BTreeMap<NodeId, Start>,
    /// Written, and not yet synced.
    unsynced: Vec<(PartitionId, Name)>,
    batch: Batch,
}

#[derive(Debug)]
struct Dictionary {
    /// Whether the node owns the partition, and stores its names.
    owned: bool,
    names: Names,
}

/// What became of definitions that were told.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) stored: Stored,
    /// How many of them were new.
    pub(crate) new: usize,
    /// What must be known before the rest of them can be learned.
    pub(crate) lacking: Option<Name>,
}

impl NameStore {
    /// Reads the names of the partitions in `owned`. Those that are damaged, or said by one that is, are told again by
    /// the other owners.
    pub(crate) fn open<S: Storage>(
        storage: &S,
        secret: Secret,
        me: NodeId,
        start: Start,
        owned: impl Iterator<Item = PartitionId>,
    ) -> Result<Self, StorageError> {
        let mut partitions = BTreeMap::new();
        for partition in owned {
            let prefix = line_prefix(partition);
            let (mut lines, mut newer) = (Vec::new(), None);
            storage.scan(Space::Dots, &prefix, &mut |key, value| {
                if !key.starts_with(&prefix) {
                    return ControlFlow::Break(());
                }
                match decode_line(key, value) {
                    Ok(line) => lines.push(line),
                    Err(error @ FormatError::Version(_)) => newer = Some(error),
                    Err(_) => {}
                }
                if newer.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if let Some(error) = newer {
                return Err(error.into());
            }
            let mut names = Names::open(secret, lines).unwrap_or_else(|_| Names::new(secret));
            // What a storage shows when it is opened is durable.
            names.tips().into_iter().for_each(|name| names.held(name, me));
            partitions.insert(partition, Dictionary { owned: true, names });
        }
        let starts = BTreeMap::from([(me, start)]);
        Ok(Self { me, secret, partitions, starts, unsynced: Vec::new(), batch: Batch::new() })
    }

    /// Notes in which start a node speaks. Tells whether it was not known: then rows may have become old.
    ///
    /// A node in a new start may have lost its disk: what it holds it must say again.
    pub(crate) fn heard(&mut self, node: NodeId, start: Start) -> bool {
        if self.starts.insert(node, start) == Some(start) {
            return false;
        }
        self.partitions.values_mut().for_each(|known| known.names.lost(node));
        true
    }

    /// Takes in definitions, parents first, and writes the new ones of an own partition.
    pub(crate) fn learn<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        definitions: &[Definition],
    ) -> Result<Learned, StorageError> {
        let secret = self.secret;
        let unowned = || Dictionary { owned: false, names: Names::new(secret) };
        let Dictionary { owned, names } = self.partitions.entry(partition).or_insert_with(unowned);
        let (before, mut lacking) = (names.len(), None);
        self.batch.clear();
        for definition in definitions {
            let known = names.len();
            match names.learn(definition) {
                Ok(name) if names.len() > known => {
                    if *owned {
                        let key = line_key(partition, name);
                        let value = |out: &mut Vec<u8>| encode_line(&key, definition, out);
                        self.batch.put_with(Space::Dots, |out| out.extend_from_slice(&key), value);
                        self.unsynced.push((partition, name));
                    }
                }
                // A peer that tells what can't be is a peer that tells nothing.
                Ok(_) | Err(Refused::Overlap | Refused::Misnamed) => {}
                Err(Refused::Parent(Unknown(name))) => lacking = lacking.or(Some(name)),
            }
        }
        let new = names.len() - before;
        match Stored::write(storage, &self.batch) {
            Ok(stored) => Ok(Learned { stored, new, lacking }),
            Err(error) => {
                self.unsynced.truncate(self.unsynced.len() - new);
                names.truncate(before);
                Err(error)
            }
        }
    }

    /// What was written before is durable now.
    pub(crate) fn synced(&mut self) {
        for (partition, name) in self.unsynced.drain(..) {
            if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition) {
                names.held(name, self.me);
            }
        }
    }

    /// An owner has said that it holds these names.
    pub(crate) fn holds(&mut self, partition: PartitionId, owner: NodeId, held: &[Name]) {
        if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition) {
            held.iter().for_each(|name| names.held(*name, owner));
        }
    }

    /// Takes the longest name inside the clock as head.
    pub(crate) fn adopt(&mut self, partition: PartitionId, clock: &DotSet) {
        if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition) {
            names.adopt(clock);
        }
    }

    /// A name for the rows of old starts in the clock, if there are `enough` of them. To be adopted for first.
    pub(crate) fn propose(&self, partition: PartitionId, clock: &DotSet, enough: usize) -> Option<Definition> {
        let old = |actor: Actor| self.starts.get(&actor.node).is_some_and(|&start| start != actor.start);
        self.partitions.get(&partition)?.names.propose(clock, enough, old)
    }

    /// The set as a client may be given it: with a name only if `needed` of the `owners` hold that.
    pub(crate) fn say(&self, partition: PartitionId, set: &DotSet, owners: &[NodeId], needed: usize) -> Option<Named> {
        let names = &self.partitions.get(&partition)?.names;
        if names.len() == 0 {
            return None;
        }
        Some(names.compress(set, |name| names.holders(name, |node| owners.contains(&node)) >= needed))
    }

    /// The whole set again.
    pub(crate) fn whole(&self, partition: PartitionId, set: &Named) -> Result<DotSet, Unknown> {
        match (self.partitions.get(&partition), set.head) {
            (Some(Dictionary { names, .. }), _) => names.whole(set),
            (None, Some(name)) => Err(Unknown(name)),
            (None, None) => Ok(set.rest.clone()),
        }
    }

    /// The names that tell all that are known.
    pub(crate) fn tips(&self, partition: PartitionId) -> Vec<Name> {
        self.partitions.get(&partition).map(|known| known.names.tips()).unwrap_or_default()
    }

    /// Whether all of the `owners` are known to hold all names of a partition.
    pub(crate) fn is_spread(&self, partition: PartitionId, owners: &[NodeId]) -> bool {
        self.partitions.get(&partition).is_none_or(|Dictionary { names, .. }| {
            names.tips().into_iter().all(|name| names.holders(name, |node| owners.contains(&node)) == owners.len())
        })
    }

    /// The definitions that somebody who has `known` lacks of `wanted`, or of all names if none is wanted: parents
    /// first, and no more than `most` bytes of them, but always one.
    pub(crate) fn rows_for(
        &self,
        partition: PartitionId,
        wanted: &[Name],
        known: &[Name],
        most: usize,
    ) -> Vec<Definition> {
        let Some(Dictionary { names, .. }) = self.partitions.get(&partition) else { return Vec::new() };
        let tips = if wanted.is_empty() { names.tips() } else { Vec::new() };
        let mut told = names.ancestry(known);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for name in wanted.iter().chain(&tips) {
            for definition in names.rows_for(*name, |name| told.contains(&name)).unwrap_or_default() {
                let mut out = Vec::new();
                definition.encode(&mut out);
                bytes += out.len();
                if bytes > most && !rows.is_empty() {
                    return rows;
                }
                told.insert(definition.name(&self.secret));
                rows.push(definition);
            }
        }
        rows
    }

    /// Those of these names that are not known.
    pub(crate) fn unknown(&self, partition: PartitionId, names: &[Name]) -> Vec<Name> {
        let known = self.partitions.get(&partition).map(|known| &known.names);
        names.iter().copied().filter(|&name| known.is_none_or(|known| !known.knows(name))).collect()
    }

    /// The partitions whose names this node keeps.
    pub(crate) fn owned(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.iter().filter(|(_, known)| known.owned).map(|(&partition, _)| partition)
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::ids::Dot;
    use crate::storage::MemoryStorage;

    const SECRET: Secret = Secret::new([3; 16]);
    const PARTITION: PartitionId = PartitionId(4);
    const OWNERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn dots(starts: std::ops::Range<u64>) -> DotSet {
        let actor = |start| Actor { node: NodeId(2), start: Start(start) };
        starts.map(|start| Dot { actor: actor(start), counter: 1 }).collect()
    }

    fn open(storage: &MemoryStorage) -> NameStore {
        NameStore::open(storage, SECRET, NodeId(1), Start(7), [PARTITION].into_iter()).unwrap()
    }

    #[test]
    fn a_name_is_made_stored_and_found_again_and_said_when_enough_owners_hold_it() {
        let mut storage = MemoryStorage::new();
        let (mut names, clock) = (open(&storage), dots(0..9));
        assert_eq!(names.propose(PARTITION, &clock, 8), None, "nothing is known of the node's present start");
        assert!(names.heard(NodeId(2), Start(8)) && !names.heard(NodeId(2), Start(8)));
        let definition = names.propose(PARTITION, &clock, 8).expect("eight old starts");
        assert_eq!(definition.rows(), &dots(0..8));
        let learned = names.learn(&mut storage, PARTITION, from_ref(&definition)).unwrap();
        assert!(learned.stored.wrote() && learned.new == 1 && learned.lacking.is_none());
        names.adopt(PARTITION, &clock);
        assert_eq!(names.propose(PARTITION, &clock, 8), None);

        let said = |names: &NameStore, needed| names.say(PARTITION, &clock, &OWNERS, needed).unwrap();
        assert_eq!(said(&names, 1), Named::from(clock.clone()), "before the sync");
        names.synced();
        assert_eq!(said(&names, 1).rest, dots(8..9));
        assert_eq!(said(&names, 2), Named::from(clock.clone()), "held here alone");
        names.holds(PARTITION, NodeId(9), &names.tips(PARTITION));
        assert_eq!(said(&names, 2), Named::from(clock.clone()), "by no owner");
        let opened = open(&storage);
        assert_eq!((opened.tips(PARTITION), said(&opened, 1)), (names.tips(PARTITION), said(&names, 1)));
        let mut opened = opened;
        opened.holds(PARTITION, NodeId(3), &names.tips(PARTITION));
        assert_eq!(opened.whole(PARTITION, &said(&opened, 2)), Ok(clock.clone()));
        assert!(!opened.is_spread(PARTITION, &OWNERS) && opened.is_spread(PARTITION, &[NodeId(3), NodeId(1)]));
    }

    #[test]
    fn who_is_told_a_name_before_its_parent_says_what_it_lacks() {
        let mut storages = [MemoryStorage::new(), MemoryStorage::new()];
        let [mut knows, mut lacks] = [open(&storages[0]), open(&storages[1])];
        let first = Definition::new(None, dots(0..8)).unwrap();
        let second = Definition::new(Some(first.name(&SECRET)), dots(8..16)).unwrap();
        let all = [first.clone(), second.clone()];
        assert_eq!(knows.learn(&mut storages[0], PARTITION, &all).unwrap().new, 2);
        let told = lacks.learn(&mut storages[1], PARTITION, from_ref(&second)).unwrap();
        assert_eq!((told.new, told.lacking, told.stored.wrote()), (0, Some(first.name(&SECRET)), false));
        assert_eq!(knows.rows_for(PARTITION, &[], &lacks.tips(PARTITION), 1 << 20), all);
        assert_eq!(knows.rows_for(PARTITION, &[], &[], 1), all[..1], "one at least");
        assert_eq!(knows.rows_for(PARTITION, &[second.name(&SECRET)], &[first.name(&SECRET)], 1 << 20), all[1..]);
        assert_eq!(lacks.rows_for(PARTITION, &[second.name(&SECRET)], &[], 1 << 20), []);
    }

    #[test]
    fn a_name_that_the_storage_refuses_is_not_known() {
        struct Full;
        impl Storage for Full {
            fn get(&self, _: Space, _: &[u8]) -> Result<Option<crate::Bytes>, StorageError> {
                Ok(None)
            }
            fn write(&mut self, _: &Batch) -> Result<(), StorageError> {
                Err(StorageError::Full)
            }
            fn scan(&self, _: Space, _: &[u8], _: &mut crate::storage::Visit<'_>) -> Result<(), StorageError> {
                Ok(())
            }
            fn sync(&mut self) -> Result<(), StorageError> {
                Ok(())
            }
        }
        let mut storage = MemoryStorage::new();
        let mut names = open(&storage);
        let first = Definition::new(None, dots(0..8)).unwrap();
        let second = Definition::new(Some(first.name(&SECRET)), dots(8..16)).unwrap();
        assert_eq!(names.learn(&mut storage, PARTITION, from_ref(&first)).unwrap().new, 1);
        assert_eq!(names.learn(&mut Full, PARTITION, from_ref(&second)).map(|_| ()), Err(StorageError::Full));
        names.synced();
        assert_eq!(names.tips(PARTITION), [first.name(&SECRET)]);
        assert_eq!(names.learn(&mut storage, PARTITION, from_ref(&second)).unwrap().new, 1);
        assert_eq!(open(&storage).tips(PARTITION), [second.name(&SECRET)]);
    }
}
