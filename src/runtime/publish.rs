//! Counters, gauges and histograms for whatever collects them through the crate `metrics`.
//!
//! They are published when the host says so, and not now and then by the timer thread: whoever is asked for metrics knows
//! when, they are of one moment then, and nodes that nobody asks cost nothing. Times are in seconds.

use std::time::Duration;

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;

use super::server::Server;
use crate::histogram::Histogram;
use crate::latencies::{Latencies, Phase};
use crate::status::{Counters, Status};
use crate::storage::Storage;

/// What was published last: what has come since then is added.
#[derive(Debug, Default)]
pub(super) struct Published(Box<Mutex<Last>>);

#[derive(Debug, Default)]
struct Last {
    counters: Counters,
    latencies: Latencies,
    is_described: bool,
}

/// For whatever collects numbers.
impl<S: Storage + 'static> Server<S> {
    /// Publishes the node's numbers to the recorder of `metrics` that is installed. Does nothing when the node has ended.
    ///
    /// Call it whenever they are collected, say every ten seconds, or when they are asked for. Counters and histograms go
    /// on where the last call has left them; gauges show this moment. Nothing is recorded in between.
    pub fn publish_metrics(&self) {
        let (Some(status), Some(latencies)) = (self.status(), self.latencies()) else { return };
        let mut last = self.published.0.lock();
        if !std::mem::replace(&mut last.is_described, true) {
            describe();
        }
        let node = Label::new("node", status.identity.node.to_string());
        publish_counters(&node, &last.counters, &status.counters);
        publish_latencies(&node, &last.latencies, &latencies);
        publish_gauges(&node, &status);
        (last.counters, last.latencies) = (status.counters, latencies);
    }
}

macro_rules! numbers {
    ($($field:ident: $text:literal),* $(,)?) => {
        &[$((concat!("quorate_", stringify!($field)), $text, |counters: &Counters| counters.$field)),*]
    };
}

type Number = (&'static str, &'static str, fn(&Counters) -> u64);

/// Those that only grow. The names are those of the fields of [`Counters`].
const COUNTERS: &[Number] = numbers![
    gets: "Gets answered, failures included",
    puts: "Puts and deletes answered, failures included",
    failed: "Requests that failed",
    divergent: "Gets that met more than one version",
    siblings: "Versions met by those gets",
    repairs: "Records sent to replicas that were behind",
    hedges: "Reads that asked one more replica because another was slow",
    gets_compared: "Reads that more than one owner has answered",
    gets_first_behind: "Of those, reads whose first answer lacked what another showed",
    puts_led: "Writes acknowledged as their coordinator, and done with",
    puts_at_all: "Of those, writes that all owners had stored by then",
    forwards: "Writes handed to an owner",
    hints_found: "Hints held when the node was opened",
    hints_kept: "Hints taken in, joined ones included",
    hints_joined: "Hints joined into one that was held already",
    hints_refused: "Hints refused for want of room",
    hints_sent: "Hints sent, repeats included",
    hints_waited: "Batches of hints put off, since another node's were being stored",
    hints_delivered: "Hints that have arrived",
    hints_dropped: "Hints that the disk has garbled or lost",
    refused: "Messages refused",
    unnamed: "Names asked for because a message said them",
    commits: "Syncs",
    exchanged: "Records that came in exchanges",
    exchanged_needed: "Records that came in exchanges and changed something",
    full_exchanges: "Exchanges over the trees",
    move_exchanges: "Exchanges begun for partitions that change hands",
    behind: "Requests refused because they knew too little of layouts",
    sent_again: "Requests sent again because other layouts count than before",
    superseded: "Partitions that were to come by a layout, and then by a later one",
    rivals: "Partitions collected also of what was sealed beside what was decided",
    moves_done: "Partitions that have come",
    moves_dropped: "Copies dropped that no layout names",
    moved_records: "Records that came for partitions on their way",
    moved_bytes: "Bytes of values that came for partitions on their way",
    layouts_refused: "Layouts refused that can't be ones of this cluster",
];

/// Those that show a moment.
const MOMENTS: &[Number] = numbers![
    hints_pending: "Hints held now",
    unsettled: "Records whose residual the clock doesn't cover yet",
];

const GAUGES: &[(&str, Unit, &str)] = &[
    ("quorate_open_seconds", Unit::Seconds, "How long the node has been open"),
    ("quorate_layout_epoch", Unit::Count, "How many layouts came before the decided one"),
    ("quorate_members", Unit::Count, "Members, removed ones included where there is gossip"),
    ("quorate_partitions_undecided", Unit::Count, "Partitions in which more than the decided layout counts"),
    ("quorate_partitions", Unit::Count, "Partitions of which the node has a copy"),
    ("quorate_suspected", Unit::Count, "Whether the peer is suspected"),
    ("quorate_silent_seconds", Unit::Seconds, "How long the peer has owed an answer"),
    ("quorate_peer_in_flight", Unit::Count, "What the peer was asked and has not answered"),
    ("quorate_hint_bytes", Unit::Bytes, "Bytes of hints held"),
    ("quorate_hints_for", Unit::Count, "Hints held for the peer"),
    ("quorate_oldest_hint_seconds", Unit::Seconds, "How long the oldest hint for the peer has been held"),
    ("quorate_debt", Unit::Count, "What is not known to be at all its owners, by kind"),
    ("quorate_exchanges", Unit::Count, "Exchanges running or waiting"),
    ("quorate_moves", Unit::Count, "Partitions on their way here (coming) and copies to be dropped (going)"),
    ("quorate_background_pause_seconds", Unit::Seconds, "The longest pause between slices of background work"),
    ("quorate_fenced", Unit::Count, "Whether a sync has failed: the node serves nothing"),
    ("quorate_records_to_read", Unit::Count, "Records still to be read for a digest tree or a scrub"),
    ("quorate_in_flight", Unit::Count, "Requests in progress"),
    ("quorate_unsynced", Unit::Count, "Answers that wait for a sync"),
    ("quorate_inbox", Unit::Count, "Inputs that wait for the node"),
];

fn describe() {
    COUNTERS.iter().for_each(|(name, text, _)| describe_counter!(*name, Unit::Count, *text));
    MOMENTS.iter().for_each(|(name, text, _)| describe_gauge!(*name, Unit::Count, *text));
    GAUGES.iter().for_each(|(name, unit, text)| describe_gauge!(*name, *unit, *text));
    describe_histogram!("quorate_request_seconds", Unit::Seconds, "Clients' requests, by operation");
    describe_histogram!("quorate_phase_seconds", Unit::Seconds, "Parts of requests, by phase");
    describe_histogram!("quorate_peer_seconds", Unit::Seconds, "Answers of peers, by peer and operation");
}

fn publish_counters(node: &Label, before: &Counters, now: &Counters) {
    for (name, _, value) in COUNTERS {
        counter!(*name, vec![node.clone()]).increment(value(now) - value(before));
    }
    for (name, _, value) in MOMENTS {
        gauge!(*name, vec![node.clone()]).set(value(now) as f64);
    }
}

fn publish_latencies(node: &Label, before: &Latencies, now: &Latencies) {
    for phase in Phase::ALL {
        let is_request = matches!(phase, Phase::Get | Phase::Put | Phase::Delete | Phase::List);
        let (name, label) =
            if is_request { ("quorate_request_seconds", "op") } else { ("quorate_phase_seconds", "phase") };
        let handle = histogram!(name, vec![node.clone(), Label::new(label, phase.name())]);
        hand_on(&handle, before.of(phase), now.of(phase));
    }
    let nothing = Histogram::new();
    for (peer, latencies) in now.peers() {
        let earlier = before.of_peer(peer);
        for (op, now, before) in [
            ("read", &latencies.read, earlier.map_or(&nothing, |earlier| &earlier.read)),
            ("write", &latencies.write, earlier.map_or(&nothing, |earlier| &earlier.write)),
        ] {
            let labels = vec![node.clone(), Label::new("peer", peer.0.to_string()), Label::new("op", op)];
            hand_on(&histogram!("quorate_peer_seconds", labels), before, now);
        }
    }
}

/// What has come since `before`: as the middles of its classes, within 1/32 of what was measured.
fn hand_on(handle: &metrics::Histogram, before: &Histogram, now: &Histogram) {
    for (micros, count) in now.since(before) {
        handle.record_many(seconds(micros), count as usize);
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn publish_gauges(node: &Label, status: &Status) {
    let set = |name: &'static str, value: f64| gauge!(name, vec![node.clone()]).set(value);
    let set_for = |name: &'static str, key: &'static str, label: String, value: f64| {
        gauge!(name, vec![node.clone(), Label::new(key, label)]).set(value);
    };
    set("quorate_open_seconds", seconds(status.identity.open_us));
    set("quorate_layout_epoch", status.cluster.epoch as f64);
    set("quorate_members", status.cluster.members.total as f64);
    set("quorate_partitions_undecided", status.cluster.undecided as f64);
    set("quorate_partitions", status.storage.partitions as f64);
    for peer in &status.peers.first {
        set_for("quorate_suspected", "peer", peer.node.to_string(), f64::from(u8::from(peer.suspected)));
        set_for("quorate_silent_seconds", "peer", peer.node.to_string(), seconds(peer.silent_us));
        set_for("quorate_peer_in_flight", "peer", peer.node.to_string(), peer.in_flight as f64);
        // Of those for whom nothing is kept any more, too: a gauge that nobody sets stays as it was.
        let target = status.hints.targets.first.iter().find(|target| target.node == peer.node);
        let (count, oldest) = target.map_or((0, 0), |target| (target.count, target.oldest_us));
        set_for("quorate_hints_for", "peer", peer.node.to_string(), count as f64);
        set_for("quorate_oldest_hint_seconds", "peer", peer.node.to_string(), seconds(oldest));
    }
    set("quorate_hint_bytes", status.hints.bytes as f64);
    let debt = &status.debt;
    for (kind, value) in [
        ("hints", debt.hints),
        ("refilling", debt.refilling.total),
        ("apart", debt.apart.total),
        ("unknown", debt.unknown.total),
        ("dirty", debt.dirty.total),
    ] {
        set_for("quorate_debt", "kind", kind.into(), value as f64);
    }
    set("quorate_exchanges", (status.repair.running + status.repair.waiting) as f64);
    set_for("quorate_moves", "direction", "coming".into(), status.transfers.coming.total as f64);
    set_for("quorate_moves", "direction", "going".into(), status.transfers.going.total as f64);
    let pause = status.admission.iter().map(|admission| admission.pause_us).max().unwrap_or(0);
    set("quorate_background_pause_seconds", seconds(pause));
    set("quorate_fenced", f64::from(u8::from(status.storage.fenced.is_some())));
    set("quorate_records_to_read", status.storage.to_read as f64);
    set("quorate_in_flight", status.queues.in_flight as f64);
    set("quorate_unsynced", status.queues.unsynced as f64);
    set("quorate_inbox", status.queues.inbox.unwrap_or(0) as f64);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_counter_has_a_metric_of_its_name() {
        let serde_json::Value::Object(fields) = serde_json::to_value(Counters::default()).unwrap() else {
            panic!("a struct")
        };
        let fields: BTreeSet<String> = fields.keys().map(|field| format!("quorate_{field}")).collect();
        let named: BTreeSet<String> = COUNTERS.iter().chain(MOMENTS).map(|(name, ..)| (*name).to_string()).collect();
        assert_eq!(named, fields);
    }

    #[test]
    fn the_operating_guide_names_all_that_are_not_counters() {
        let guide = include_str!("../../docs/OPERATING.md");
        let missing = GAUGES
            .iter()
            .chain(&[("quorate_hints_pending", Unit::Count, "")])
            .find(|(name, ..)| !guide.contains(&format!("`{name}`")));
        assert_eq!(missing.map(|(name, ..)| name), None);
    }
}
