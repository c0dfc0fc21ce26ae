//! Names that nobody else comes upon.

use rand::TryRng;
use rand::rngs::SysRng;

/// A number from the system's randomness.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).expect("the system has randomness");
    u128::from_be_bytes(bytes)
}
