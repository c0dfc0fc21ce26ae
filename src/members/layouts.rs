//! Which layouts there are, and which of them counts.

use std::collections::BTreeMap;

use crate::ids::LayoutId;

/// Which layouts a node has and which is decided: a lattice. What is decided only rises.
///
/// Names alone; what a layout says is kept elsewhere. A name is put in here when its content is at hand and has been
/// checked against it, so that nobody can make a node wait for a layout that doesn't exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layouts {
    pub(super) decided: LayoutId,
    /// Above the decided one, each with its parent.
    pub(super) proposed: BTreeMap<LayoutId, LayoutId>,
}

/// A layout is younger than its parent; this one isn't. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("layout {id} is not younger than its parent {parent}")]
pub struct NotYounger {
    /// The layout.
    pub id: LayoutId,
    /// What was said to be its parent.
    pub parent: LayoutId,
}

impl Layouts {
    /// So many undecided layouts are kept, the highest: the move goes to the highest, and the lowest are superseded.
    pub const PROPOSED_MAX: usize = 16;

    /// Of a node that has heard of none.
    #[must_use]
    pub const fn none() -> Self {
        Self::founded(LayoutId { version: 0, hash: 0 })
    }

    /// With one that is decided from the beginning: the first of a cluster.
    #[must_use]
    pub const fn founded(first: LayoutId) -> Self {
        Self { decided: first, proposed: BTreeMap::new() }
    }

    /// The highest that is known to be decided; version 0 while none is.
    #[must_use]
    pub const fn decided(&self) -> LayoutId {
        self.decided
    }

    /// Those that are neither decided nor superseded, ascending, each with its parent.
    pub fn proposed(&self) -> impl Iterator<Item = (LayoutId, LayoutId)> {
        self.proposed.iter().map(|(&id, &parent)| (id, parent))
    }

    /// What the move goes to: the highest that is proposed, or the decided one. Two layouts of one version, made on two
    /// sides of a partition, resolve by their hashes, the same way everywhere.
    #[must_use]
    pub fn highest(&self) -> LayoutId {
        self.proposed.last_key_value().map_or(self.decided, |(&id, _)| id)
    }

    /// Whether it is the decided one or one of those above it.
    #[must_use]
    pub fn knows(&self, id: LayoutId) -> bool {
        id == self.decided || self.proposed.contains_key(&id)
    }

    /// Takes in a layout whose content is at hand. True if it was news; one that the decided layout has superseded
    /// is none.
    ///
    /// # Errors
    /// [`NotYounger`] if it can't be its parent's child. Nothing was changed.
    pub fn propose(&mut self, id: LayoutId, parent: LayoutId) -> Result<bool, NotYounger> {
        if parent.version >= id.version {
            return Err(NotYounger { id, parent });
        }
        if id <= self.decided || self.proposed.contains_key(&id) {
            return Ok(false);
        }
        self.proposed.insert(id, parent);
        self.bound();
        Ok(self.proposed.contains_key(&id))
    }

    /// Takes in that a layout is decided, and drops those that it supersedes. True if it was news.
    pub fn decide(&mut self, id: LayoutId) -> bool {
        let news = id > self.decided;
        if news {
            self.decided = id;
            self.bound();
        }
        news
    }

    /// Takes in what another knows. True if it was news.
    pub fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.decided = self.decided.max(other.decided);
        for (&id, &parent) in &other.proposed {
            // Equal names have equal parents, since the name is a hash of them: no matter whose is kept, as long as
            // everybody keeps the same.
            let own = self.proposed.entry(id).or_insert(parent);
            *own = (*own).max(parent);
        }
        self.bound();
        *self != before
    }

    fn bound(&mut self) {
        let decided = self.decided;
        self.proposed.retain(|&id, _| id > decided);
        while self.proposed.len() > Self::PROPOSED_MAX {
            self.proposed.pop_first();
        }
    }
}
