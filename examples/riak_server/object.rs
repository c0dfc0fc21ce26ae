//! What is stored: an object's content with a mark that says how it is to be reconciled, or a counter.

use prost::Message;
use quorate::Bytes;
use quorate::reconcile::{Reconciled, Reconciler, Sibling};

use crate::counter::Counter;
use crate::messages::Content;

/// One stored version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    /// Stands beside others: its bucket has `allow_mult`.
    Sibling(Content),
    /// The latest of such is shown, by timestamp: its bucket has not.
    Latest(Content),
    /// Is merged with others.
    Counter(Counter),
}

const SIBLING: u8 = 0;
const LATEST: u8 = 1;
const COUNTER: u8 = 2;

impl Object {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let (mark, body) = match self {
            Self::Sibling(content) => (SIBLING, content.encode_to_vec()),
            Self::Latest(content) => (LATEST, content.encode_to_vec()),
            Self::Counter(counter) => (COUNTER, counter.to_bytes()),
        };
        [&[mark][..], &body].concat().into()
    }

    /// None if these are not the bytes of one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mark, body) = bytes.split_first()?;
        match *mark {
            SIBLING => Content::decode(body).ok().map(Self::Sibling),
            LATEST => Content::decode(body).ok().map(Self::Latest),
            COUNTER => Counter::from_bytes(body).map(Self::Counter),
            _ => None,
        }
    }

    /// As clients see it: a counter is its value in digits.
    pub(crate) fn into_content(self) -> Content {
        match self {
            Self::Sibling(content) | Self::Latest(content) => content,
            Self::Counter(counter) => Content {
                value: counter.value().to_string().into_bytes(),
                content_type: Some(b"application/riak_counter".to_vec()),
                ..Content::default()
            },
        }
    }
}

/// Merges counters, shows the latest of the versions that were written without `allow_mult`, keeps everything else.
///
/// What to do is said by the versions themselves: a bucket's properties may be changed between two reads, and nodes that
/// knew different ones would show different things.
pub(crate) struct ReconcileObjects;

impl Reconciler for ReconcileObjects {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        let marked = |mark: u8| siblings.iter().all(|sibling| sibling.value.first() == Some(&mark));
        if marked(LATEST) {
            let latest = siblings.iter().enumerate().max_by_key(|(_, sibling)| (sibling.stamp, sibling.dot));
            return latest.map_or(Reconciled::Keep, |(at, _)| Reconciled::Pick(at));
        }
        if !marked(COUNTER) {
            return Reconciled::Keep;
        }
        let mut sum = Counter::default();
        for sibling in siblings {
            match Object::from_bytes(sibling.value) {
                Some(Object::Counter(counter)) => sum.merge(&counter),
                _ => return Reconciled::Keep,
            }
        }
        Reconciled::Merge(Object::Counter(sum).to_bytes())
    }

    fn uses_stamps(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Tally;
    use proptest::prelude::*;

    fn content(number: u64) -> Content {
        Content { value: number.to_be_bytes().to_vec(), vtag: Some(b"v".to_vec()), ..Content::default() }
    }

    #[test]
    fn objects_of_each_kind_keep_the_laws_of_reconcilers() {
        let tally = |number: u64| Tally { added: number % 7, taken: number / 7 % 5 };
        let counters = |number: u64| Object::Counter(Counter::of(number % 3, tally(number))).to_bytes();
        quorate::testing::reconciler_laws(&ReconcileObjects, counters);
        quorate::testing::reconciler_laws(&ReconcileObjects, |number| Object::Latest(content(number)).to_bytes());
        quorate::testing::reconciler_laws(&ReconcileObjects, |number| Object::Sibling(content(number)).to_bytes());
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_an_object_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(object) = Object::from_bytes(&bytes) {
                prop_assert_eq!(Object::from_bytes(&object.to_bytes()), Some(object));
            }
        }
    }
}
