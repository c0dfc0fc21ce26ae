//! Keys, and the order in which they are used.

/// The length of every key.
pub(crate) const LENGTH: usize = 16;
/// Coprime to every number of keys here: a walk by it visits all keys, and not in the order in which they were made.
const STRIDE: usize = 997;

/// A key.
pub(crate) type Bytes16 = [u8; LENGTH];

/// So many keys whose bytes look random.
pub(crate) fn keys(count: usize) -> Vec<Bytes16> {
    let key = |i: usize| (i as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes();
    (0..count).map(key).collect()
}

/// An endless walk over `count` keys, and a fresh value at every step.
pub(crate) struct Walk {
    count: usize,
    made: usize,
    value: Vec<u8>,
}

impl Walk {
    pub(crate) fn new(count: usize, value: usize) -> Self {
        assert!(!count.is_multiple_of(STRIDE), "the walk would skip keys");
        Self { count, made: 0, value: vec![7; value] }
    }

    /// Which key is next.
    pub(crate) fn step(&mut self) -> usize {
        self.made += 1;
        self.made.wrapping_mul(STRIDE) % self.count
    }

    /// A value that no other step has.
    pub(crate) fn value(&mut self) -> &[u8] {
        self.value[..8].copy_from_slice(&(self.made as u64).to_le_bytes());
        &self.value
    }
}
