//! Lines for people: when, and what.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes a line. One that can't be written is nobody's concern: the terminal may be gone while the node goes on.
pub(crate) fn log(line: &str) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let _ = writeln!(std::io::stderr(), "{hours:02}:{minutes:02}:{:02}.{millis:03}Z {line}", seconds % 60);
}
