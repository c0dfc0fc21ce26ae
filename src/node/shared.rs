//! What the shards of a node have in common.

use std::sync::Arc;
use std::time::Duration;

use super::setup::{Keyspace, Setup};
use super::topology::Minima;
use crate::causality::Identity;
use crate::config::{ConfigError, Limits, Timing};
use crate::coordinate::{Directory, Patience, Roster};
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
    pub(super) elastic: bool,
    pub(super) client: bool,
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
        let elastic = setup.is_elastic();
        Ok(Self {
            elastic,
            client: setup.client,
            identity: setup.identity,
            node: setup.node,
            actor: Actor { node: setup.node, start },
            layout: setup.layout,
            founding: setup.founding,
            keyspaces: setup.keyspaces,
            limits: setup.limits,
            timing: setup.timing,
            shards,
        })
    }

    pub(super) fn roster<'a>(
        &self,
        layouts: &'a [Arc<Layout>],
        directory: &'a Directory,
        peers: &'a Detector,
    ) -> Roster<'a> {
        Roster { layouts, directory, peers, me: self.node, slow: self.timing.fallback }
    }

    /// What strict requests take at least: the smallest R and W of all keyspaces.
    pub(super) fn minima(&self) -> Minima {
        let least = |of: fn(&Keyspace) -> u8| self.keyspaces.iter().map(of).min().unwrap_or(1);
        Minima { r: least(|keyspace| keyspace.quorum.r()), w: least(|keyspace| keyspace.quorum.w()) }
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

    /// After how long a request is tried again that came in the middle of a change.
    pub(super) fn again(&self) -> Duration {
        self.timing.fallback
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
