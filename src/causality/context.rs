//! The client's context: what it had read when it writes.

use std::fmt;
use std::sync::Arc;

use super::record::Entry;
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::error::ContextError;
use crate::hash::{Purpose, Secret, hash};
use crate::ids::{ClusterId, NodeId};
use crate::names::{Named, Unknown};
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
    /// None where they are said by a name that the node which opened the bytes did not know.
    covered: Option<DotSet>,
    /// The same as a name and the rest, where a part of them has one that the client may be given.
    named: Option<Named>,
}

const VERSION: u8 = 1;
/// The dots covered are a name and the rest. Whoever reads version 1 alone must not take the rest for all.
const NAMED: u8 = 2;

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
        let seen = Seen { identity, position, live, covered: Some(covered), named: None };
        Self { seen: Some(Arc::new(seen)), route }
    }

    /// The same context, which its bytes say by a name if there is one.
    pub(crate) fn said_as(mut self, named: Named) -> Self {
        if named.head.is_some()
            && let Some(seen) = &mut self.seen
            && let Some(seen) = Arc::get_mut(seen)
        {
            seen.named = Some(named);
        }
        self
    }

    /// The same context, which its bytes say dot by dot if they are known.
    #[cfg(feature = "sim")]
    pub(crate) fn unnamed(&self) -> Self {
        match self.covered() {
            Some(dots) => {
                let mut whole = self.covering(dots.clone());
                if let Some(seen) = whole.seen.as_mut().and_then(Arc::get_mut) {
                    seen.named = None;
                }
                whole
            }
            None => self.clone(),
        }
    }

    /// What it covers, if that is said by a name that was not known here when its bytes were opened. Nothing may be
    /// written with it before the name is known: it is neither empty nor everything.
    pub(crate) fn unknown(&self) -> Option<&Named> {
        self.seen.as_deref().filter(|seen| seen.covered.is_none())?.named.as_ref()
    }

    /// The same context, now that it is known to cover these dots.
    pub(crate) fn covering(&self, dots: DotSet) -> Self {
        let seen = self.seen.as_deref().map(|seen| {
            let (live, named) = (seen.live.clone(), seen.named.clone());
            Arc::new(Seen { identity: seen.identity, position: seen.position, live, covered: Some(dots), named })
        });
        Self { seen, route: self.route }
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

    /// Whether the two were read of one key and showed exactly the same versions; what was read as nothing may have been
    /// written and deleted in between.
    #[must_use]
    pub fn has_shown_the_same_as(&self, other: &Self) -> bool {
        match (self.seen.as_deref(), other.seen.as_deref()) {
            (Some(one), Some(other)) => {
                one.live == other.live && one.position == other.position && one.identity == other.identity
            }
            (Some(one), None) | (None, Some(one)) => one.live.is_empty(),
            (None, None) => true,
        }
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unknown().is_none() && self.covered().is_none_or(DotSet::is_empty)
    }

    /// The dots that it covers. None if nothing was read, or if its bytes say them by a name that the node which opened
    /// them did not know: then that node asks the others when the context comes with a put.
    #[must_use]
    pub fn covered(&self) -> Option<&DotSet> {
        self.seen.as_deref().and_then(|seen| seen.covered.as_ref())
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
    /// version 1 or 2 · route (0, or node + 1) · seal (16) · dots shown · dots covered
    /// ```
    /// In version 2 a part of the dots covered is said by a name; a context stays that small through any number of
    /// restarts.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let Some(seen) = &self.seen else { return Bytes::default() };
        let mut body = Vec::with_capacity(64);
        seen.live.encode(&mut body);
        let version = match (&seen.named, &seen.covered) {
            (Some(named), _) => {
                named.encode(&mut body);
                NAMED
            }
            (None, covered) => {
                covered.as_ref().unwrap_or(&DotSet::new()).encode(&mut body);
                VERSION
            }
        };
        let mut out = Vec::with_capacity(body.len() + 27);
        out.push(version);
        put_varint(&mut out, self.route.map_or(0, |node| node.0.saturating_add(1)));
        out.extend_from_slice(&seal(&seen.identity, seen.position, &body).to_le_bytes());
        out.extend_from_slice(&body);
        Bytes::from(out)
    }

    /// Opens sealed bytes for the key at `position`. No bytes at all are the empty context; a name that `whole` doesn't
    /// know makes one whose dots are not known yet.
    pub(crate) fn from_bytes(
        identity: &Identity,
        position: u128,
        bytes: &[u8],
        limit: usize,
        whole: impl FnOnce(&Named) -> Result<DotSet, Unknown>,
    ) -> Result<Self, ContextError> {
        if bytes.is_empty() {
            return Ok(Self::empty());
        }
        if bytes.len() > limit {
            return Err(ContextError::TooLong { got: bytes.len(), limit });
        }
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if ![VERSION, NAMED].contains(&version) {
            return Err(FormatError::Version(version).into());
        }
        let route = reader.varint()?.checked_sub(1).map(NodeId);
        let sealed = u128::from_le_bytes(reader.array()?);
        let body = reader.take(reader.left())?;
        // Before the body is decoded: what isn't sealed by us is not worth a look.
        if seal(identity, position, body) != sealed {
            return Err(ContextError::Foreign);
        }
        let mut reader = Reader::new(body);
        let (live, named) = (DotSet::decode(&mut reader)?, Named::decode(&mut reader)?);
        reader.end()?;
        if named.head.is_some() != (version == NAMED) {
            return Err(FormatError::Content("a named set in a version that has none, or the other way round").into());
        }
        if version == VERSION {
            return Ok(Self::new(*identity, position, live, named.rest, route));
        }
        let covered = whole(&named).ok();
        let seen = Seen { identity: *identity, position, live, covered, named: Some(named) };
        Ok(Self { seen: Some(Arc::new(seen)), route })
    }
}

/// The version is not in it: the body says by its own first bytes which of the two it is.
fn seal(identity: &Identity, position: u128, body: &[u8]) -> u128 {
    let (cluster, position) = (identity.cluster.0.to_le_bytes(), position.to_le_bytes());
    hash(&identity.secret, Purpose::Seal, &[&cluster, &position, body])
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.covered(), self.unknown()) {
            (Some(covered), _) => write!(f, "Context({covered:?})"),
            (None, Some(named)) => write!(f, "Context({named:?})"),
            (None, None) => f.write_str("Context(nothing read)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stamp;
    use super::*;
    use crate::ids::{Actor, Dot, Start};
    use crate::names::{Definition, Names};

    const IDENTITY: Identity = Identity { cluster: ClusterId(7), secret: Secret::new([9; 16]) };

    fn context() -> Context {
        let actor = Actor { node: NodeId(2), start: Start(3) };
        let covered = [Dot { actor, counter: 1 }, Dot { actor, counter: 4 }].into_iter().collect();
        let live = [Dot { actor, counter: 4 }].into_iter().collect();
        Context::new(IDENTITY, 55, live, covered, Some(NodeId(8)))
    }

    fn open(identity: &Identity, position: u128, bytes: &[u8]) -> Result<Context, ContextError> {
        Context::from_bytes(identity, position, bytes, 1000, nobody_knows)
    }

    fn nobody_knows(named: &Named) -> Result<DotSet, Unknown> {
        Err(Unknown(named.head.expect("asked only where there is one")))
    }

    #[test]
    fn contexts_that_have_shown_the_same_versions_are_told_from_others() {
        let (shown, nothing) = (context(), Context::empty());
        let more = shown.covering(DotSet::of(Dot { actor: Actor { node: NodeId(9), start: Start(1) }, counter: 1 }));
        assert!(shown.has_shown_the_same_as(&more), "what else is covered is no matter");
        let void = Context::new(IDENTITY, 55, DotSet::new(), DotSet::new(), None);
        assert!(nothing.has_shown_the_same_as(&void) && void.has_shown_the_same_as(&nothing));
        let elsewhere = Context::new(IDENTITY, 56, DotSet::new(), DotSet::new(), None);
        for other in [&nothing, &void, &elsewhere] {
            assert!(!shown.has_shown_the_same_as(other) && !other.has_shown_the_same_as(&shown));
        }
        assert!(!void.has_shown_the_same_as(&elsewhere));
    }

    /// A dictionary that names what the context covers, but for its last dot, and the context said by it.
    fn named() -> (Names, Context) {
        let mut names = Names::new(IDENTITY.secret);
        let actor = Actor { node: NodeId(2), start: Start(3) };
        let rows = DotSet::of(Dot { actor, counter: 1 });
        names.learn(&Definition::new(None, rows).expect("a dot")).unwrap();
        let said = names.compress(context().covered().expect("two dots"), |_| true);
        (names, context().said_as(said))
    }

    #[test]
    fn a_context_with_a_name_covers_the_same_where_the_name_is_known() {
        let (names, context) = named();
        let open = |whole: &dyn Fn(&Named) -> Result<DotSet, Unknown>| {
            Context::from_bytes(&IDENTITY, 55, &context.to_bytes(), 1000, whole)
        };
        let opened = open(&|named| names.whole(named)).unwrap();
        assert_eq!((&opened, opened.covered()), (&context, self::context().covered()));
        assert!(opened.unknown().is_none());
    }

    #[test]
    fn a_context_with_an_unknown_name_is_neither_empty_nor_anything_else_until_it_is_known() {
        let (names, context) = named();
        let opened = open(&IDENTITY, 55, &context.to_bytes()).unwrap();
        assert_eq!((opened.covered(), opened.is_empty(), opened.to_bytes()), (None, false, context.to_bytes()));
        assert_eq!(format!("{opened:?}"), format!("Context({:?})", opened.unknown().unwrap()));
        let whole = names.whole(opened.unknown().unwrap()).unwrap();
        assert_eq!(opened.covering(whole), context);
    }

    #[test]
    fn the_version_byte_of_a_context_cannot_be_exchanged() {
        for (context, other) in [(context(), 2), (named().1, 1)] {
            let mut bytes = context.to_bytes().to_vec();
            bytes[0] = other;
            assert!(matches!(open(&IDENTITY, 55, &bytes), Err(ContextError::Garbled(FormatError::Content(_)))));
        }
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
                expires: None,
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
        every_flip_and_cut(&context());
        every_flip_and_cut(&named().1);
    }

    fn every_flip_and_cut(context: &Context) {
        let bytes = context.to_bytes();
        let original = open(&IDENTITY, 55, &bytes).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut garbled = bytes.to_vec();
                garbled[at] ^= 1 << bit;
                match open(&IDENTITY, 55, &garbled) {
                    Ok(opened) => assert_eq!(
                        (opened.covered(), opened.unknown(), at),
                        (original.covered(), original.unknown(), 1)
                    ),
                    Err(ContextError::Foreign | ContextError::Garbled(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            if at > 0 {
                assert!(open(&IDENTITY, 55, &bytes[..at]).is_err());
            }
        }
        assert_eq!(
            Context::from_bytes(&IDENTITY, 55, &bytes, bytes.len(), nobody_knows).map(|opened| opened.to_bytes()),
            Ok(bytes.clone())
        );
        let limit = bytes.len() - 1;
        assert_eq!(
            Context::from_bytes(&IDENTITY, 55, &bytes, limit, nobody_knows),
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

    #[test]
    fn golden_bytes_with_a_name() {
        let bytes = named().1.to_bytes();
        assert_eq!(bytes[..2], [2, 9]);
        assert_eq!(bytes[2..18], GOLDEN_NAMED_SEAL.to_le_bytes());
        assert_eq!(bytes[18..33], [0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0], "shown: 4");
        assert_eq!(bytes[33], 1, "covered: a name");
        assert_eq!(bytes[34..50], GOLDEN_NAME.to_le_bytes());
        assert_eq!(bytes[50..], [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0], "and 4");
    }
    const GOLDEN_NAME: u128 = 0xb332adb34e946421f5ff25ec5d112028;
    const GOLDEN_NAMED_SEAL: u128 = 0xb025077a8ede75b4798b86d4688ff5c6;
    const GOLDEN_SEAL: u128 = 0xdaa48c37682fd14ba97898be3faa93f2;

    #[test]
    fn a_context_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", context()), "Context({n2@3.1,4})");
        assert_eq!(format!("{IDENTITY:?}"), format!("Identity {{ cluster: cluster-{:032x}, secret: Secret(…) }}", 7));
    }
}
