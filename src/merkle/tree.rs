//! The tree: buckets, and sums of neighbouring buckets.

use std::fmt;
use std::ops::RangeInclusive;

use super::digest::Summary;
use super::span::Span;

/// The digest tree of one partition.
///
/// Equal contents have equal summaries, in whatever order they came. See the module for its shape.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree {
    span: Span,
    /// There are 2^depth buckets.
    depth: u8,
    /// Nothing until there is a key: most partitions of a young cluster are empty.
    buckets: Vec<Bucket>,
    /// 2^(depth/2) sums of as many buckets each.
    sums: Vec<Bucket>,
    total: Summary,
}

/// A [`Summary`] in 20 bytes where a `u128` would take 32 with its alignment.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Bucket {
    digest: [u8; 16],
    count: u32,
}

/// Sixteen buckets at least, and as many levels in a step of a comparison.
pub(super) const STEP: u8 = 4;
/// 16 million buckets at most: 320 MB, and a hundred million keys.
pub(super) const DEEPEST: u8 = 24;
/// A tree grows by so many levels at once: each time all keys are read.
const GROWTH: u8 = 2;
/// So many keys in a bucket are too many. Each costs 16 bytes in the list of a bucket that differs, and a bucket more
/// costs 20 bytes of memory for good.
const FULL: u64 = 8;

impl Tree {
    /// An empty tree over these positions (the upper 64 bits of the keys' hashes): those of its partition.
    ///
    /// # Panics
    /// If the range is empty.
    #[must_use]
    pub fn new(positions: RangeInclusive<u64>) -> Self {
        Self::with_room(Span::new(positions), 0)
    }

    /// An empty tree with a depth for so many keys.
    pub(super) fn with_room(span: Span, keys: u64) -> Self {
        let (buckets, sums, total) = (Vec::new(), Vec::new(), Summary::default());
        Self { span, depth: depth_for(keys), buckets, sums, total }
    }

    /// Puts the digest `new` of a key in the place of `old`; nothing stands for a key without live versions.
    ///
    /// The digests are those of the record before a write and after it. What was never put in can't be taken out: the
    /// tree would be wrong until it is rebuilt.
    ///
    /// # Panics
    /// If the tree does not cover the position.
    pub fn replace(&mut self, position: u64, old: Option<u128>, new: Option<u128>) {
        self.add(position, old, new);
        if new.is_none() {
            self.shrink();
        }
    }

    /// As [`Tree::replace`], and keeps the depth.
    pub(super) fn add(&mut self, position: u64, old: Option<u128>, new: Option<u128>) {
        let slot = self.span.slot(position);
        if old == new {
            return;
        }
        if self.buckets.is_empty() {
            self.buckets = vec![Bucket::default(); 1 << self.depth];
            self.sums = vec![Bucket::default(); 1 << (self.depth / 2)];
        }
        let digest = new.unwrap_or(0).wrapping_sub(old.unwrap_or(0));
        let (more, fewer) = (new.is_some(), old.is_some());
        for (cells, depth) in [(&mut self.buckets, self.depth), (&mut self.sums, self.depth / 2)] {
            let cell = &mut cells[(slot >> (32 - depth)) as usize];
            cell.digest = u128::from_le_bytes(cell.digest).wrapping_add(digest).to_le_bytes();
            cell.count = cell.count.wrapping_add(u32::from(more)).wrapping_sub(u32::from(fewer));
        }
        self.total.digest = self.total.digest.wrapping_add(digest);
        // A count below zero would ask for the deepest of trees.
        self.total.count = (self.total.count + u64::from(more)).saturating_sub(u64::from(fewer));
    }

    /// All keys in sum. A batch that stores it lets a rebuild prove that it read what was written.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.total
    }

    /// There are 2^depth buckets; the nodes of a comparison lie at the lower of the two depths at most.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// Whether it should be rebuilt deeper ([`Rebuild::beside`](super::Rebuild::beside)). It works until then, with longer lists.
    #[must_use]
    pub const fn outgrown(&self) -> bool {
        depth_for(self.total.count) > self.depth
    }

    /// The positions that it covers.
    #[must_use]
    pub fn positions(&self) -> RangeInclusive<u64> {
        self.span.positions()
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + (self.buckets.capacity() + self.sums.capacity()) * size_of::<Bucket>()
    }

    pub(super) const fn span(&self) -> &Span {
        &self.span
    }

    /// The sum of a node that lies no deeper than the tree.
    pub(super) fn node(&self, depth: u8, index: u32) -> Summary {
        let (cells, cells_depth) =
            if depth > self.depth / 2 { (&self.buckets, self.depth) } else { (&self.sums, self.depth / 2) };
        let (width, at) = (1 << (cells_depth - depth), index as usize);
        // None are allocated while there are no keys.
        let cells = cells.get(at * width..(at + 1) * width).unwrap_or_default();
        sum(cells)
    }

    /// Few keys are left: fewer buckets do.
    fn shrink(&mut self) {
        if self.total == Summary::default() {
            *self = Self::with_room(self.span, 0);
        } else if self.depth > STEP && self.total.count < 1 << self.depth {
            // Half as many keys as would let it grow again.
            self.fold(self.depth - GROWTH);
        }
    }

    /// Gives up the depth that so many keys don't need.
    pub(super) fn settle(&mut self) {
        let depth = depth_for(self.total.count);
        if depth < self.depth {
            self.fold(depth);
        }
    }

    fn fold(&mut self, depth: u8) {
        let fold = |cells: &[Bucket], to: u8| -> Vec<Bucket> {
            let width = (cells.len() >> to).max(1);
            cells.chunks(width).map(|chunk| Bucket::from(sum(chunk))).collect()
        };
        self.buckets = fold(&self.buckets, depth);
        self.sums = fold(&self.buckets, depth / 2);
        self.depth = depth;
    }
}

fn sum(cells: &[Bucket]) -> Summary {
    cells.iter().fold(Summary::default(), |sum, cell| {
        sum.plus(Summary { digest: u128::from_le_bytes(cell.digest), count: u64::from(cell.count) })
    })
}

const fn depth_for(keys: u64) -> u8 {
    let mut depth = STEP;
    while depth < DEEPEST && keys > FULL << depth {
        depth += GROWTH;
    }
    depth
}

impl From<Summary> for Bucket {
    fn from(summary: Summary) -> Self {
        Self { digest: summary.digest.to_le_bytes(), count: summary.count as u32 }
    }
}

// The buckets of a large tree would fill a log.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("positions", &self.positions())
            .field("depth", &self.depth)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
