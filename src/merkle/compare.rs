//! The comparison of two trees: levels, then lists of keys.

use std::ops::RangeInclusive;

use super::digest::{Short, Summary};
use super::tree::{DEEPEST, STEP, Tree};

/// Nodes of one depth, in ascending order: the *i*-th of the 2^depth equal parts of a partition's positions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nodes {
    depth: u8,
    indices: Vec<u32>,
}

/// One message of a comparison: some nodes, and what one side has below them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    parents: Nodes,
    /// How much deeper the children are.
    step: u8,
    /// Of all children of the first parent, then of the next.
    children: Vec<Short>,
}

/// A key in the list of a bucket: 16 bytes, where the key itself may be long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KeyDigest {
    /// Where the key lies.
    pub position: u64,
    /// Of the key and its live dots.
    pub digest: Short,
}

/// Why a tree did not do what it was asked. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The nodes lie deeper than the tree. It may have shrunk since the comparison began: begin again.
    #[error("depth {depth} was asked of a tree of depth {own}")]
    TooDeep {
        /// What was asked for.
        depth: u8,
        /// What there is.
        own: u8,
    },
    /// More than [`Nodes::LIMIT`] nodes at once: see [`Nodes::pages`].
    #[error("{nodes} nodes are more than {}", Nodes::LIMIT)]
    TooMany {
        /// How many were given.
        nodes: usize,
    },
    /// A node that there is not, twice the same, or one out of order.
    #[error("node {index} of depth {depth} is none, or out of order")]
    NoSuchNode {
        /// Its depth.
        depth: u8,
        /// Which of its depth.
        index: u32,
    },
    /// A position outside of what was spoken of.
    #[error("position {0:#x} is out of place")]
    Position(u64),
}

impl Nodes {
    /// So many nodes are told of in one message: their children take 128 KiB at most.
    pub const LIMIT: usize = 1024;

    /// The one node that is the whole partition.
    #[must_use]
    pub fn root() -> Self {
        Self { depth: 0, indices: vec![0] }
    }

    /// These nodes of one depth.
    ///
    /// # Errors
    /// [`Refused::TooDeep`] and [`Refused::NoSuchNode`].
    pub fn new(depth: u8, indices: Vec<u32>) -> Result<Self, Refused> {
        if depth > DEEPEST {
            return Err(Refused::TooDeep { depth, own: DEEPEST });
        }
        let mut least = 0;
        for &index in &indices {
            if index < least || index >> depth != 0 {
                return Err(Refused::NoSuchNode { depth, index });
            }
            least = index + 1;
        }
        Ok(Self { depth, indices })
    }

    /// How deep they lie.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are none: nothing differs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Which of their depth they are, in order.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The same nodes, [`Nodes::LIMIT`] at a time.
    pub fn pages(&self) -> impl Iterator<Item = Self> {
        self.indices.chunks(Self::LIMIT).map(|page| Self { depth: self.depth, indices: page.to_vec() })
    }
}

impl Level {
    /// The nodes of which it speaks.
    #[must_use]
    pub const fn parents(&self) -> &Nodes {
        &self.parents
    }

    pub(super) fn step(&self) -> u8 {
        self.step
    }

    pub(super) fn children(&self) -> &[Short] {
        &self.children
    }

    /// Nothing if the children are not those of the parents.
    pub(super) fn new(parents: Nodes, step: u8, children: Vec<Short>) -> Option<Self> {
        let fits = (1..=STEP).contains(&step)
            && parents.depth + step <= DEEPEST
            && parents.len() <= Nodes::LIMIT
            && children.len() == parents.len() << step;
        fits.then_some(Self { parents, step, children })
    }
}

impl Tree {
    /// What this side has below these nodes: the sixteen children of each, or fewer where `common` is nearer.
    ///
    /// `common` is the lower of the two trees' depths. Where the nodes have reached it, their keys are listed instead.
    ///
    /// # Errors
    /// [`Refused::TooMany`], and [`Refused::TooDeep`] if the tree, or `common`, has nothing below these nodes.
    pub fn level(&self, parents: &Nodes, common: u8) -> Result<Level, Refused> {
        if parents.len() > Nodes::LIMIT {
            return Err(Refused::TooMany { nodes: parents.len() });
        }
        let own = self.depth().min(common);
        if parents.depth >= own {
            return Err(Refused::TooDeep { depth: parents.depth + 1, own });
        }
        let step = STEP.min(own - parents.depth);
        let children = self.children(parents, step).map(|(_, short)| short).collect();
        Ok(Level { parents: parents.clone(), step, children })
    }

    /// The nodes in a peer's level that differ from this side's.
    ///
    /// # Errors
    /// [`Refused::TooDeep`].
    pub fn compare(&self, theirs: &Level) -> Result<Nodes, Refused> {
        let depth = theirs.parents.depth + theirs.step;
        if depth > self.depth() {
            return Err(Refused::TooDeep { depth, own: self.depth() });
        }
        let own = self.children(&theirs.parents, theirs.step).zip(&theirs.children);
        let indices = own.filter(|((_, own), theirs)| own != *theirs).map(|((index, _), _)| index).collect();
        Ok(Nodes { depth, indices })
    }

    fn children(&self, parents: &Nodes, step: u8) -> impl Iterator<Item = (u32, Short)> {
        let depth = parents.depth + step;
        let indices = parents.indices.iter().flat_map(move |parent| (parent << step)..((parent + 1) << step));
        indices.map(move |index| (index, self.node(depth, index).short()))
    }

    /// The positions under these nodes, in order; neighbours are one range.
    ///
    /// A range holds few keys where both trees have about as many, and all that there is where one is empty: read it
    /// in pages.
    #[must_use]
    pub fn ranges(&self, nodes: &Nodes) -> Vec<RangeInclusive<u64>> {
        self.runs(nodes).map(|(range, _)| range).collect()
    }

    /// The same ranges, each with all of its keys in sum: whoever lists a range proves with it that nothing is missing. No
    /// sum if the nodes lie deeper than the tree.
    pub fn runs(&self, nodes: &Nodes) -> impl Iterator<Item = (RangeInclusive<u64>, Option<Summary>)> {
        let runs = nodes.indices.chunk_by(|left, right| left + 1 == *right);
        let sum = |run: &[u32]| {
            let sums = run.iter().map(|&index| self.node(nodes.depth, index));
            (nodes.depth <= self.depth()).then(|| sums.fold(Summary::default(), Summary::plus))
        };
        runs.filter_map(move |run| Some((self.span().parts(nodes.depth, run[0], run[run.len() - 1])?, sum(run))))
    }
}

impl KeyDigest {
    /// Of a key at `position` with the [`digest`](super::digest()) `digest`.
    #[must_use]
    pub const fn new(position: u64, digest: u128) -> Self {
        Self { position, digest: Summary { digest, count: 1 }.short() }
    }
}

/// The positions at which the lists of two sides, of all their keys in the same ranges, are not the same; ascending.
///
/// A key at such a position is there with other live versions, or on one side alone.
#[must_use]
pub fn differing_keys(own: &[KeyDigest], theirs: &[KeyDigest]) -> Vec<u64> {
    let sorted = |list: &[KeyDigest]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    let (own, theirs) = (sorted(own), sorted(theirs));
    let (mut own, mut theirs) = (&own[..], &theirs[..]);
    let mut differing = Vec::new();
    while let Some(position) = own.first().into_iter().chain(theirs.first()).map(|key| key.position).min() {
        let at = |list: &[KeyDigest]| list.iter().take_while(|key| key.position == position).count();
        let (left, right) = (own.split_at(at(own)), theirs.split_at(at(theirs)));
        if left.0 != right.0 {
            differing.push(position);
        }
        (own, theirs) = (left.1, right.1);
    }
    differing
}
