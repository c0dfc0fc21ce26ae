//! What a host says of its node when it opens it.

use crate::bytes::Bytes;
use crate::ids::{NodeId, ZoneId};

/// What a node brings to the gossip, beside what it knows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduce {
    /// Its failure domain, as long as nobody has said otherwise. Default 0.
    pub zone: ZoneId,
    /// How much it takes in proportion to others, at least 1, as long as nobody has said otherwise. Default 1.
    pub weight: u32,
    /// Where the others' transports reach it, in their spelling. At most
    /// [`MemberRecord::ADDRESS_MAX`](super::MemberRecord::ADDRESS_MAX) bytes. Default empty.
    pub address: Bytes,
    /// Nodes that are asked now and then though nothing may be known of them (Dynamo §4.8.2). The transport must know
    /// where they are. Default none.
    pub seeds: Vec<NodeId>,
    /// Whether this node may plan and commit changes by itself: joins and departures, once nothing has changed about
    /// them for five rounds of gossip. Of the members of the layout that aren't suspected the one with the lowest name
    /// does. Default false: an operator looks at the plan first.
    pub automatic: bool,
}

impl Introduce {
    /// Of weight 1 in zone 0, reached at `address`, with these seeds.
    #[must_use]
    pub fn new(address: impl Into<Bytes>, seeds: Vec<NodeId>) -> Self {
        Self { zone: ZoneId(0), weight: 1, address: address.into(), seeds, automatic: false }
    }
}
