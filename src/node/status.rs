//! All that a node knows of itself, in one value.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Node;
use super::shard::{Operation, Shard};
use crate::ids::{NodeId, PartitionId};
use crate::latencies::{Latencies, Phase};
use crate::members::{MemberRecord, Membership, Phase as LifePhase};
use crate::message::PROTOCOLS;
use crate::ring::Layout;
use crate::status::{
    AdmissionStatus, ClusterStatus, ComingStatus, Debt, DebtStatus, GoingStatus, HintStatus, HintTarget,
    IdentityStatus, MemberStatus, PeerStatus, QueueStatus, RepairStatus, Shown, Status, StorageStatus, TransferStatus,
};
use crate::storage::Storage;
use crate::time::{Now, Time, micros};

impl<S: Storage> Node<S> {
    /// What the node knows of itself and of the cluster, at `now`: bounded in size, whatever the node holds, and the same
    /// for the same node and time. It changes nothing and reads no storage.
    #[must_use]
    pub fn status(&self, now: Now) -> Status {
        let latencies = self.latencies();
        let (counters, debt) = (self.counters(), self.debt_status());
        Status {
            format: Status::FORMAT,
            identity: self.identity_status(now.time),
            cluster: self.cluster_status(),
            peers: self.peer_status(now.time, &latencies),
            hints: self.hint_status(now.time),
            repair: self.repair_status(now.time, counters.repairs, counters.exchanged, counters.exchanged_needed),
            transfers: TransferStatus {
                coming: Shown::of(self.shards.iter().flat_map(Shard::coming_status), Status::FIRST),
                going: Shown::of(
                    self.going().into_iter().map(|going| GoingStatus {
                        partition: going.partition.0,
                        layout: going.layout.to_string(),
                        kept: going.kept.to_string(),
                    }),
                    Status::FIRST,
                ),
                came: counters.moves_done,
                dropped: counters.moves_dropped,
                records: counters.moved_records,
                bytes: counters.moved_bytes,
            },
            admission: self.shards.iter().map(Shard::admission_status).collect(),
            storage: StorageStatus {
                fenced: self.shards.iter().find_map(Shard::fenced).map(ToString::to_string),
                partitions: self.shards.iter().map(|shard| shard.replica.partitions().count() as u64).sum(),
                votes_lost: self.shards.iter().map(|shard| shard.votes.void().len() as u64).sum(),
                to_read: self.shards.iter().map(|shard| shard.replica.records_to_read()).sum(),
                unsettled: counters.unsettled,
            },
            queues: self.queue_status(),
            debt,
            counters,
            latencies: Phase::ALL
                .iter()
                .map(|phase| (phase.name().to_string(), latencies.of(*phase).summary()))
                .collect(),
        }
    }

    fn identity_status(&self, now: Time) -> IdentityStatus {
        let (identity, actor) = (&self.shared.identity, self.shared.actor);
        IdentityStatus {
            cluster: format!("{:032x}", identity.cluster.0),
            node: actor.node.0,
            store: self.store().map(|store| format!("{:032x}", store.0)),
            start: format!("{:016x}", actor.start.0),
            protocols: [PROTOCOLS.lowest, PROTOCOLS.highest],
            spoken_by_all: self.spoken_by_all(),
            shards: self.shards.len() as u64,
            open_us: micros(now.since(self.opened)),
        }
    }

    fn cluster_status(&self) -> ClusterStatus {
        let (decided, latest) = (self.layout(), self.latest());
        let mut members = BTreeMap::<NodeId, MemberStatus>::new();
        for layout in [decided, latest] {
            for member in layout.members() {
                let active = || MemberStatus { node: member.node.0, phase: "active".into(), ..MemberStatus::default() };
                let own = members.entry(member.node).or_insert_with(active);
                (own.zone, own.weight) = (member.zone.0, member.weight);
            }
        }
        let mut count = |layout: &Layout, field: fn(&mut MemberStatus) -> &mut u64| {
            for partition in (0..layout.partitions()).map(PartitionId) {
                for owner in layout.owners(partition) {
                    members.get_mut(owner).into_iter().for_each(|member| *field(member) += 1);
                }
            }
        };
        count(decided, |member| &mut member.owned);
        count(latest, |member| &mut member.to_own);
        for record in self.membership().into_iter().flat_map(Membership::records) {
            describe(record, members.entry(record.node()).or_default());
        }
        let pending = self.shards.first().into_iter().flat_map(|shard| shard.topology.known());
        ClusterStatus {
            epoch: decided.id().version,
            decided: decided.id().to_string(),
            latest: latest.id().to_string(),
            pending: pending.filter(|id| *id > decided.id()).map(|id| id.to_string()).take(Status::FIRST).collect(),
            copies: decided.n(),
            partitions: decided.partitions().into(),
            undecided: self.shards.iter().map(|shard| shard.topology.undecided() as u64).sum(),
            members: Shown::of(members.into_values(), Status::NODES),
        }
    }

    fn peer_status(&self, now: Time, latencies: &Latencies) -> Shown<PeerStatus> {
        let mut peers = BTreeMap::<NodeId, PeerStatus>::new();
        for shard in &self.shards {
            shard.add_peers(now, &mut peers);
        }
        peers.remove(&self.shared.node);
        for (node, own) in &mut peers {
            own.node = node.0;
            if let Some(answered) = latencies.of_peer(*node) {
                (own.reads, own.writes) = (answered.read.summary(), answered.write.summary());
            }
        }
        let mut all: Vec<_> = peers.into_values().collect();
        all.sort_by_key(|peer| (!peer.suspected, Reverse(peer.silent_us), peer.node));
        Shown::of(all, Status::NODES)
    }

    fn hint_status(&self, now: Time) -> HintStatus {
        let mut targets = BTreeMap::<NodeId, HintTarget>::new();
        for shard in &self.shards {
            shard.add_hints(now, &mut targets);
        }
        let (count, bytes) = targets.values().fold((0, 0), |sum, own| (sum.0 + own.count, sum.1 + own.bytes));
        let mut all: Vec<_> = targets.into_values().collect();
        all.sort_by_key(|target| (Reverse(target.count), target.node));
        HintStatus { count, bytes, targets: Shown::of(all, Status::FIRST) }
    }

    fn debt_status(&self) -> DebtStatus {
        let (mut hints, mut refilling) = (0, Vec::new());
        let (mut apart, mut unknown, mut dirty) = (Vec::new(), Vec::new(), Vec::new());
        for debt in self.debt() {
            match debt {
                Debt::Hints { count, .. } => hints += count,
                Debt::Refilling(partition) => refilling.push(partition),
                Debt::Apart(partition, node) => apart.push((partition, node)),
                Debt::Unknown(partition, node) => unknown.push((partition, node)),
                Debt::Dirty(partition, node) => dirty.push((partition, node)),
            }
        }
        DebtStatus {
            hints,
            refilling: Shown::of(refilling, Status::FIRST),
            apart: Shown::of(apart, Status::FIRST),
            unknown: Shown::of(unknown, Status::FIRST),
            dirty: Shown::of(dirty, Status::FIRST),
        }
    }

    fn repair_status(&self, now: Time, sent: u64, received: u64, needed: u64) -> RepairStatus {
        let agreed = || self.shards.iter().flat_map(Shard::agreements).filter_map(|(_, agreement)| agreement.agreed);
        let exchanges = || self.shards.iter().map(|shard| &shard.exchanges);
        RepairStatus {
            running: exchanges().map(|exchanges| exchanges.running() as u64).sum(),
            waiting: exchanges().map(|exchanges| exchanges.waiting() as u64).sum(),
            pairs: exchanges().map(|exchanges| exchanges.pairs() as u64).sum(),
            agreed: agreed().count() as u64,
            last_us: agreed().max().map(|at| micros(now.since(at))),
            longest_us: agreed().min().map(|at| micros(now.since(at))),
            sent,
            received,
            needed,
        }
    }

    fn queue_status(&self) -> QueueStatus {
        let (ready, unsynced) = self
            .shards
            .iter()
            .map(|shard| shard.lanes.lengths())
            .fold((0, 0), |sum, of| (sum.0 + of.0 as u64, sum.1 + of.1 as u64));
        QueueStatus {
            in_flight: self.in_flight() as u64,
            in_flight_limit: self.shared.limits.in_flight as u64,
            unsynced,
            ready: ready + (self.control_out.len() + self.membership_out.len()) as u64,
            inbox: None,
        }
    }
}

/// What gossip says of a member.
fn describe(record: &MemberRecord, own: &mut MemberStatus) {
    own.node = record.node().0;
    own.phase = match record.phase() {
        LifePhase::Joining if record.is_client() => "client",
        LifePhase::Joining => "joining",
        LifePhase::Active => "active",
        LifePhase::Leaving => "leaving",
        LifePhase::Removed => "removed",
    }
    .to_string();
    if let Some(seat) = record.seat() {
        (own.zone, own.weight) = (seat.zone.0, seat.weight);
    }
}

impl<S: Storage> Shard<S> {
    fn add_peers(&self, now: Time, peers: &mut BTreeMap<NodeId, PeerStatus>) {
        for peer in 0..self.topology.directory.len().min(self.peers.len()) {
            let own = peers.entry(self.topology.directory.node(peer)).or_default();
            own.suspected |= self.peers.is_suspected(peer);
            own.silent_us = own.silent_us.max(micros(self.peers.silent(peer, now)));
            own.phi = own.phi.max(self.peers.phi(peer, now));
            own.typical_us = own.typical_us.max(micros(self.peers.typical(peer)));
            own.p95_us = own.p95_us.max(self.peers.p95(peer).map(micros));
        }
        let mut waits_for = |node: NodeId| peers.get_mut(&node).into_iter().for_each(|own| own.in_flight += 1);
        for operation in self.operations.iter() {
            match operation {
                Operation::Get(get) => get.waits_for().for_each(&mut waits_for),
                Operation::Put(put) => put.waits_for().for_each(&mut waits_for),
                Operation::Forward(forward) => forward.waits_for().into_iter().for_each(&mut waits_for),
                Operation::List(list) => list.waits_for().into_iter().for_each(&mut waits_for),
                Operation::Delivery(delivery) => waits_for(delivery.waits_for()),
                Operation::Exchange(exchange) => waits_for(exchange.waits_for()),
                Operation::Opening(_) => {}
            }
        }
    }

    fn add_hints(&self, now: Time, targets: &mut BTreeMap<NodeId, HintTarget>) {
        for (target, count) in self.hints.targets() {
            let Some((bytes, oldest)) = self.hints.kept_for(target) else { continue };
            let age = self.handoff.ages.of(oldest, now);
            let own = targets.entry(target).or_default();
            own.node = target.0;
            own.count += count;
            own.bytes += bytes;
            own.oldest_us = own.oldest_us.max(micros(age.kept));
            own.from_before |= age.from_before;
            own.delivering |= self.handoff.running.contains_key(&target);
        }
    }

    fn coming_status(&self) -> Vec<ComingStatus> {
        let view = |coming: super::Coming| {
            let (records, bytes) = self.moves.moved(coming.partition);
            ComingStatus {
                partition: coming.partition.0,
                layout: coming.layout.to_string(),
                records,
                bytes,
                waits: coming.waits.to_string(),
            }
        };
        self.coming().into_iter().map(view).collect()
    }

    fn admission_status(&self) -> AdmissionStatus {
        let (pause_us, threshold_us, p99_us) = self.admission.state();
        AdmissionStatus { pause_us, threshold_us, p99_us }
    }
}
