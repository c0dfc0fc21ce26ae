//! The names of old starts that a shard knows, per partition: in memory, and as lines beside the clocks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::dots::DotSet;
use crate::error::StorageError;
use crate::hash::Secret;
use crate::ids::{Actor, NodeId, PartitionId, Start};
use crate::names::{Definition, Name, Named, Names, Refused, Unknown, decode_line, encode_line, line_key, line_prefix};
use crate::storage::{Batch, Space, Storage, Stored};
use crate::time::Time;
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
    /// Whether any name is known at all.
    any: bool,
    /// In which start each node was heard last: rows of its other starts grow no more.
    starts: BTreeMap<NodeId, Start>,
    /// Written, and not yet synced.
    unsynced: Vec<(PartitionId, Name)>,
    /// When a node was asked last what it knows, because that is not known; under this node's own name, when any was
    /// asked for what this one does not know.
    wondered: BTreeMap<(PartitionId, NodeId), Time>,
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
        let (unsynced, wondered, batch) = (Vec::new(), BTreeMap::new(), Batch::new());
        let any = partitions.values().any(|known: &Dictionary| known.names.len() > 0);
        Ok(Self { me, secret, partitions, any, starts, unsynced, wondered, batch })
    }

    /// Notes in which start a node speaks. Tells whether it was not known: then rows may have become old.
    ///
    /// A node in a new start may have lost its disk: what it holds it must say again.
    pub(crate) fn heard(&mut self, node: NodeId, start: Start) -> bool {
        if self.starts.insert(node, start) == Some(start) {
            return false;
        }
        self.partitions.values_mut().for_each(|known| known.names.lost(node));
        self.wondered.retain(|(_, asked), _| *asked != node);
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
        self.any |= new > 0;
        if new > 0 && !*owned {
            // There is no clock to be inside of.
            names.adopt_longest();
        }
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

    /// A node has said that it holds these names: an owner durably, another until it starts again.
    pub(crate) fn holds(&mut self, partition: PartitionId, node: NodeId, held: &[Name]) {
        if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition) {
            held.iter().for_each(|name| names.held(*name, node));
        }
    }

    /// A node wants to be told these: whatever it was said to hold of them came from an earlier store of its.
    pub(crate) fn wants(&mut self, partition: PartitionId, node: NodeId, wanted: &[Name]) {
        if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition)
            && wanted.iter().any(|name| names.holders(*name, |holder| holder == node) > 0)
        {
            names.lost(node);
        }
    }

    /// The node owns a partition from now on: what is known of its names is stored.
    pub(crate) fn own<S: Storage>(&mut self, storage: &mut S, partition: PartitionId) -> Result<Stored, StorageError> {
        let known = self.rows_for(partition, &[], &[], usize::MAX);
        self.partitions.insert(partition, Dictionary { owned: true, names: Names::new(self.secret) });
        self.learn(storage, partition, &known).map(|learned| learned.stored)
    }

    /// The node owns a partition no more.
    pub(crate) fn disown(&mut self, partition: PartitionId) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.owned = false;
        }
    }

    /// Takes the longest name inside the clock as head.
    pub(crate) fn adopt(&mut self, partition: PartitionId, clock: &DotSet) {
        if let Some(Dictionary { names, .. }) = self.partitions.get_mut(&partition) {
            names.adopt(clock);
        }
    }

    /// Whether so many rows of the clock are outside the head that it is worth a look which of them are old.
    pub(crate) fn is_outgrown(&self, partition: PartitionId, clock: &DotSet, enough: usize) -> bool {
        self.partitions.get(&partition).is_some_and(|known| clock.actors().count() >= known.names.head_rows() + enough)
    }

    /// A name for the rows of old starts in the clock, if there are `enough` of them. To be adopted for first.
    pub(crate) fn propose(
        &self,
        partition: PartitionId,
        clock: &DotSet,
        owners: &[NodeId],
        enough: usize,
    ) -> Option<Definition> {
        // An owner that was not heard yet will be: it exchanges. Who owns nothing may write through others for ever.
        let old = |actor: Actor| match self.starts.get(&actor.node) {
            Some(&start) => start != actor.start,
            None => !owners.contains(&actor.node),
        };
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

    /// Whether nothing can be said shorter.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.any
    }

    /// The set as it is sent to a node: a name that this one holds, and the rest; nothing if there is none.
    ///
    /// An owner says what it holds durably, so that who hears it knows that.
    pub(crate) fn say_to(&self, partition: PartitionId, set: &DotSet, to: NodeId) -> Option<(Name, DotSet)> {
        let known = self.partitions.get(&partition)?;
        known.names.shorten(set, |name| known.names.holders(name, |node| node == to) > 0 && self.may_say(known, name))
    }

    /// What this node can be sent, where it knows anything.
    pub(crate) fn spoken(&self, partition: PartitionId) -> Option<Name> {
        let known = self.partitions.get(&partition)?;
        known.names.head().filter(|&name| self.may_say(known, name))
    }

    fn may_say(&self, Dictionary { owned, names }: &Dictionary, name: Name) -> bool {
        !owned || names.holders(name, |node| node == self.me) > 0
    }

    /// Whether a set may be said shorter to who knows what is known here.
    pub(crate) fn could_say(&self, partition: PartitionId, set: &DotSet) -> bool {
        self.partitions.get(&partition).is_some_and(|known| known.names.shorten(set, |_| true).is_some())
    }

    /// Whether a node is to be asked what it knows: it was not asked for so long, in its present start.
    pub(crate) fn wonder(&mut self, partition: PartitionId, node: NodeId, now: Time, pause: Duration) -> bool {
        let asked = self.wondered.get(&(partition, node));
        let again = asked.is_none_or(|&asked| now >= asked + pause);
        if again {
            self.wondered.insert((partition, node), now);
        }
        again
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

    /// How many names are known of a partition.
    pub(crate) fn count(&self, partition: PartitionId) -> usize {
        self.partitions.get(&partition).map_or(0, |known| known.names.len())
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
        let propose = |names: &NameStore, owners: &[NodeId]| names.propose(PARTITION, &clock, owners, 8);
        assert_eq!(propose(&names, &OWNERS), None, "nothing is known of an owner's present start");
        assert_eq!(propose(&names, &OWNERS[2..]).expect("who is no owner").rows(), &clock);
        assert!(names.heard(NodeId(2), Start(8)) && !names.heard(NodeId(2), Start(8)));
        assert!(names.is_outgrown(PARTITION, &clock, 9) && !names.is_outgrown(PARTITION, &clock, 10));
        let definition = propose(&names, &OWNERS).expect("eight old starts");
        assert_eq!(definition.rows(), &dots(0..8));
        let learned = names.learn(&mut storage, PARTITION, from_ref(&definition)).unwrap();
        assert!(learned.stored.wrote() && learned.new == 1 && learned.lacking.is_none());
        names.adopt(PARTITION, &clock);
        assert_eq!(propose(&names, &OWNERS), None);
        assert!(names.is_outgrown(PARTITION, &clock, 1) && !names.is_outgrown(PARTITION, &clock, 2));

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
    fn a_name_is_sent_to_those_that_have_said_to_hold_it_in_their_present_start() {
        let mut storage = MemoryStorage::new();
        let (mut names, clock, other) = (open(&storage), dots(0..9), NodeId(9));
        assert!(names.is_empty());
        let definition = Definition::new(None, dots(0..8)).unwrap();
        names.learn(&mut storage, PARTITION, from_ref(&definition)).unwrap();
        let name = definition.name(&SECRET);
        names.adopt(PARTITION, &clock);
        names.holds(PARTITION, NodeId(8), &[name]);
        let said = |names: &NameStore| (names.spoken(PARTITION), names.say_to(PARTITION, &clock, NodeId(8)));
        assert_eq!(said(&names), (None, None), "before the sync");
        names.synced();
        assert_eq!(said(&names), (Some(name), Some((name, dots(8..9)))));
        assert!(!names.is_empty() && names.could_say(PARTITION, &clock) && !names.could_say(PARTITION, &dots(1..9)));
        assert_eq!(names.say_to(PARTITION, &clock, other), None);
        names.holds(PARTITION, other, &[name]);
        let said = Some((name, dots(8..9)));
        assert_eq!(names.say_to(PARTITION, &clock, other), said);
        assert_eq!(names.say_to(PARTITION, &clock, NodeId(3)), None, "not to another");
        assert_eq!(names.say_to(PARTITION, &dots(1..9), other), None, "one dot of it is not in the set");
        assert_eq!(names.say_to(PartitionId(5), &clock, other), None);
        // It has the name no more, whatever a message said that was late.
        names.wants(PARTITION, other, &[Name(3)]);
        assert_eq!(names.say_to(PARTITION, &clock, other), said);
        names.wants(PARTITION, other, &[name]);
        assert_eq!(names.say_to(PARTITION, &clock, other), None);
        names.holds(PARTITION, other, &[name]);
        names.heard(other, Start(1));
        assert_eq!(names.say_to(PARTITION, &clock, other), None);
    }

    #[test]
    fn a_node_is_asked_what_it_knows_once_in_a_while_and_again_when_it_starts() {
        let mut names = open(&MemoryStorage::new());
        let (other, second) = (NodeId(9), Duration::from_secs(1));
        let wonder = |names: &mut NameStore, at| names.wonder(PARTITION, other, Time(at), second);
        assert!(wonder(&mut names, 0) && !wonder(&mut names, 999_999) && wonder(&mut names, 1_000_000));
        names.heard(other, Start(1));
        assert!(wonder(&mut names, 1_000_001));
    }

    #[test]
    fn what_is_told_of_a_partition_of_others_is_kept_in_memory_and_said_at_its_longest() {
        let mut storage = MemoryStorage::new();
        let (mut names, elsewhere) = (open(&storage), PartitionId(5));
        let first = Definition::new(None, dots(0..8)).unwrap();
        let second = Definition::new(Some(first.name(&SECRET)), dots(8..16)).unwrap();
        let learned = names.learn(&mut storage, elsewhere, &[first.clone(), second.clone()]).unwrap();
        assert!(learned.new == 2 && !learned.stored.wrote());
        names.holds(elsewhere, NodeId(3), &[second.name(&SECRET)]);
        assert_eq!(names.say_to(elsewhere, &dots(0..17), NodeId(3)), Some((second.name(&SECRET), dots(16..17))));
        assert_eq!(names.say_to(elsewhere, &dots(0..10), NodeId(3)), Some((first.name(&SECRET), dots(8..10))));
        assert!(open(&storage).is_empty());
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
