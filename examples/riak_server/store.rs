//! Objects: what Riak's requests mean as gets and puts of the library.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate::error::{GetError, ListError, PutError};
use quorate::sim::SimDisk;
use quorate::{Bytes, Cluster, Context, GetOptions, PutOptions, Versions, Written};

use crate::counter::{Counter, Tallies};
use crate::messages::{
    BucketProperties, Content, CounterGetRequest, CounterUpdateRequest, DeleteRequest, GetReply, GetRequest,
    PreferenceListItem, PreferenceListRequest, PutReply, PutRequest,
};
use crate::nodes::Nodes;
use crate::object::Object;
use crate::options::{Reading, Writing, deadline};
use crate::properties::Properties;
use crate::random::random;
use crate::refusal::Refusal;

pub(crate) const KEYSPACE: &str = "riak-objects";

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster<SimDisk>>,
    pub(crate) properties: Properties,
    pub(crate) tallies: Tallies,
}

/// One connection's way to the objects.
pub(crate) struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) nodes: Nodes<SimDisk>,
}

/// Why a listing ended: by the library, or by whoever was told the keys.
enum Listing<E> {
    Library(ListError),
    Other(E),
}

impl<E> From<ListError> for Listing<E> {
    fn from(error: ListError) -> Self {
        Self::Library(error)
    }
}

/// Bucket and key in one: all buckets are in one keyspace, for clients make them up as they go.
fn full_key(bucket: &[u8], key: &[u8]) -> Result<Bytes, Refusal> {
    if bucket.is_empty() {
        return Err(Refusal::Empty("Bucket"));
    }
    if key.is_empty() {
        return Err(Refusal::Empty("Key"));
    }
    Ok([&(bucket.len() as u32).to_be_bytes()[..], bucket, key].concat().into())
}

/// Bucket and key of what [`full_key`] made.
fn parts(full: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = full.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

impl Store {
    fn properties(&mut self, bucket: &[u8]) -> Result<BucketProperties, Refusal> {
        self.shared.properties.of(&mut self.nodes, bucket)
    }

    fn context(&mut self, key: &Bytes, vclock: Option<&[u8]>) -> Result<Context, Refusal> {
        match vclock {
            None | Some([]) => Ok(Context::empty()),
            Some(bytes) => match self.nodes.bucket(KEYSPACE) {
                Some(bucket) => Ok(bucket.context(key, bytes)?),
                None => Err(PutError::Stopped.into()),
            },
        }
    }

    /// Reads, and where nothing is found as often as it takes to believe that.
    fn read(&mut self, key: &Bytes, reading: &Reading) -> Result<Versions, Refusal> {
        let found = self.nodes.get(KEYSPACE, key, &reading.options)?;
        match reading.not_found {
            Some(more) if found.values.is_empty() && found.owners < more => {
                let options = GetOptions { r: Some(more), ..reading.options.clone() };
                Ok(self.nodes.get(KEYSPACE, key, &options)?)
            }
            _ => Ok(found),
        }
    }

    pub(crate) fn get(&mut self, request: &GetRequest) -> Result<GetReply, Refusal> {
        let key = full_key(&request.bucket, &request.key)?;
        let properties = self.properties(&request.bucket)?;
        let found = self.read(&key, &Reading::of(request, &properties)?)?;
        let is_there = !found.values.is_empty();
        if let Some(vclock) = request.if_modified.as_deref().filter(|_| is_there)
            && self.context(&key, Some(vclock))?.has_shown_the_same_as(&found.context)
        {
            return Ok(GetReply { unchanged: Some(true), ..GetReply::default() });
        }
        let content = contents(&found, &properties, request.head.unwrap_or(false))?;
        // There are no tombstones, but a read of nothing has a context all the same.
        let shows_vclock = is_there || request.deleted_vclock.unwrap_or(false);
        let vclock = Some(found.context.to_bytes().to_vec()).filter(|vclock| shows_vclock && !vclock.is_empty());
        Ok(GetReply { content, vclock, unchanged: None })
    }

    pub(crate) fn put(&mut self, request: PutRequest) -> Result<PutReply, Refusal> {
        let generated = request.key.is_none().then(random_name);
        let name = request.key.as_ref().or(generated.as_ref()).map_or(&[][..], |name| name);
        let key = full_key(&request.bucket, name)?;
        if request.as_is.unwrap_or(false) {
            return Err(Refusal::Unsupported("asis"));
        }
        let properties = self.properties(&request.bucket)?;
        let options = Writing::from(&request).options(&properties)?;
        let reads = Reading::of(&GetRequest { timeout: request.timeout, ..GetRequest::default() }, &properties)?;
        let (context, if_unchanged) = self.condition(&request, &key, &properties, &reads)?;
        let options = PutOptions { if_unchanged, ..options };
        let content = stamped(request.content);
        let object = if properties.allow_mult() && !properties.last_write_wins() {
            Object::Sibling(content.clone())
        } else {
            Object::Latest(content.clone())
        };
        let written = self.nodes.put(KEYSPACE, &key, Some(&object.to_bytes()), &context, &options);
        let written = written.map_err(|error| match error {
            PutError::Changed if request.if_none_match.unwrap_or(false) => Refusal::MatchFound,
            PutError::Changed => Refusal::Modified,
            error => error.into(),
        })?;
        let head = request.return_head.unwrap_or(false);
        if !head && !request.return_body.unwrap_or(false) {
            return Ok(PutReply { key: generated, ..PutReply::default() });
        }
        let (content, context) = self.shown(&key, &reads, &properties, content, written, head)?;
        Ok(PutReply { content, vclock: Some(context.to_bytes().to_vec()), key: generated })
    }

    /// What a put goes on from, and whether it must be what is there.
    fn condition(
        &mut self,
        request: &PutRequest,
        key: &Bytes,
        properties: &BucketProperties,
        reads: &Reading,
    ) -> Result<(Context, bool), Refusal> {
        if request.if_none_match.unwrap_or(false) {
            return Ok((Context::empty(), true));
        }
        let given = self.context(key, request.vclock.as_deref())?;
        if request.if_not_modified.unwrap_or(false) {
            if given.is_empty() || self.read(key, reads)?.values.is_empty() {
                return Err(Refusal::NotFound);
            }
            return Ok((given, true));
        }
        // As Riak's coordinator does: without siblings a blind put takes the place of what is there.
        let reads_first = given.is_empty() && !properties.allow_mult() && !properties.last_write_wins();
        Ok((if reads_first { self.read(key, reads)?.context } else { given }, false))
    }

    /// What is there after a put: its own content alone, if a read can't be had or was too stale to show it.
    fn shown(
        &mut self,
        key: &Bytes,
        reads: &Reading,
        properties: &BucketProperties,
        own: Content,
        written: Written,
        head: bool,
    ) -> Result<(Vec<Content>, Context), Refusal> {
        if let Ok(found) = self.read(key, reads)
            && let content = contents(&found, properties, head)?
            && content.iter().any(|content| content.vtag == own.vtag)
        {
            return Ok((content, found.context));
        }
        Ok((vec![without_value(own, head)], written.context))
    }

    pub(crate) fn delete(&mut self, request: &DeleteRequest) -> Result<(), Refusal> {
        let key = full_key(&request.bucket, &request.key)?;
        let properties = self.properties(&request.bucket)?;
        let options = Writing::from(request).options(&properties)?;
        let mut context = self.context(&key, request.vclock.as_deref())?;
        if context.is_empty() {
            let read = GetRequest {
                r: request.r.or(request.rw),
                pr: request.pr,
                n_val: request.n_val,
                sloppy_quorum: request.sloppy_quorum,
                timeout: request.timeout,
                ..GetRequest::default()
            };
            let found = self.read(&key, &Reading::of(&read, &properties)?)?;
            if found.values.is_empty() {
                return Ok(());
            }
            context = found.context;
        }
        self.nodes.put(KEYSPACE, &key, None, &context, &options)?;
        Ok(())
    }

    pub(crate) fn counter(&mut self, request: &CounterGetRequest) -> Result<Option<i64>, Refusal> {
        let key = full_key(&request.bucket, &request.key)?;
        let properties = self.counter_bucket(&request.bucket)?;
        let read = GetRequest {
            r: request.r,
            pr: request.pr,
            basic_quorum: request.basic_quorum,
            notfound_ok: request.notfound_ok,
            ..GetRequest::default()
        };
        let found = self.read(&key, &Reading::of(&read, &properties)?)?;
        Ok(counted(&found)?.map(|counter| counter.value()))
    }

    /// Adds to a counter, and tells what it is then.
    pub(crate) fn count(&mut self, request: &CounterUpdateRequest) -> Result<i64, Refusal> {
        let key = full_key(&request.bucket, &request.key)?;
        let properties = self.counter_bucket(&request.bucket)?;
        let writing = Writing { w: request.w, dw: request.dw, pw: request.pw, ..Writing::default() };
        let options = writing.options(&properties)?;
        let reading = Reading::of(&GetRequest::default(), &properties)?;
        let shared = Arc::clone(&self.shared);
        let mut counting = shared.tallies.lock(&key);
        let found = self.read(&key, &reading)?;
        let mut counter = counted(&found)?.unwrap_or_default();
        let value = counting.add(&mut counter, request.amount).ok_or(Refusal::CounterFull)?;
        let object = Object::Counter(counter).to_bytes();
        let written = self.nodes.put(KEYSPACE, &key, Some(&object), &found.context, &options).map_err(Refusal::from);
        if written.as_ref().is_err_and(Refusal::wrote_nothing) {
            counting.take_back();
        }
        written.map(|_| value)
    }

    fn counter_bucket(&mut self, bucket: &[u8]) -> Result<BucketProperties, Refusal> {
        let properties = self.properties(bucket)?;
        if properties.allow_mult() { Ok(properties) } else { Err(Refusal::CounterBucket) }
    }

    /// Bucket and key of everything that is there, page by page, until `then` has had enough.
    pub(crate) fn list<E: From<Refusal>>(
        &self,
        timeout: Option<u32>,
        mut then: impl FnMut(&[(&[u8], &[u8])]) -> Result<(), E>,
    ) -> Result<(), E> {
        let until = deadline(timeout).map(|timeout| Instant::now() + timeout);
        self.nodes
            .list(KEYSPACE, |keys| {
                if until.is_some_and(|until| Instant::now() > until) {
                    return Err(Listing::Other(Refusal::Timeout.into()));
                }
                then(&keys.iter().filter_map(|key| parts(key)).collect::<Vec<_>>()).map_err(Listing::Other)
            })
            .map_err(|error| match error {
                Listing::Library(error) => Refusal::from(error).into(),
                Listing::Other(error) => error,
            })
    }

    pub(crate) fn preference_list(
        &mut self,
        request: &PreferenceListRequest,
    ) -> Result<Vec<PreferenceListItem>, Refusal> {
        let key = full_key(&request.bucket, &request.key)?;
        let cluster = Arc::clone(self.nodes.cluster());
        let is_up = |node| cluster.client(node).is_some();
        let explain = |node| {
            let route =
                |bucket| cluster.with_server(node, |server| server.with_node(|node| node.explain_route(bucket, &key)));
            route(quorate::Keyspace::new(KEYSPACE).id()).flatten()
        };
        let route = cluster.members().into_iter().find_map(explain).ok_or(GetError::Stopped)?;
        let item = |node: quorate::NodeId, primary| PreferenceListItem {
            partition: i64::from(route.partition.0),
            node: format!("{node}@quorate").into_bytes(),
            primary,
        };
        let (_, owners) = &route.decided;
        let mut items: Vec<_> =
            owners.iter().copied().filter(|node| is_up(*node)).map(|node| item(node, true)).collect();
        let missing = owners.len() - items.len();
        let fallbacks = route.fallbacks.iter().copied().filter(|node| is_up(*node));
        items.extend(fallbacks.take(missing).map(|node| item(node, false)));
        Ok(items)
    }
}

/// What clients are shown: all versions, or in a bucket without `allow_mult` the last that was written.
fn contents(found: &Versions, properties: &BucketProperties, head: bool) -> Result<Vec<Content>, Refusal> {
    let objects = found.values.iter().map(|value| Object::from_bytes(value).ok_or(Refusal::Stored));
    let mut contents: Vec<_> = objects
        .map(|object| object.map(|object| without_value(object.into_content(), head)))
        .collect::<Result<_, _>>()?;
    if !properties.allow_mult() && contents.len() > 1 {
        // They were written while it had.
        let written = |content: &Content| (content.last_modified, content.last_modified_micros, content.vtag.clone());
        contents.sort_by_key(written);
        contents.drain(..contents.len() - 1);
    }
    Ok(contents)
}

/// The one counter that there is; none if nothing is there.
fn counted(found: &Versions) -> Result<Option<Counter>, Refusal> {
    match &found.values[..] {
        [] => Ok(None),
        [value] => match Object::from_bytes(value) {
            Some(Object::Counter(counter)) => Ok(Some(counter)),
            _ => Err(Refusal::NotACounter),
        },
        _ => Err(Refusal::NotACounter),
    }
}

fn without_value(content: Content, head: bool) -> Content {
    if head { Content { value: Vec::new(), ..content } } else { content }
}

/// What a client put, as it is stored: when it was written, and a tag of its own.
fn stamped(content: Content) -> Content {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Content {
        vtag: Some(random_name()),
        last_modified: Some(now.as_secs() as u32),
        last_modified_micros: Some(now.subsec_micros()),
        deleted: None,
        ..content
    }
}

/// 22 letters and digits that nobody else comes upon.
fn random_name() -> Vec<u8> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = random();
    let mut digit = || {
        let digit = DIGITS[(number % 62) as usize];
        number /= 62;
        digit
    };
    std::iter::repeat_with(&mut digit).take(22).collect()
}
