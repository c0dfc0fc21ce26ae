//! Riak's request options and bucket properties, as the library's.

use std::time::Duration;

use quorate::config::{Durability, Mode};
use quorate::{GetOptions, PutOptions};

use crate::messages::{BucketProperties, DeleteRequest, GetRequest, PutRequest};

/// Quorums by name are numbers at the upper end.
pub(crate) const ONE: u32 = u32::MAX - 1;
pub(crate) const QUORUM: u32 = u32::MAX - 2;
pub(crate) const ALL: u32 = u32::MAX - 3;
pub(crate) const DEFAULT: u32 = u32::MAX - 4;

/// A quorum that a bucket's replicas can't give. Nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OptionError {
    /// More answers than there are replicas.
    #[error("{{n_val_violation,{0}}}")]
    Quorum(u8),
    /// A request for more replicas than its bucket has, or for none.
    #[error("{{invalid_n_val,{0}}}")]
    Replicas(u32),
}

/// What a read was asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) options: GetOptions,
    /// How many replicas must have been asked before "not found" is believed; none: R.
    pub(crate) not_found: Option<u8>,
}

/// The number that a quorum means: the request's, else the bucket's, else a majority.
fn resolve(asked: Option<u32>, property: Option<u32>, n: u8) -> Result<u8, OptionError> {
    let known = |quorum: &u32| *quorum != DEFAULT;
    match asked.filter(known).or(property.filter(known)).unwrap_or(QUORUM) {
        ONE => Ok(1),
        QUORUM => Ok(n / 2 + 1),
        ALL => Ok(n),
        number => u8::try_from(number).ok().filter(|number| *number <= n).ok_or(OptionError::Quorum(n)),
    }
}

/// The bucket's number of replicas, or fewer if the request says so.
fn replicas(asked: Option<u32>, bucket: u32) -> Result<u8, OptionError> {
    let n = asked.unwrap_or(bucket);
    u8::try_from(n).ok().filter(|_| (1..=bucket).contains(&n)).ok_or(OptionError::Replicas(n))
}

/// Whose answers count: `primaries` of the needed ones at least must be owners'.
fn mode(sloppy: Option<bool>, primaries: u8) -> Mode {
    match (sloppy, primaries) {
        (Some(false), _) => Mode::Strict,
        (_, 0) => Mode::Sloppy,
        _ => Mode::Owners(primaries),
    }
}

/// A timeout in milliseconds; zero is none of the client's own.
pub(crate) fn deadline(timeout: Option<u32>) -> Option<Duration> {
    timeout.filter(|&timeout| timeout > 0).map(|timeout| Duration::from_millis(timeout.into()))
}

impl Reading {
    pub(crate) fn of(request: &GetRequest, properties: &BucketProperties) -> Result<Self, OptionError> {
        let n = replicas(request.n_val, properties.n_val())?;
        let primaries = resolve(request.pr, properties.pr, n)?;
        let r = resolve(request.r, properties.r, n)?.max(primaries).max(1);
        let r = r.max(resolve(request.node_confirms, Some(0), n)?);
        let not_found_ok = request.notfound_ok.or(properties.notfound_ok).unwrap_or(true);
        let basic = request.basic_quorum.or(properties.basic_quorum).unwrap_or(false);
        let not_found = (!not_found_ok).then_some(if basic { r.max(n / 2 + 1) } else { n });
        let options = GetOptions {
            r: Some(r),
            mode: Some(mode(request.sloppy_quorum, primaries)),
            deadline: deadline(request.timeout),
            ..GetOptions::default()
        };
        Ok(Self { options, not_found })
    }
}

/// What of a put's or a delete's options is a matter of quorums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writing {
    pub(crate) w: Option<u32>,
    pub(crate) dw: Option<u32>,
    pub(crate) pw: Option<u32>,
    pub(crate) node_confirms: Option<u32>,
    pub(crate) n_val: Option<u32>,
    pub(crate) sloppy_quorum: Option<bool>,
    pub(crate) timeout: Option<u32>,
}

impl Writing {
    /// Of W, DW and PW the largest is waited for, so that each has what it asks for. Where one disk is enough for DW, the
    /// others that count may have the write in memory.
    pub(crate) fn options(self, properties: &BucketProperties) -> Result<PutOptions, OptionError> {
        let n = replicas(self.n_val, properties.n_val())?;
        let (w, durable) = (resolve(self.w, properties.w, n)?, resolve(self.dw, properties.dw, n)?);
        let primaries = resolve(self.pw, properties.pw, n)?;
        let confirms = resolve(self.node_confirms, Some(0), n)?;
        Ok(PutOptions {
            w: Some(w.max(durable).max(primaries).max(confirms).max(1)),
            mode: Some(mode(self.sloppy_quorum, primaries)),
            durability: if durable <= 1 { Durability::Coordinator } else { Durability::Quorum },
            deadline: deadline(self.timeout),
            ..PutOptions::default()
        })
    }
}

impl From<&PutRequest> for Writing {
    fn from(request: &PutRequest) -> Self {
        Self {
            w: request.w,
            dw: request.dw,
            pw: request.pw,
            node_confirms: request.node_confirms,
            n_val: request.n_val,
            sloppy_quorum: request.sloppy_quorum,
            timeout: request.timeout,
        }
    }
}

impl From<&DeleteRequest> for Writing {
    /// RW is what deletes had before they had R and W.
    fn from(request: &DeleteRequest) -> Self {
        Self {
            w: request.w.or(request.rw),
            dw: request.dw,
            pw: request.pw,
            node_confirms: None,
            n_val: request.n_val,
            sloppy_quorum: request.sloppy_quorum,
            timeout: request.timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::defaults;

    #[test]
    fn quorums_by_name_go_by_the_number_of_replicas() {
        let of = |quorum| [1, 2, 3, 5].map(|n| resolve(Some(quorum), None, n).unwrap());
        assert_eq!((of(ONE), of(ALL), of(QUORUM)), ([1, 1, 1, 1], [1, 2, 3, 5], [1, 2, 2, 3]));
        assert_eq!(resolve(Some(DEFAULT), Some(ALL), 3), Ok(3));
        assert_eq!(resolve(None, Some(DEFAULT), 3), Ok(2));
        assert_eq!(resolve(Some(4), None, 3), Err(OptionError::Quorum(3)));
        assert_eq!(resolve(Some(300), None, 3).unwrap_err().to_string(), "{n_val_violation,3}");
    }

    #[test]
    fn a_read_waits_for_what_each_option_asks() {
        let read = |request: GetRequest| Reading::of(&request, &defaults(3));
        let plain = read(GetRequest::default()).unwrap();
        assert_eq!((plain.options.r, plain.options.mode, plain.not_found), (Some(2), Some(Mode::Sloppy), None));
        let one = GetRequest { r: Some(1), pr: Some(2), ..GetRequest::default() };
        let both = read(one.clone()).unwrap();
        assert_eq!((both.options.r, both.options.mode), (Some(2), Some(Mode::Owners(2))));
        assert_eq!(read(GetRequest { sloppy_quorum: Some(false), ..one }).unwrap().options.mode, Some(Mode::Strict));
        let doubtful = GetRequest { r: Some(1), notfound_ok: Some(false), ..GetRequest::default() };
        assert_eq!(read(doubtful.clone()).unwrap().not_found, Some(3));
        assert_eq!(read(GetRequest { basic_quorum: Some(true), ..doubtful }).unwrap().not_found, Some(2));
        assert_eq!(read(GetRequest { n_val: Some(4), ..GetRequest::default() }).err(), Some(OptionError::Replicas(4)));
        assert_eq!(read(GetRequest { n_val: Some(0), ..GetRequest::default() }).err(), Some(OptionError::Replicas(0)));
    }

    #[test]
    fn a_write_waits_for_the_largest_of_its_quorums() {
        let write = |w, dw, pw| Writing { w, dw, pw, ..Writing::default() }.options(&defaults(3)).unwrap();
        let plain = write(None, None, None);
        assert_eq!((plain.w, plain.mode, plain.durability), (Some(2), Some(Mode::Sloppy), Durability::Quorum));
        let memory = write(Some(3), Some(0), None);
        assert_eq!((memory.w, memory.durability), (Some(3), Durability::Coordinator));
        assert_eq!(write(Some(1), Some(ALL), None).w, Some(3));
        let primary = write(Some(ONE), Some(ONE), Some(QUORUM));
        assert_eq!((primary.w, primary.mode), (Some(2), Some(Mode::Owners(2))));
        assert_eq!(write(Some(0), Some(0), Some(0)).w, Some(1));
    }
}
