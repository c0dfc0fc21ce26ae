//! A tree from a scan in slices, while writes go on.

use std::ops::RangeInclusive;

use super::compare::Refused;
use super::span::Span;
use super::tree::Tree;

/// A tree that is being built from what is stored, in slices, beside writes. It ends equal to one built at rest.
///
/// Each write is told to the rebuild as it is to the tree in use. One behind the scan is applied, one ahead of it is
/// ignored, for the scan will meet what it left.
///
/// ```
/// use quorate::merkle::Rebuild;
///
/// let mut rebuild = Rebuild::new(0..=u64::MAX, 3);
/// // From `next()`, read some keys and then up to where the position changes.
/// assert_eq!(rebuild.next(), Some(0));
/// rebuild.take(500, &[(100, 1), (500, 2)])?;
/// rebuild.replace(300, None, Some(4));
/// rebuild.replace(900, None, Some(8)); // the scan finds it
/// rebuild.take(u64::MAX, &[(900, 8)])?;
/// let tree = rebuild.finish().expect("all was scanned");
/// assert_eq!(tree.summary().digest, 1 + 2 + 4 + 8);
/// # Ok::<(), quorate::merkle::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rebuild {
    pub(super) tree: Tree,
    next: Option<u64>,
}

impl Rebuild {
    /// Over these positions, with about so many keys to come. Where the number isn't known, more is better than less:
    /// what is too fine is given up at the end, but takes 4 bytes and more for each of so many keys until then.
    ///
    /// # Panics
    /// If the range is empty.
    #[must_use]
    pub fn new(positions: RangeInclusive<u64>, keys: u64) -> Self {
        let next = Some(*positions.start());
        Self { tree: Tree::with_room(Span::new(positions), keys), next }
    }

    /// For the same positions and about as many keys as a tree that is in use.
    #[must_use]
    pub fn beside(tree: &Tree) -> Self {
        Self::new(tree.positions(), tree.summary().count)
    }

    /// The position with which the next slice begins; nothing when all has been scanned.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// Keys that have been taken in, with those that were written behind the scan since.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tree.summary().count
    }

    /// Takes a slice: position and digest of *all* keys with live versions from [`Rebuild::next`] through `through`,
    /// both included, as they are now. Several keys may share a position: a slice that ends between them would lose
    /// the rest.
    ///
    /// # Errors
    /// [`Refused::Position`] if `through` or a key is out of place; nothing was taken.
    pub fn take(&mut self, through: u64, keys: &[(u64, u128)]) -> Result<(), Refused> {
        // An empty range once all was scanned.
        let slice = self.next.map_or(RangeInclusive::new(1, 0), |next| next..=through);
        let last = *self.tree.positions().end();
        if slice.is_empty() || through > last {
            return Err(Refused::Position(through));
        }
        if let Some(&(position, _)) = keys.iter().find(|(position, _)| !slice.contains(position)) {
            return Err(Refused::Position(position));
        }
        for &(position, digest) in keys {
            self.tree.add(position, None, Some(digest));
        }
        self.next = (through < last).then(|| through + 1);
        Ok(())
    }

    /// A write between two slices, as told to [`Tree::replace`].
    ///
    /// # Panics
    /// If the tree does not cover the position.
    pub fn replace(&mut self, position: u64, old: Option<u128>, new: Option<u128>) {
        assert!(self.tree.positions().contains(&position), "a write to another partition");
        if self.next.is_none_or(|next| position < next) {
            self.tree.add(position, old, new);
        }
    }

    /// The new tree; nothing, and the rebuild is lost, while [`Rebuild::next`] says that there is more to scan.
    ///
    /// It may take the place of the tree in use at once. If their summaries differ, what is stored is not what was
    /// written.
    #[must_use]
    pub fn finish(mut self) -> Option<Tree> {
        self.tree.settle();
        self.next.is_none().then_some(self.tree)
    }
}
