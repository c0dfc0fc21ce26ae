//! What is compared: quorate in three forms, and the floor in two.

use quorate::Codec;

use super::cluster::Load;
use super::floor::{Floor, Version};
use super::floor_messages::Messages;
use super::keys::{Bytes16, Walk, keys};
use super::nodes::{IDENTITY, Nodes};

/// Something that puts and gets over keys that all have a value: one request after the other, unless its name ends in a number.
pub(crate) trait Side {
    fn put(&mut self, times: usize);
    fn get(&mut self, times: usize);
}

/// A side by its name, with so many keys and values of so many bytes.
pub(crate) fn side(name: &str, keys: usize, value: usize) -> Option<Box<dyn Side>> {
    Some(match name {
        "floor" => Box::new(Walker::start(Floor::new(), keys, value)),
        "floor-messages" => Box::new(Walker::start(Messages::new(), keys, value)),
        "quorate" => Box::new(Window::<1>(Load::start(keys, value))),
        "quorate-64" => Box::new(Window::<64>(Load::start(keys, value))),
        "quorate-1024" => Box::new(Window::<1_024>(Load::start(keys, value))),
        "nodes" => Box::new(Nodes::start(keys, value, None)),
        "nodes-messages" => Box::new(Nodes::start(keys, value, Some(Codec::new(IDENTITY, 16 << 20)))),
        _ => return None,
    })
}

/// A cluster whose client keeps so many requests in flight.
struct Window<const N: usize>(Load);

impl<const N: usize> Side for Window<N> {
    fn put(&mut self, times: usize) {
        self.0.put(times, N);
    }
    fn get(&mut self, times: usize) {
        std::hint::black_box(self.0.get(times, N));
    }
}

impl Side for Nodes {
    fn put(&mut self, times: usize) {
        Self::put(self, times);
    }
    fn get(&mut self, times: usize) {
        std::hint::black_box(Self::get(self, times));
    }
}

/// A floor, and what its client keeps: the version of each key's last put.
struct Walker<F> {
    floor: F,
    keys: Vec<Bytes16>,
    contexts: Vec<Version>,
    walk: Walk,
}

/// Either form of the floor.
trait Store {
    fn put(&mut self, key: &Bytes16, value: &[u8], context: &Version) -> Option<Version>;
    /// The length of the value.
    fn get(&mut self, key: &Bytes16) -> Option<usize>;
}

impl Store for Floor {
    fn put(&mut self, key: &Bytes16, value: &[u8], context: &Version) -> Option<Version> {
        Self::put(self, key, value, context)
    }
    fn get(&mut self, key: &Bytes16) -> Option<usize> {
        Self::get(self, key).map(|(_, value)| value.len())
    }
}

impl Store for Messages {
    fn put(&mut self, key: &Bytes16, value: &[u8], context: &Version) -> Option<Version> {
        Self::put(self, key, value, context)
    }
    fn get(&mut self, key: &Bytes16) -> Option<usize> {
        Self::get(self, key).map(|(_, value)| value.len())
    }
}

impl<F: Store> Walker<F> {
    fn start(floor: F, count: usize, value: usize) -> Self {
        let contexts = vec![Version::default(); count];
        let mut walker = Self { floor, keys: keys(count), contexts, walk: Walk::new(count, value) };
        walker.put(count);
        walker
    }
}

impl<F: Store> Side for Walker<F> {
    fn put(&mut self, times: usize) {
        for _ in 0..times {
            let at = self.walk.step();
            let written = self.floor.put(&self.keys[at], self.walk.value(), &self.contexts[at]);
            self.contexts[at] = written.expect("two replicas have it");
        }
    }

    fn get(&mut self, times: usize) {
        for _ in 0..times {
            let at = self.walk.step();
            std::hint::black_box(self.floor.get(&self.keys[at]).expect("every key has a value"));
        }
    }
}
