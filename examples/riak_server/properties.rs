//! Bucket properties: kept in the cluster, as objects of a keyspace of their own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use prost::Message;
use quorate::storage::Storage;
use quorate::{Bytes, Context, GetOptions, PutOptions};

use crate::messages::{BucketProperties, Function};
use crate::nodes::Nodes;
use crate::options::QUORUM;
use crate::refusal::Refusal;

pub(crate) const KEYSPACE: &str = "riak-bucket-properties";

/// What a bucket has until it is told otherwise.
pub(crate) fn defaults(n: u8) -> BucketProperties {
    let function = |module: &str, function: &str| Function { module: module.into(), function: function.into() };
    BucketProperties {
        n_val: Some(n.into()),
        allow_mult: Some(false),
        last_write_wins: Some(false),
        has_precommit: Some(false),
        has_postcommit: Some(false),
        chash_keyfun: Some(function("riak_core_util", "chash_std_keyfun")),
        linkfun: Some(function("riak_kv_wm_link_walker", "mapreduce_linkfun")),
        pr: Some(0),
        r: Some(QUORUM),
        w: Some(QUORUM),
        pw: Some(0),
        dw: Some(QUORUM),
        rw: Some(QUORUM),
        basic_quorum: Some(false),
        notfound_ok: Some(true),
        ..BucketProperties::default()
    }
}

/// `base` with what `change` says.
///
/// # Errors
/// [`Refusal::Property`] for one that would do nothing here, unless it says what is so anyway. Nothing is changed then.
pub(crate) fn changed(base: &BucketProperties, change: BucketProperties, n: u8) -> Result<BucketProperties, Refusal> {
    let usual = defaults(n);
    let unusual = [
        ("precommit", !change.precommit.is_empty()),
        ("postcommit", !change.postcommit.is_empty()),
        ("chash_keyfun", change.chash_keyfun.is_some() && change.chash_keyfun != usual.chash_keyfun),
        ("linkfun", change.linkfun.is_some() && change.linkfun != usual.linkfun),
        ("backend", change.backend.is_some()),
        ("search", change.search.unwrap_or(false)),
        ("search_index", change.search_index.is_some()),
        ("repl", change.replication.unwrap_or(0) != 0),
        ("datatype", change.datatype.is_some()),
        ("consistent", change.consistent.unwrap_or(false)),
        ("write_once", change.write_once.unwrap_or(false)),
        ("hll_precision", change.hll_precision.is_some()),
        ("n_val", change.n_val.is_some_and(|value| value == 0 || value > n.into())),
    ];
    if let Some((name, _)) = unusual.into_iter().find(|(_, is)| *is) {
        return Err(Refusal::Property(name));
    }
    Ok(BucketProperties {
        n_val: change.n_val.or(base.n_val),
        allow_mult: change.allow_mult.or(base.allow_mult),
        last_write_wins: change.last_write_wins.or(base.last_write_wins),
        // Riak prunes vector clocks by these. Here nothing is pruned, and they are but kept.
        old_vclock: change.old_vclock.or(base.old_vclock),
        young_vclock: change.young_vclock.or(base.young_vclock),
        big_vclock: change.big_vclock.or(base.big_vclock),
        small_vclock: change.small_vclock.or(base.small_vclock),
        pr: change.pr.or(base.pr),
        r: change.r.or(base.r),
        w: change.w.or(base.w),
        pw: change.pw.or(base.pw),
        dw: change.dw.or(base.dw),
        rw: change.rw.or(base.rw),
        basic_quorum: change.basic_quorum.or(base.basic_quorum),
        notfound_ok: change.notfound_ok.or(base.notfound_ok),
        ..usual
    })
}

/// What this server has read of late: every request goes by its bucket's properties.
#[derive(Default)]
pub(crate) struct Properties {
    recent: Mutex<HashMap<Vec<u8>, (Instant, BucketProperties)>>,
}

impl Properties {
    /// Another server's change is seen after so long. One's own is seen at once.
    const STALE: Duration = Duration::from_secs(1);
    /// Buckets that are remembered; then all are forgotten.
    const MOST: usize = 10_000;

    pub(crate) fn of<S: Storage>(&self, nodes: &mut Nodes<S>, bucket: &[u8]) -> Result<BucketProperties, Refusal> {
        if let Some((read, properties)) = self.lock().get(bucket)
            && read.elapsed() < Self::STALE
        {
            return Ok(properties.clone());
        }
        let (properties, _) = read(nodes, bucket)?;
        self.remember(bucket, &properties);
        Ok(properties)
    }

    /// Changes what `change` says.
    pub(crate) fn set<S: Storage>(
        &self,
        nodes: &mut Nodes<S>,
        bucket: &[u8],
        change: BucketProperties,
    ) -> Result<(), Refusal> {
        let (base, context) = read(nodes, bucket)?;
        let properties = changed(&base, change, nodes.cluster().layout().n())?;
        let value = Bytes::from(properties.encode_to_vec());
        nodes.put(KEYSPACE, &bucket.into(), Some(&value), &context, &PutOptions::default())?;
        self.remember(bucket, &properties);
        Ok(())
    }

    /// Sets everything back.
    pub(crate) fn reset<S: Storage>(&self, nodes: &mut Nodes<S>, bucket: &[u8]) -> Result<(), Refusal> {
        nodes.put(KEYSPACE, &bucket.into(), None, &Context::empty(), &PutOptions::default())?;
        self.remember(bucket, &defaults(nodes.cluster().layout().n()));
        Ok(())
    }

    fn remember(&self, bucket: &[u8], properties: &BucketProperties) {
        let mut recent = self.lock();
        if recent.len() >= Self::MOST {
            recent.clear();
        }
        recent.insert(bucket.to_vec(), (Instant::now(), properties.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, (Instant, BucketProperties)>> {
        self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read<S: Storage>(nodes: &mut Nodes<S>, bucket: &[u8]) -> Result<(BucketProperties, Context), Refusal> {
    let found = nodes.get(KEYSPACE, &bucket.into(), &GetOptions::default())?;
    let properties = match found.value() {
        Some(value) => BucketProperties::decode(&value[..]).map_err(|_| Refusal::Stored)?,
        None => defaults(nodes.cluster().layout().n()),
    };
    Ok((properties, found.context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_changes_what_it_names() {
        let base = defaults(3);
        let change = BucketProperties { allow_mult: Some(true), r: Some(1), ..BucketProperties::default() };
        let properties = changed(&base, change, 3).unwrap();
        assert_eq!(properties, BucketProperties { allow_mult: Some(true), r: Some(1), ..base.clone() });
        assert_eq!(changed(&properties, base.clone(), 3).unwrap(), base, "what was read can be set again");
    }

    #[test]
    fn what_would_do_nothing_is_refused_by_name() {
        let refused = |change: BucketProperties| changed(&defaults(3), change, 3).unwrap_err().to_string();
        let search = BucketProperties { search: Some(true), ..BucketProperties::default() };
        assert_eq!(refused(search), "the bucket property search can't be set to that here");
        for n in [0, 4] {
            assert!(refused(BucketProperties { n_val: Some(n), ..BucketProperties::default() }).contains("n_val"));
        }
    }
}
