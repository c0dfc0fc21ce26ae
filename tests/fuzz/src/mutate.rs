//! Mutations by a seed, for where no fuzzer runs.

/// Makes bytes that are nearly right.
pub struct Mutator {
    state: u64,
}

/// What counts and lengths turn into: the borders of varints, and numbers that no memory holds.
const NUMBERS: [&[u8]; 10] = [
    &[0],
    &[0x7f],
    &[0x80, 0x01],
    &[0xfa],
    &[0xfb, 0xff, 0xff],
    &[0xfc, 0xff, 0xff, 0xff, 0xff],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f],
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: what is drawn must not change with a library.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let drawn = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        (drawn % bound.max(1) as u64) as usize
    }

    /// One of `seeds` with one change or two, some of which are parts of another.
    pub fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(2) {
            self.change(&mut bytes, seeds);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let length = 1 + self.below(8);
        let end = (at + length).min(bytes.len());
        match self.below(12) {
            0..=3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4 | 5 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            6 => bytes.truncate(at),
            7 => drop(bytes.drain(at..end)),
            8 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            9 => {
                let new: Vec<u8> = (0..length).map(|_| self.below(256) as u8).collect();
                bytes.splice(at..at, new);
            }
            10 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                let end = (at + 1).min(bytes.len());
                bytes.splice(at..end, number.iter().copied());
            }
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}
