//! The two clocks of the process.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::{Now, Time, WallTime, micros};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Wall time at the origin of the monotonic clock, by the latest look at the system's clock.
static WALL_AT_ORIGIN: AtomicU64 = AtomicU64::new(0);

/// Both clocks with one reading: wall time is the monotonic clock's, moved by what [`look_at_wall`] found last.
pub(super) fn now() -> Now {
    let time = Time(micros(ORIGIN.elapsed()));
    Now { time, wall: WallTime(WALL_AT_ORIGIN.load(Ordering::Relaxed).saturating_add(time.0)) }
}

/// Looks at the system's wall clock: at a start, and then now and then, for it may be set.
pub(super) fn look_at_wall() {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros);
    WALL_AT_ORIGIN.store(wall.saturating_sub(micros(ORIGIN.elapsed())), Ordering::Relaxed);
}

/// Looks again and again until something is so. False if that takes longer than `timeout`.
pub(super) fn wait_until(timeout: Duration, is_so: impl Fn() -> bool) -> bool {
    // Later than any clock can tell is never.
    let until = Instant::now().checked_add(timeout);
    while !is_so() {
        if until.is_some_and(|until| Instant::now() > until) {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}
