//! The names that one partition knows, and what they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Definition, Name, Named, Unknown, name_of};
use crate::dots::DotSet;
use crate::hash::Secret;
use crate::ids::{Actor, NodeId};
use crate::mutant::{self, Mutant};
use crate::wire::FormatError;

/// The dictionary of one partition: it only grows while the partition lives (N5).
///
/// Who knows a name knows its ancestors; so one name tells what all of a chain need not be told again.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    secret: Secret,
    /// In the order in which they were learned: parents come before their children.
    known: Vec<Known>,
    places: BTreeMap<Name, usize>,
    /// The longest one inside the clock.
    head: Option<Expanded>,
    /// The latest that was expanded: a chain is learned link by link.
    latest: Option<Expanded>,
}

#[derive(Clone, Debug)]
struct Known {
    name: Name,
    parent: Option<usize>,
    /// Its bytes: as a set of dots it would take five times as much memory.
    definition: Box<[u8]>,
    length: Length,
    /// Who is known to hold it durably; this node does not count itself before it has synced.
    holders: SmallVec<[NodeId; 3]>,
}

/// How much a name stands for: first the actors, since each spares a row, then the dots.
type Length = (usize, u64);

#[derive(Clone, Debug)]
struct Expanded {
    place: usize,
    dots: Arc<DotSet>,
}

/// Why a definition was not learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// What it builds on is not known: definitions are learned parents first.
    #[error(transparent)]
    Parent(#[from] Unknown),
    /// It defines what its parent stands for already.
    #[error("it repeats dots of its parent")]
    Overlap,
    /// It is no definition of the name that it came under.
    #[error("it defines another name")]
    Misnamed,
}

impl Names {
    pub(crate) const fn new(secret: Secret) -> Self {
        Self { secret, known: Vec::new(), places: BTreeMap::new(), head: None, latest: None }
    }

    /// From what is stored, in any order.
    ///
    /// # Errors
    /// [`FormatError`] if a line does not define its name, or builds on one that is not there: the clock may say that
    /// name, and what it says is then damaged (N5, R16).
    pub(crate) fn open(secret: Secret, lines: Vec<(Name, Definition)>) -> Result<Self, FormatError> {
        let mut names = Self::new(secret);
        let mut children: BTreeMap<Option<Name>, Vec<(Name, Definition)>> = BTreeMap::new();
        for (name, definition) in lines {
            children.entry(definition.parent()).or_default().push((name, definition));
        }
        // One chain to its end before the next: the parent is then the latest that was expanded.
        let mut next = children.remove(&None).unwrap_or_default();
        while let Some((name, definition)) = next.pop() {
            names
                .insert(name, &definition)
                .map_err(|_| FormatError::Content("a line that does not define its name"))?;
            next.extend(children.remove(&Some(name)).unwrap_or_default());
        }
        if children.is_empty() { Ok(names) } else { Err(FormatError::Content("a name that builds on an unknown one")) }
    }

    /// Takes in a definition, under the name that it has. To learn one again changes nothing.
    ///
    /// # Errors
    /// [`Refused`], and nothing was learned.
    pub(crate) fn learn(&mut self, definition: &Definition) -> Result<Name, Refused> {
        let bytes = definition.bytes();
        let name = name_of(&self.secret, &bytes);
        if self.knows(name) {
            return Ok(name);
        }
        let parent = definition.parent().map(|parent| self.place(parent)).transpose()?;
        let mut dots = parent.map(|parent| self.expanded(parent)).unwrap_or_default();
        if definition.rows().intersects(&dots) {
            return Err(Refused::Overlap);
        }
        // Not shared any more unless it is the head's: then a copy is made.
        self.latest = None;
        Arc::make_mut(&mut dots).union_with(definition.rows());
        let place = self.known.len();
        let length = (dots.actors().count(), dots.count());
        let definition = bytes.into_boxed_slice();
        self.known.push(Known { name, parent, definition, length, holders: SmallVec::new() });
        self.places.insert(name, place);
        self.latest = Some(Expanded { place, dots });
        Ok(name)
    }

    /// As [`Names::learn`], for a definition that came with its name.
    pub(crate) fn insert(&mut self, name: Name, definition: &Definition) -> Result<(), Refused> {
        if definition.name(&self.secret) != name {
            return Err(Refused::Misnamed);
        }
        self.learn(definition).map(|_| ())
    }

    pub(crate) fn knows(&self, name: Name) -> bool {
        self.places.contains_key(&name)
    }

    /// Forgets all but the first `count` that were learned: those after them could not be stored.
    pub(crate) fn truncate(&mut self, count: usize) {
        for known in self.known.drain(count..) {
            self.places.remove(&known.name);
        }
        self.head = self.head.take().filter(|head| head.place < count);
        self.latest = None;
    }

    /// How many names are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The longest known name inside the clock, as of the last [`Names::adopt`].
    pub(crate) fn head(&self) -> Option<Name> {
        self.head.as_ref().map(|head| self.known[head.place].name)
    }

    /// How many actors it stands for.
    pub(crate) fn head_rows(&self) -> usize {
        self.head.as_ref().map_or(0, |head| self.known[head.place].length.0)
    }

    /// Takes the longest known name inside `clock` as head; owners with equal clocks and equal names take the same,
    /// so that chains which grew apart become one again. Tells whether it is another than before.
    pub(crate) fn adopt(&mut self, clock: &DotSet) -> bool {
        let longest = self.longest(clock, |_| true);
        let changed = longest != self.head.as_ref().map(|head| head.place);
        if changed {
            self.head = longest.map(|place| Expanded { place, dots: self.expanded(place) });
        }
        self.latest = None;
        changed
    }

    /// Takes the longest known name as head, where there is no clock.
    pub(crate) fn adopt_longest(&mut self) {
        let longest = (0..self.known.len()).max_by_key(|&place| (self.known[place].length, self.known[place].name));
        self.head = longest.map(|place| Expanded { place, dots: self.expanded(place) });
        self.latest = None;
    }

    /// A definition that takes the rows of dead actors in the clock out of every message, if there are `enough` of them
    /// (N6). It is not learned by that.
    ///
    /// `dead` may err: a row that goes on growing is named with what it has, and the rest of it stays a row.
    pub(crate) fn propose(&self, clock: &DotSet, enough: usize, dead: impl FnMut(Actor) -> bool) -> Option<Definition> {
        let rest = match &self.head {
            // A head is inside the clock that it was adopted for. Another clock may have come back with a backup.
            Some(head) if head.dots.is_subset(clock) => clock.minus(&head.dots),
            Some(_) => return None,
            None => clock.clone(),
        };
        let rows = rest.part(dead);
        if rows.actors().count() < enough { None } else { Definition::new(self.head(), rows) }
    }

    /// The set as a name and the rest: the head if it is inside, else the longest name that is. Only names that are
    /// `usable` come into question; where none is inside, the set is sent dot by dot.
    pub(crate) fn compress(&self, set: &DotSet, usable: impl Fn(Name) -> bool) -> Named {
        match self.shorten(set, usable) {
            Some((name, rest)) => Named { head: Some(name), rest },
            None => Named::from(set.clone()),
        }
    }

    /// As [`Names::compress`]; nothing where there is no such name.
    pub(crate) fn shorten(&self, set: &DotSet, usable: impl Fn(Name) -> bool) -> Option<(Name, DotSet)> {
        if let Some(head) = &self.head
            && usable(self.known[head.place].name)
            && (head.dots.is_subset(set) || mutant::is(Mutant::NameOutside))
        {
            return Some((self.known[head.place].name, set.minus(&head.dots)));
        }
        // Nearly always, where the head won't do, it is for want of anybody who knows it.
        if !self.known.iter().any(|known| usable(known.name)) {
            return None;
        }
        let place = self.longest(set, usable)?;
        Some((self.known[place].name, set.minus(&self.expanded(place))))
    }

    /// The dots that a name stands for.
    ///
    /// # Errors
    /// [`Unknown`] if it is not known.
    pub(crate) fn expand(&self, name: Name) -> Result<Arc<DotSet>, Unknown> {
        self.place(name).map(|place| self.expanded(place))
    }

    /// The whole set again.
    ///
    /// # Errors
    /// [`Unknown`] if its head is not known: then it is no set at all, and nothing may be done with its rest.
    pub(crate) fn whole(&self, set: &Named) -> Result<DotSet, Unknown> {
        let Some(head) = set.head else { return Ok(set.rest.clone()) };
        let mut dots = DotSet::clone(&*self.expand(head)?);
        dots.union_with(&set.rest);
        Ok(dots)
    }

    /// The definitions, parents first, that somebody lacks to expand `name`, who knows what `known` says. It has the
    /// ancestors of what it knows.
    ///
    /// # Errors
    /// [`Unknown`] if it is not known here either.
    pub(crate) fn rows_for(&self, name: Name, known: impl Fn(Name) -> bool) -> Result<Vec<Definition>, Unknown> {
        let lacking = self.chain(self.place(name)?).take_while(|&place| !known(self.known[place].name));
        let mut rows: Vec<_> = lacking.map(|place| self.definition(place)).collect();
        rows.reverse();
        Ok(rows)
    }

    /// These names and all on which they build; what is not known here tells nothing.
    pub(crate) fn ancestry(&self, names: &[Name]) -> BTreeSet<Name> {
        let mut all = BTreeSet::new();
        for place in names.iter().filter_map(|name| self.places.get(name)) {
            for place in self.chain(*place) {
                if !all.insert(self.known[place].name) {
                    break;
                }
            }
        }
        all
    }

    /// The names on which no other builds: who hears them knows all that is known here.
    pub(crate) fn tips(&self) -> Vec<Name> {
        let mut inner = vec![false; self.known.len()];
        self.known.iter().filter_map(|known| known.parent).for_each(|parent| inner[parent] = true);
        self.known.iter().zip(inner).filter(|(_, inner)| !inner).map(|(known, _)| known.name).collect()
    }

    /// Notes that a node holds this name, and all on which it builds, durably.
    ///
    /// An owner says a name only when it is durable there, so whatever it says in a message tells this.
    pub(crate) fn held(&mut self, name: Name, node: NodeId) {
        let mut next = self.places.get(&name).copied();
        while let Some(place) = next {
            let known = &mut self.known[place];
            if known.holders.contains(&node) {
                return;
            }
            known.holders.push(node);
            next = known.parent;
        }
    }

    /// Forgets what a node was said to hold: its store is another one, or it is no owner any more.
    pub(crate) fn lost(&mut self, node: NodeId) {
        self.known.iter_mut().for_each(|known| known.holders.retain(|holder| *holder != node));
    }

    /// How many of the `owners` are known to hold it durably: a context may say it from W of them on, and from W + 1
    /// while owners change (N4).
    pub(crate) fn holders(&self, name: Name, owners: impl Fn(NodeId) -> bool) -> usize {
        let holders = self.places.get(&name).map(|&place| &self.known[place].holders);
        holders.map_or(0, |holders| holders.iter().filter(|&&node| owners(node)).count())
    }

    fn place(&self, name: Name) -> Result<usize, Unknown> {
        self.places.get(&name).copied().ok_or(Unknown(name))
    }

    fn definition(&self, place: usize) -> Definition {
        Definition::from_bytes(&self.known[place].definition).expect("these bytes were written from a definition")
    }

    /// A name and those on which it builds, to the first of the chain.
    fn chain(&self, place: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(place), |&place| self.known[place].parent)
    }

    fn expanded(&self, place: usize) -> Arc<DotSet> {
        match [&self.head, &self.latest].into_iter().flatten().find(|expanded| expanded.place == place) {
            Some(expanded) => Arc::clone(&expanded.dots),
            None => Arc::new(DotSet::union_of(self.chain(place).map(|place| self.definition(place).rows))),
        }
    }

    /// Of the usable names inside `set` the longest; of equally long ones that with the largest name, everywhere.
    fn longest(&self, set: &DotSet, usable: impl Fn(Name) -> bool) -> Option<usize> {
        let (mut inside, most) = (Vec::with_capacity(self.known.len()), set.actors().count());
        for (place, known) in self.known.iter().enumerate() {
            let fits = known.length.0 <= most
                && known.parent.is_none_or(|parent| inside[parent])
                && self.definition(place).rows.is_subset(set);
            inside.push(fits);
        }
        let candidates = (0..self.known.len()).filter(|&place| inside[place] && usable(self.known[place].name));
        candidates.max_by_key(|&place| (self.known[place].length, self.known[place].name))
    }
}
