//! A cart, and the reconciler that makes one of two: adds are never lost, and what was removed stays removed.

use std::collections::{BTreeMap, BTreeSet};

use quorate::Bytes;
use quorate::reconcile::{Reconciled, Reconciler, Sibling};

/// What was added, by the id of the purchase, and what was removed again. Both only grow, so that the union of two
/// carts is right whatever each of them has missed.
#[derive(Default)]
pub struct Cart {
    added: BTreeMap<u32, Item>,
    removed: BTreeSet<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    pub discs: u32,
    pub cents: u64,
}

impl Cart {
    pub fn add(&mut self, id: u32, item: Item) {
        self.added.insert(id, item);
    }

    pub fn remove(&mut self, id: u32) {
        self.removed.insert(id);
    }

    pub fn items(&self) -> impl Iterator<Item = (u32, Item)> {
        self.added.iter().filter(|(id, _)| !self.removed.contains(id)).map(|(&id, &item)| (id, item))
    }

    pub fn merge(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
    }

    /// One line for each item: `+id discs cents`, or `-id`.
    pub fn to_bytes(&self) -> Bytes {
        let added = self.added.iter().map(|(id, item)| format!("+{id} {} {}\n", item.discs, item.cents));
        let removed = self.removed.iter().map(|id| format!("-{id}\n"));
        added.chain(removed).collect::<String>().into()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut cart = Self::default();
        for line in std::str::from_utf8(bytes).ok()?.lines() {
            if let Some(id) = line.strip_prefix('-') {
                cart.remove(id.parse().ok()?);
            } else {
                let mut words = line.strip_prefix('+')?.split(' ');
                let mut word = || words.next();
                let id = word()?.parse().ok()?;
                cart.add(id, Item { discs: word()?.parse().ok()?, cents: word()?.parse().ok()? });
            }
        }
        Some(cart)
    }
}

pub struct MergeCarts;

impl Reconciler for MergeCarts {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        let mut merged = Cart::default();
        for sibling in siblings {
            // A value that is no cart is not ours to merge: the application is shown all of them.
            let Some(cart) = Cart::from_bytes(sibling.value) else { return Reconciled::Keep };
            merged.merge(cart);
        }
        Reconciled::Merge(merged.to_bytes())
    }
}
