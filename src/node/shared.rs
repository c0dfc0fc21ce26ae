//! What the shards of a node have in common.

use std::sync::Arc;

use super::setup::{Keyspace, Setup};
use crate::causality::Identity;
use crate::config::{ConfigError, Limits, Timing};
use crate::coordinate::{Patience, Roster};
use crate::detector::{Detector, DetectorSettings};
use crate::ids::{Actor, KeyspaceId, NodeId, Start};
use crate::replica::Cap;
use crate::ring::Layout;

/// What all shards of a node know and nobody changes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) node: NodeId,
    pub(super) actor: Actor,
    pub(super) layout: Arc<Layout>,
    pub(super) founding: bool,
    pub(super) zones: Vec<u8>,
    pub(super) keyspaces: Vec<Keyspace>,
    pub(super) limits: Limits,
    pub(super) timing: Timing,
    pub(super) shards: usize,
}

/// A request number carries the shard in its lowest bits, so that the reply finds it.
pub(super) const SHARD_BITS: u32 = 8;

impl Shared {
    pub(super) fn new(setup: Setup, start: Start, shards: usize) -> Result<Self, ConfigError> {
        if shards == 0 || shards > 1 << SHARD_BITS {
            return Err(ConfigError::Nothing("shard, and at most 256"));
        }
        let mut names: Vec<_> = setup.layout.members().iter().map(|member| member.zone).collect();
        names.sort_unstable();
        names.dedup();
        // Beyond 256 zones the last ones count as one: a write may then need one zone more, never one fewer.
        let number = |zone| names.binary_search(&zone).map_or(u8::MAX, |at| u8::try_from(at).unwrap_or(u8::MAX));
        let zones = setup.layout.members().iter().map(|member| number(member.zone)).collect();
        Ok(Self {
            identity: setup.identity,
            node: setup.node,
            actor: Actor { node: setup.node, start },
            layout: setup.layout,
            founding: setup.founding,
            zones,
            keyspaces: setup.keyspaces,
            limits: setup.limits,
            timing: setup.timing,
            shards,
        })
    }

    pub(super) fn roster<'a>(&'a self, peers: &'a Detector) -> Roster<'a> {
        let slow = self.timing.fallback;
        Roster { layout: &self.layout, peers, zones: &self.zones, me: self.node, slow }
    }

    pub(super) fn detector(&self) -> DetectorSettings {
        let silence = self.timing.suspect;
        // Five tries fit into the silence after which a peer is suspected: three that fail tell, where little is lost.
        DetectorSettings { silence, retry: silence / 5, quiet: self.timing.quiet, ..DetectorSettings::default() }
    }

    pub(super) fn patience(&self) -> Patience {
        let fallback = self.timing.fallback;
        Patience { fallback, suspect: self.timing.suspect.max(fallback) }
    }

    pub(super) fn keyspace(&self, id: KeyspaceId) -> Option<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.id() == id)
    }

    /// What a put may leave of an object of this keyspace.
    pub(super) fn cap(&self, id: KeyspaceId) -> Cap {
        let own = self.keyspace(id).and_then(|keyspace| keyspace.siblings).unwrap_or(usize::MAX);
        Cap { siblings: own.min(self.limits.siblings), bytes: self.limits.object }
    }

    pub(super) fn longest_value(&self, keyspace: &Keyspace) -> usize {
        keyspace.value.unwrap_or(usize::MAX).min(self.limits.value)
    }

    pub(super) const fn shard_of_number(number: u64) -> usize {
        (number & ((1 << SHARD_BITS) - 1)) as usize
    }
}
