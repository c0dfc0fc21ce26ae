//! What is stored: a string or a counter, with when it expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate::Bytes;
use quorate::reconcile::{Reconciled, Reconciler, Sibling};

use crate::counter::{Counter, Tally, Writer};

/// One stored version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    /// In milliseconds since 1970; zero: never. The library expires values too, but doesn't tell when.
    pub(crate) expires: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Its name is drawn when it is set: whoever counts on from it counts the same digits once, under that name.
    Text {
        name: Writer,
        text: Vec<u8>,
    },
    Counter(Counter),
}

const TEXT: u8 = 0;
const COUNTER: u8 = 1;
/// The mark and the expiry.
const HEAD: usize = 9;

impl Value {
    pub(crate) const fn text(name: Writer, text: Vec<u8>, expires: u64) -> Self {
        Self { kind: Kind::Text { name, text }, expires }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let (mark, name, body) = match &self.kind {
            Kind::Text { name, text } => (TEXT, Some(name.to_be_bytes()), text.clone()),
            Kind::Counter(counter) => (COUNTER, None, counter.to_bytes()),
        };
        [&[mark][..], &self.expires.to_be_bytes(), name.as_ref().map_or(&[], |name| &name[..]), &body].concat().into()
    }

    /// None if these are not the bytes of one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<HEAD>()?;
        let [mark, expires @ ..] = *head;
        let kind = match mark {
            TEXT => {
                let (name, text) = body.split_first_chunk::<8>()?;
                Kind::Text { name: u64::from_be_bytes(*name), text: text.to_vec() }
            }
            COUNTER => Kind::Counter(Counter::from_bytes(body)?),
            _ => return None,
        };
        Some(Self { kind, expires: u64::from_be_bytes(expires) })
    }

    /// As clients see it: a counter is its value in digits.
    pub(crate) fn into_text(self) -> Vec<u8> {
        match self.kind {
            Kind::Text { text, .. } => text,
            Kind::Counter(counter) => counter.value().to_string().into_bytes(),
        }
    }

    /// What can be counted on from it; none if it is no number.
    pub(crate) fn counter(&self) -> Option<Counter> {
        match &self.kind {
            Kind::Counter(counter) => Some(counter.clone()),
            Kind::Text { name, text } => {
                let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(Counter::of(*name, Tally::default().and(number)?))
            }
        }
    }

    /// How long it lasts from now on; none: for ever.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        (self.expires > 0).then(|| Duration::from_millis(self.expires.saturating_sub(now())))
    }
}

/// In milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The string that was set last, whoever has counted meanwhile; where there are but counters, all that was counted.
///
/// Were the later of a string and a counter shown, what three nodes show would depend on who meets whom first.
pub(crate) struct ReconcileValues;

impl Reconciler for ReconcileValues {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        let texts = siblings.iter().enumerate().filter(|(_, sibling)| sibling.value.first() == Some(&TEXT));
        if let Some((at, _)) = texts.max_by_key(|(_, sibling)| (sibling.stamp, sibling.dot)) {
            return Reconciled::Pick(at);
        }
        let (mut sum, mut expires) = (Counter::default(), Some(0));
        for sibling in siblings {
            let Some(Value { kind: Kind::Counter(counter), expires: end }) = Value::from_bytes(sibling.value) else {
                return Reconciled::Keep;
            };
            sum.merge(&counter);
            expires = expires.filter(|_| end > 0).map(|latest: u64| latest.max(end));
        }
        Reconciled::Merge(Value { kind: Kind::Counter(sum), expires: expires.unwrap_or(0) }.to_bytes())
    }

    fn uses_stamps(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_all_kinds_keep_the_laws_of_reconcilers() {
        quorate::testing::reconciler_laws(&ReconcileValues, |number| {
            let expires = number / 11 % 3;
            if number % 3 == 0 {
                return Value::text(number, number.to_string().into_bytes(), expires).to_bytes();
            }
            let counter = Counter::of(number % 5, Tally { added: number % 7, taken: number / 7 % 4 });
            Value { kind: Kind::Counter(counter), expires }.to_bytes()
        });
    }

    #[test]
    fn two_who_count_on_from_the_same_digits_count_them_once() {
        let mut one = Value::text(9, b"40".to_vec(), 0).counter().unwrap();
        let mut two = one.clone();
        one.merge(&Counter::of(1, Tally { added: 1, taken: 0 }));
        two.merge(&Counter::of(2, Tally { added: 1, taken: 0 }));
        one.merge(&two);
        assert_eq!(one.value(), 42);
        assert_eq!(Value::text(9, b"forty".to_vec(), 0).counter(), None);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_a_value_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(value) = Value::from_bytes(&bytes) {
                prop_assert_eq!(Value::from_bytes(&value.to_bytes()), Some(value));
            }
        }
    }
}
