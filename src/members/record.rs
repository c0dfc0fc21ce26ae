//! What is known of one node, and how two accounts of it become one.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::ids::{NodeId, Start, StoreId, ZoneId};

/// What is known of one node: a lattice, so that accounts may meet in any order, lost and repeated ones included.
///
/// A higher incarnation replaces everything. Within one the phase only rises, and what the operator decided and what
/// the node says of itself are joined each on its own: a new weight never takes a new address with it. What is equal
/// in number and not in content resolves by content, the same way everywhere: accounts that were numbered alike on two
/// sides would otherwise replace each other for ever.
///
/// Of a removed node nothing is kept but that: no account of the same incarnation brings it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct MemberRecord {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) phase: Phase,
    /// None of a removed node.
    pub(super) standing: Option<Standing>,
}

/// A record as it comes from outside.
#[derive(Deserialize)]
struct Unchecked {
    node: NodeId,
    incarnation: u64,
    phase: Phase,
    standing: Option<Standing>,
}

impl TryFrom<Unchecked> for MemberRecord {
    type Error = RecordError;
    fn try_from(Unchecked { node, incarnation, phase, standing }: Unchecked) -> Result<Self, RecordError> {
        Self { node, incarnation, phase, standing }.checked()
    }
}

/// What goes when the node goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) seat: Seat,
    pub(super) presence: Presence,
}

/// How far a member's life has come. The order is that of a life: it only goes on, and any phase may be skipped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// It has been heard of, and waits for a layout that names it.
    Joining,
    /// A layout may name it.
    Active,
    /// The next layout shall not name it; it serves until one without it is decided.
    Leaving,
    /// It is gone. It comes back only as a new incarnation.
    Removed,
}

/// What the operator decided about a member: where it stands and how much it takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Seat {
    /// How many decisions came before this one.
    pub revision: u64,
    /// Its failure domain.
    pub zone: ZoneId,
    /// How much it takes in proportion to the others, at least 1.
    pub weight: u32,
}

/// What a node says of itself. Nobody else's word counts for it: a node that hears another account says it again, with
/// a higher ordinal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Presence {
    /// Orders the node's starts, which by themselves have no order. From 1.
    pub ordinal: u64,
    /// The start that says it.
    pub start: Start,
    /// The store that it serves from.
    pub store: StoreId,
    /// What it speaks.
    pub protocols: Protocols,
    /// Where it is reached: bytes that only the host's transport reads. At most [`MemberRecord::ADDRESS_MAX`].
    pub address: Bytes,
}

/// The versions of the protocol between nodes that one speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Protocols {
    /// The lowest, not above the highest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
}

impl Protocols {
    /// Whether there is a version that both speak.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.lowest <= other.highest && other.lowest <= self.highest
    }
}

/// What a join of two accounts came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The account that was there has grown.
    pub grew: bool,
    /// The account that came did not say all that is known now: its sender is behind.
    pub sender_behind: bool,
}

/// Why an account of a member can't be. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A number is zero where numbers begin at 1, or beyond [`MemberRecord::NUMBER_MAX`].
    #[error("an incarnation, revision or ordinal is out of range")]
    Number,
    /// The weight is zero. A node that is to take nothing is a client from its first record on, and stays one.
    #[error("a member has weight zero, or a client is given a weight")]
    ZeroWeight,
    /// The address is longer than [`MemberRecord::ADDRESS_MAX`].
    #[error("an address of {0} bytes is longer than {max}", max = MemberRecord::ADDRESS_MAX)]
    Address(usize),
    /// The lowest protocol version is above the highest.
    #[error("the lowest protocol version is above the highest")]
    Protocols,
    /// The phase is behind the one that was reached, or the node is removed and the act needs one that isn't.
    #[error("a member that is {from:?} can't become {to:?}")]
    Phase {
        /// The phase that was reached.
        from: Phase,
        /// The one that was asked for.
        to: Phase,
    },
    /// A removed node has nothing but its name and incarnation, another one has the rest too.
    #[error("the content doesn't fit the phase")]
    Content,
}

impl MemberRecord {
    /// The longest address, in bytes: room for a host name and a port.
    pub const ADDRESS_MAX: usize = 263;
    /// Incarnations, revisions and ordinals end here, so that arithmetic on what a peer sent can't overflow.
    pub const NUMBER_MAX: u64 = 1 << 62;

    /// A node that joins for the first time. Its presence gets the ordinal 1, its seat the revision 0.
    ///
    /// # Errors
    /// [`RecordError`] if it weighs nothing, or if its address or protocol versions can't be. Nothing was made.
    pub fn joining(node: NodeId, zone: ZoneId, weight: u32, presence: Presence) -> Result<Self, RecordError> {
        if weight == 0 {
            return Err(RecordError::ZeroWeight);
        }
        Self::in_incarnation(node, 1, zone, weight, presence)
    }

    /// A client that coordinates for itself ([`Setup::client`](crate::Setup::client)): its weight is zero, and no layout is
    /// planned with it. It is here so that others know where to answer it.
    ///
    /// # Errors
    /// [`RecordError`] if its address or protocol versions can't be. Nothing was made.
    pub fn client(node: NodeId, presence: Presence) -> Result<Self, RecordError> {
        Self::in_incarnation(node, 1, ZoneId(0), 0, presence)
    }

    /// The same node, removed before, joins again: a new incarnation, with nothing of the old one.
    ///
    /// # Errors
    /// [`RecordError::Phase`] if it isn't removed, [`RecordError::Number`] if there are no more incarnations, or what
    /// [`joining`](Self::joining) gives. Nothing was made.
    pub fn rejoining(&self, zone: ZoneId, weight: u32, presence: Presence) -> Result<Self, RecordError> {
        if self.phase != Phase::Removed {
            return Err(RecordError::Phase { from: self.phase, to: Phase::Joining });
        }
        Self::in_incarnation(self.node, self.incarnation + 1, zone, weight, presence)
    }

    fn in_incarnation(
        node: NodeId,
        incarnation: u64,
        zone: ZoneId,
        weight: u32,
        presence: Presence,
    ) -> Result<Self, RecordError> {
        let presence = Presence { ordinal: 1, ..presence };
        let standing = Some(Standing { seat: Seat { revision: 0, zone, weight }, presence });
        Self { node, incarnation, phase: Phase::Joining, standing }.checked()
    }

    /// The same member, further on in its life.
    ///
    /// # Errors
    /// [`RecordError::Phase`] if it is further already. Nothing was made.
    pub fn advanced(&self, phase: Phase) -> Result<Self, RecordError> {
        if phase < self.phase {
            return Err(RecordError::Phase { from: self.phase, to: phase });
        }
        let standing = if phase == Phase::Removed { None } else { self.standing.clone() };
        Ok(Self { phase, standing, ..*self })
    }

    /// The same member at another place: a decision of the operator.
    ///
    /// # Errors
    /// [`RecordError`] if it is removed, weighs nothing, is a client, or has been moved too often. Nothing was made.
    pub fn seated(&self, zone: ZoneId, weight: u32) -> Result<Self, RecordError> {
        let standing = self.standing.as_ref().ok_or(RecordError::Phase { from: self.phase, to: Phase::Active })?;
        if standing.seat.weight == 0 {
            return Err(RecordError::ZeroWeight);
        }
        let seat = Seat { revision: standing.seat.revision + 1, zone, weight };
        Self { standing: Some(Standing { seat, ..standing.clone() }), ..*self }.checked()
    }

    /// The same member in a new start, or after another account of it was heard: the ordinal is one above the last.
    ///
    /// # Errors
    /// [`RecordError`] if it is removed, has started too often, or if its address or protocol versions can't be.
    /// Nothing was made.
    pub fn started(&self, presence: Presence) -> Result<Self, RecordError> {
        let standing = self.standing.as_ref().ok_or(RecordError::Phase { from: self.phase, to: Phase::Active })?;
        let presence = Presence { ordinal: standing.presence.ordinal + 1, ..presence };
        Self { standing: Some(Standing { presence, ..standing.clone() }), ..*self }.checked()
    }

    /// Whether it is a client, and no layout is to name it.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.seat().is_some_and(|seat| seat.weight == 0)
    }

    /// Its name.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// How often it has joined.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How far it has come.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What the operator decided; `None` of a removed node.
    #[must_use]
    pub fn seat(&self) -> Option<Seat> {
        self.standing.as_ref().map(|standing| standing.seat)
    }

    /// What it says of itself; `None` of a removed node.
    #[must_use]
    pub fn presence(&self) -> Option<&Presence> {
        self.standing.as_ref().map(|standing| &standing.presence)
    }

    /// Takes in another account of the same node.
    ///
    /// # Panics
    /// If it is one of another node.
    pub fn join(&mut self, other: &Self) -> Joined {
        assert_eq!(self.node, other.node, "accounts of two nodes");
        let mut grew = self.incarnation < other.incarnation;
        if grew {
            self.clone_from(other);
        } else if self.incarnation == other.incarnation {
            grew = self.join_within(other);
        }
        Joined { grew, sender_behind: self != other }
    }

    /// Joins accounts of one incarnation.
    fn join_within(&mut self, other: &Self) -> bool {
        let mut grew = raise(&mut self.phase, &other.phase);
        if self.phase == Phase::Removed {
            self.standing = None;
        } else if let (Some(own), Some(theirs)) = (&mut self.standing, &other.standing) {
            grew |= raise(&mut own.seat, &theirs.seat);
            grew |= raise(&mut own.presence, &theirs.presence);
        }
        grew
    }

    /// The record itself if all is as it must be, whoever sent it.
    pub(super) fn checked(self) -> Result<Self, RecordError> {
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<(), RecordError> {
        if !(1..=Self::NUMBER_MAX).contains(&self.incarnation) {
            return Err(RecordError::Number);
        }
        if (self.phase == Phase::Removed) != self.standing.is_none() {
            return Err(RecordError::Content);
        }
        let Some(Standing { seat, presence }) = &self.standing else { return Ok(()) };
        if seat.revision > Self::NUMBER_MAX || !(1..=Self::NUMBER_MAX).contains(&presence.ordinal) {
            return Err(RecordError::Number);
        }
        if seat.weight == 0 && seat.revision > 0 {
            return Err(RecordError::ZeroWeight);
        }
        if presence.protocols.lowest > presence.protocols.highest {
            return Err(RecordError::Protocols);
        }
        if presence.address.len() > Self::ADDRESS_MAX {
            return Err(RecordError::Address(presence.address.len()));
        }
        Ok(())
    }
}

/// The larger of the two. True if it is the other.
fn raise<T: Ord + Clone>(own: &mut T, other: &T) -> bool {
    let more = *own < *other;
    if more {
        own.clone_from(other);
    }
    more
}
