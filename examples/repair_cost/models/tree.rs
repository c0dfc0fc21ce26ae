//! The library's digest tree, used as a session between two replicas uses it.

use quorate::merkle::{KeyDigest, Nodes, Rebuild, Tree, differing_keys};

use super::{exchange_records, rows_at};
use crate::wire::{Method, Wire};
use crate::world::{Side, World};

#[derive(Default)]
pub(crate) struct DigestTree {
    trees: Vec<Tree>,
}

impl Method for DigestTree {
    fn name(&self) -> &'static str {
        "digest tree"
    }

    fn keep(&mut self, world: &World) {
        self.trees = Side::BOTH.map(|side| tree(world, side)).into();
    }

    fn repair(&self, world: &World, wire: &mut Wire) {
        let tree = |side: Side| &self.trees[side as usize];
        // B begins: digest and depth of its tree. A shows the first level, or that all is well.
        wire.put(Side::B, 8 + 1);
        let mut speaks = Side::A;
        if tree(Side::A).summary().short() == tree(Side::B).summary().short() {
            wire.put(speaks, 1);
            return;
        }
        let common = tree(Side::A).depth().min(tree(Side::B).depth());
        wire.put(speaks, 1);
        let mut open = vec![Nodes::root()];
        while let Some(depth) = open.first().map(Nodes::depth).filter(|&depth| depth < common) {
            let mut next: Vec<u32> = Vec::new();
            let mut below = depth;
            for page in open.iter().flat_map(Nodes::pages) {
                let level = tree(speaks).level(&page, common).expect("the nodes lie above the common depth");
                wire.put_encoded(speaks, &level);
                let differing = tree(speaks.other()).compare(&level).expect("the depth is common");
                below = differing.depth();
                next.extend_from_slice(differing.indices());
            }
            open = vec![Nodes::new(below, next).expect("pages follow one another")];
            speaks = speaks.other();
        }
        let mut differing = Vec::new();
        for page in open.iter().flat_map(Nodes::pages) {
            let [theirs, own] = [speaks, speaks.other()].map(|side| list(world, tree(side), &page, side, wire));
            wire.put_encoded(speaks, &page);
            wire.put_encoded(speaks, &theirs);
            differing.extend(differing_keys(&own, &theirs));
        }
        // Records travel with what their sender has seen.
        let finder = speaks.other();
        wire.put_encoded(finder, world.clock(finder));
        exchange_records(world, wire, finder, &rows_at(world, &differing));
        wire.put_encoded(speaks, world.clock(speaks));
    }
}

fn list(world: &World, tree: &Tree, nodes: &Nodes, side: Side, wire: &mut Wire) -> Vec<KeyDigest> {
    let keys = tree.ranges(nodes).into_iter().flat_map(|range| world.listed(range, side));
    let list: Vec<KeyDigest> = keys.map(|(position, digest)| KeyDigest::new(position, digest)).collect();
    wire.read(list.len());
    list
}

fn tree(world: &World, side: Side) -> Tree {
    let keys: Vec<(u64, u128)> = world.listed(0..=u64::MAX, side).collect();
    let mut rebuild = Rebuild::new(0..=u64::MAX, keys.len() as u64);
    rebuild.take(u64::MAX, &keys).expect("the tree covers all positions");
    rebuild.finish().expect("all keys were given")
}
