//! The client's context: what it had read when it writes.

use std::fmt;
use std::sync::Arc;

use super::record::Entry;
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::error::ContextError;
use crate::hash::{Purpose, Secret, hash};
use crate::ids::{ClusterId, NodeId};
use crate::wire::{FormatError, Reader, put_varint};

/// Which cluster this is, and the secret that its nodes share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: ClusterId,
    /// The cluster's secret.
    pub secret: Secret,
}

/// What a client had seen of a key when it read it: pass it back with the put that replaces what was read.
///
/// A put supersedes exactly what its context covers. The empty context covers nothing: such a put is blind, and its
/// value stands beside what is there. (Dynamo §4.1, §4.4.)
///
/// Inside a program it is a handle that nobody can forge; [`Context::to_bytes`] seals it for the way through a
/// client, and the seal binds it to the cluster and the key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Context {
    seen: Option<Arc<Seen>>,
    /// The node that answered the read first: the best coordinator for the put (Dynamo §5). Advice, so not sealed.
    route: Option<NodeId>,
}

#[derive(PartialEq, Eq)]
struct Seen {
    identity: Identity,
    position: u128,
    /// The versions that were shown: what a conditional put compares with.
    live: DotSet,
    covered: DotSet,
}

const VERSION: u8 = 1;

impl Context {
    /// The context of somebody who has read nothing: a put with it is blind.
    #[must_use]
    pub const fn empty() -> Self {
        Self { seen: None, route: None }
    }

    pub(crate) fn new(
        identity: Identity,
        position: u128,
        live: DotSet,
        covered: DotSet,
        route: Option<NodeId>,
    ) -> Self {
        Self { seen: Some(Arc::new(Seen { identity, position, live, covered })), route }
    }

    /// Whether exactly these versions were shown when it was read.
    pub(crate) fn has_shown(&self, entries: &[Entry]) -> bool {
        match &self.seen {
            None => entries.is_empty(),
            Some(seen) => {
                seen.live.count() == entries.len() as u64 && entries.iter().all(|entry| seen.live.contains(entry.dot))
            }
        }
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.covered().is_none_or(DotSet::is_empty)
    }

    /// The dots that it covers.
    #[must_use]
    pub fn covered(&self) -> Option<&DotSet> {
        self.seen.as_deref().map(|seen| &seen.covered)
    }

    pub(crate) const fn route(&self) -> Option<NodeId> {
        self.route
    }

    pub(crate) fn check(&self, identity: &Identity, position: u128) -> Result<(), ContextError> {
        match &self.seen {
            Some(seen) if seen.position != position || seen.identity != *identity => Err(ContextError::Foreign),
            _ => Ok(()),
        }
    }

    /// Sealed bytes, to be handed to a client and passed to `Client::context` when they come back.
    ///
    /// ```text
    /// version 1 · route (0, or node + 1) · seal (16) · dots shown · dots covered
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let Some(seen) = &self.seen else { return Bytes::default() };
        let mut body = Vec::with_capacity(64);
        seen.live.encode(&mut body);
        seen.covered.encode(&mut body);
        let mut out = Vec::with_capacity(body.len() + 27);
        out.push(VERSION);
        put_varint(&mut out, self.route.map_or(0, |node| node.0.saturating_add(1)));
        out.extend_from_slice(&seal(&seen.identity, seen.position, &body).to_le_bytes());
        out.extend_from_slice(&body);
        Bytes::from(out)
    }

    /// Opens sealed bytes for the key at `position`. No bytes at all are the empty context.
    pub(crate) fn from_bytes(
        identity: &Identity,
        position: u128,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Self, ContextError> {
        if bytes.is_empty() {
            return Ok(Self::empty());
        }
        if bytes.len() > limit {
            return Err(ContextError::TooLong { got: bytes.len(), limit });
        }
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            VERSION => {}
            version => return Err(FormatError::Version(version).into()),
        }
        let route = reader.varint()?.checked_sub(1).map(NodeId);
        let sealed = u128::from_le_bytes(reader.array()?);
        let body = reader.take(reader.left())?;
        // Before the body is decoded: what isn't sealed by us is not worth a look.
        if seal(identity, position, body) != sealed {
            return Err(ContextError::Foreign);
        }
        let mut reader = Reader::new(body);
        let (live, covered) = (DotSet::decode(&mut reader)?, DotSet::decode(&mut reader)?);
        reader.end()?;
        Ok(Self::new(*identity, position, live, covered, route))
    }
}

fn seal(identity: &Identity, position: u128, body: &[u8]) -> u128 {
    let (cluster, position) = (identity.cluster.0.to_le_bytes(), position.to_le_bytes());
    hash(&identity.secret, Purpose::Seal, &[&cluster, &position, body])
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.covered() {
            None => f.write_str("Context(nothing read)"),
            Some(covered) => write!(f, "Context({covered:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stamp;
    use super::*;
    use crate::ids::{Actor, Dot, Start};

    const IDENTITY: Identity = Identity { cluster: ClusterId(7), secret: Secret::new([9; 16]) };

    fn context() -> Context {
        let actor = Actor { node: NodeId(2), start: Start(3) };
        let covered = [Dot { actor, counter: 1 }, Dot { actor, counter: 4 }].into_iter().collect();
        let live = [Dot { actor, counter: 4 }].into_iter().collect();
        Context::new(IDENTITY, 55, live, covered, Some(NodeId(8)))
    }

    fn open(identity: &Identity, position: u128, bytes: &[u8]) -> Result<Context, ContextError> {
        Context::from_bytes(identity, position, bytes, 1000)
    }

    #[test]
    fn sealed_bytes_come_back_as_the_same_context() {
        assert_eq!(open(&IDENTITY, 55, &context().to_bytes()), Ok(context()));
        assert_eq!(open(&IDENTITY, 55, &Context::empty().to_bytes()), Ok(Context::empty()));
    }

    #[test]
    fn exactly_the_versions_that_were_shown_are_what_a_condition_looks_for() {
        let actor = Actor { node: NodeId(2), start: Start(3) };
        let entries = |counters: &[u64]| -> Vec<Entry> {
            let entry = |&counter: &u64| Entry {
                dot: Dot { actor, counter },
                write_id: None,
                stamp: Stamp(0),
                value: Bytes::default(),
            };
            counters.iter().map(entry).collect()
        };
        let dots = |counters: &[u64]| entries(counters).iter().map(|entry| entry.dot).collect::<DotSet>();
        let context = Context::new(IDENTITY, 55, dots(&[3, 4]), dots(&[1, 2, 3, 4]), None);
        assert!(context.has_shown(&entries(&[3, 4])));
        for other in [&[][..], &[3], &[3, 5], &[1, 2], &[3, 4, 5]] {
            assert!(!context.has_shown(&entries(other)), "{other:?}");
        }
        assert!(Context::empty().has_shown(&[]) && !Context::empty().has_shown(&entries(&[1])));
        let deleted = Context::new(IDENTITY, 55, DotSet::new(), dots(&[1]), None);
        assert!(deleted.has_shown(&[]) && !deleted.has_shown(&entries(&[1])), "it was read, and nothing was there");
    }

    #[test]
    fn a_context_is_empty_if_it_covers_nothing_and_tells_who_answered() {
        let of_nothing = Context::new(IDENTITY, 55, DotSet::new(), DotSet::new(), Some(NodeId(0)));
        assert!(Context::empty().is_empty() && of_nothing.is_empty() && !context().is_empty());
        let reopened = |context: &Context| open(&IDENTITY, 55, &context.to_bytes()).unwrap().route();
        assert_eq!((context().route(), reopened(&context())), (Some(NodeId(8)), Some(NodeId(8))));
        assert_eq!((Context::empty().route(), reopened(&of_nothing)), (None, Some(NodeId(0))));
    }

    #[test]
    fn contexts_of_another_key_cluster_or_secret_are_refused() {
        let bytes = context().to_bytes();
        assert_eq!(open(&IDENTITY, 56, &bytes), Err(ContextError::Foreign));
        assert_eq!(open(&Identity { cluster: ClusterId(8), ..IDENTITY }, 55, &bytes), Err(ContextError::Foreign));
        let other = Identity { secret: Secret::new([8; 16]), ..IDENTITY };
        assert_eq!(open(&other, 55, &bytes), Err(ContextError::Foreign));
        assert_eq!(context().check(&IDENTITY, 56), Err(ContextError::Foreign));
        assert_eq!(context().check(&other, 55), Err(ContextError::Foreign));
        assert_eq!(context().check(&IDENTITY, 55), Ok(()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused_or_only_changes_the_advice() {
        let bytes = context().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut garbled = bytes.to_vec();
                garbled[at] ^= 1 << bit;
                match open(&IDENTITY, 55, &garbled) {
                    Ok(opened) => assert_eq!((opened.covered(), at), (context().covered(), 1)),
                    Err(ContextError::Foreign | ContextError::Garbled(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            if at > 0 {
                assert!(open(&IDENTITY, 55, &bytes[..at]).is_err());
            }
        }
        assert_eq!(Context::from_bytes(&IDENTITY, 55, &bytes, bytes.len()), Ok(context()));
        let limit = bytes.len() - 1;
        assert_eq!(
            Context::from_bytes(&IDENTITY, 55, &bytes, limit),
            Err(ContextError::TooLong { got: limit + 1, limit })
        );
    }

    /// Tokens live in clients: the format may change only with a new version byte.
    #[test]
    fn golden_bytes() {
        let bytes = context().to_bytes();
        assert_eq!(bytes[..2], [1, 9]);
        assert_eq!(bytes[2..18], GOLDEN_SEAL.to_le_bytes());
        assert_eq!(bytes[18..33], [0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0], "shown: 4");
        assert_eq!(bytes[33..], [0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0], "covered: 1 and 4");
    }
    const GOLDEN_SEAL: u128 = 0xdaa48c37682fd14ba97898be3faa93f2;

    #[test]
    fn a_context_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", context()), "Context({n2@3.1,4})");
        assert_eq!(format!("{IDENTITY:?}"), format!("Identity {{ cluster: cluster-{:032x}, secret: Secret(…) }}", 7));
    }
}
