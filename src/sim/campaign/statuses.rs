//! Whether what nodes say of themselves is so.

use std::collections::BTreeMap;

use super::player::Player;
use super::property::{Property, Violation, broken};
use crate::ids::NodeId;
use crate::latencies::Phase;
use crate::status::Status;

impl Player {
    /// Statuses agree with themselves, with what else the nodes tell, and with the disks.
    pub(super) fn statuses_agree(&self) -> Result<(), Violation> {
        let mut on_disk = BTreeMap::<(NodeId, NodeId), u64>::new();
        for (node, target, bytes) in self.sim.hint_bytes() {
            *on_disk.entry((node, target)).or_default() += bytes;
        }
        for id in self.sim.members() {
            let Some(node) = self.sim.node(id) else { continue };
            let status = node.status(self.sim.now_of(id));
            let wrong = |what: &str| broken(Property::Statuses, format!("{id}: {what}: {status:?}"));
            let targets = &status.hints.targets.first;
            let told: Vec<_> = targets.iter().map(|target| (NodeId(target.node), target.count)).collect();
            let mut held = node.hints();
            held.sort_by_key(|(target, count)| (std::cmp::Reverse(*count), *target));
            let total: u64 = held.iter().map(|(_, count)| count).sum();
            held.truncate(Status::FIRST);
            if told != held || status.hints.count != total || status.counters.hints_pending != total {
                return wrong("hints");
            }
            let is_on_disk = |target: &&crate::status::HintTarget| {
                on_disk.get(&(id, NodeId(target.node))).copied().unwrap_or(0) == target.bytes
            };
            // A disk that puts records in the place of others changes how many bytes there are.
            if !self.damage && !targets.iter().all(|target| is_on_disk(&target)) {
                return wrong("bytes of hints");
            }
            if status.debt.is_none() != node.debt().is_empty() || status.debt.hints != total {
                return wrong("debt");
            }
            let suspects = status.peers.first.iter().filter(|peer| peer.suspected).count();
            if suspects != node.suspects().len() || status.storage.fenced.is_some() != node.is_fenced() {
                return wrong("suspects");
            }
            let count = |phase: Phase| status.latencies[phase.name()].count;
            let (reads, writes) = (count(Phase::Get), count(Phase::Put) + count(Phase::Delete));
            if reads > status.counters.gets || writes > status.counters.puts {
                return wrong("more answers were timed than given");
            }
            let moves = &status.transfers;
            if moves.coming.total != node.coming().len() as u64 || moves.going.total != node.going().len() as u64 {
                return wrong("transfers");
            }
        }
        Ok(())
    }
}
