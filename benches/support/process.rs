//! What the system says of this process and this machine (Linux; elsewhere it says nothing).

use std::fs;

/// Bytes of memory that the process has in its hands.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    field(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

/// How often a thread went to sleep of its own will: this thread, and all others of the process.
pub(crate) fn sleeps() -> Option<(u64, u64)> {
    let switches = |path: &str| field(&fs::read_to_string(path).ok()?, "voluntary_ctxt_switches:");
    let own = switches("/proc/thread-self/status")?;
    let mut all = 0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let path = thread.ok()?.path().join("status");
        all += switches(path.to_str()?)?;
    }
    Some((own, all.saturating_sub(own)))
}

/// The machine's load averages.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<_> = text.split_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".to_owned() } else { averages.join(" ") }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
