//! A program's handle on the store.

use std::fmt;
use std::sync::Arc;

use super::door::{Call, Door};
use super::pending::{Pending, PendingAll, Slot};
use crate::bytes::Bytes;
use crate::causality::Context;
use crate::error::{CompareError, ContextError, GetError, ListError, PutError};
use crate::ids::{KeyspaceId, NodeId, PartitionId};
use crate::request::{Cursor, GetOptions, Page, PutOptions, Reply, Request, Versions, Written};
use crate::trace::Traced;

/// Requests through one node. Cheap to clone, and may be used from any thread.
#[derive(Clone)]
pub struct Client {
    door: Arc<dyn Door>,
}

/// Requests on one keyspace through one node.
#[derive(Clone)]
pub struct Bucket {
    door: Arc<dyn Door>,
    keyspace: KeyspaceId,
}

impl Client {
    pub(super) fn new(door: Arc<dyn Door>) -> Self {
        Self { door }
    }

    /// The keyspace called `name`; none if the node has none of that name.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<Bucket> {
        let keyspace = self.door.keyspaces().iter().find(|keyspace| keyspace.name() == name)?;
        Some(Bucket { door: Arc::clone(&self.door), keyspace: keyspace.id() })
    }

    /// In how many keys this node and another owner of a partition differ. Nothing is moved.
    pub fn compare(&self, partition: PartitionId, with: NodeId) -> Pending<Result<u64, CompareError>> {
        send(&self.door, Request::Compare { partition, with }, compared)
    }
}

impl Bucket {
    /// Reads a key.
    pub fn get(&self, key: impl Into<Bytes>) -> Pending<Result<Versions, GetError>> {
        self.get_with(key, GetOptions::default())
    }

    /// Reads a key, otherwise than the keyspace's defaults say.
    pub fn get_with(&self, key: impl Into<Bytes>, options: GetOptions) -> Pending<Result<Versions, GetError>> {
        let request = Request::Get { keyspace: self.keyspace, key: key.into(), options };
        self.send(request, versions)
    }

    /// Writes a key, superseding what `context` has seen.
    pub fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        context: &Context,
    ) -> Pending<Result<Written, PutError>> {
        self.put_with(key, value, context, PutOptions::default())
    }

    /// Writes a key, otherwise than the keyspace's defaults say.
    pub fn put_with(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        context: &Context,
        options: PutOptions,
    ) -> Pending<Result<Written, PutError>> {
        self.send(self.put_request(key.into(), Some(value.into()), context, options), written)
    }

    /// Deletes what `context` has seen; with the empty context, what a read sees.
    pub fn delete(&self, key: impl Into<Bytes>, context: &Context) -> Pending<Result<Written, PutError>> {
        self.delete_with(key, context, PutOptions::default())
    }

    /// Deletes, otherwise than the keyspace's defaults say.
    pub fn delete_with(
        &self,
        key: impl Into<Bytes>,
        context: &Context,
        options: PutOptions,
    ) -> Pending<Result<Written, PutError>> {
        self.send(self.put_request(key.into(), None, context, options), written)
    }

    /// Reads a key, and tells how the node came to the answer. What the options say of tracing is not looked at.
    pub fn trace_get(&self, key: impl Into<Bytes>, options: GetOptions) -> Pending<Traced<Result<Versions, GetError>>> {
        let options = GetOptions { traced: true, ..options };
        let request = Request::Get { keyspace: self.keyspace, key: key.into(), options };
        self.send(request, |reply| traced(reply, versions))
    }

    /// Writes a key, and tells how the node came to the answer.
    pub fn trace_put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        context: &Context,
        options: PutOptions,
    ) -> Pending<Traced<Result<Written, PutError>>> {
        let options = PutOptions { traced: true, ..options };
        let request = self.put_request(key.into(), Some(value.into()), context, options);
        self.send(request, |reply| traced(reply, written))
    }

    /// Deletes a key, and tells how the node came to the answer.
    pub fn trace_delete(
        &self,
        key: impl Into<Bytes>,
        context: &Context,
        options: PutOptions,
    ) -> Pending<Traced<Result<Written, PutError>>> {
        let request = self.put_request(key.into(), None, context, PutOptions { traced: true, ..options });
        self.send(request, |reply| traced(reply, written))
    }

    /// Reads several keys at once: a step of the node for each, one batch of messages to each peer for every 256.
    pub fn get_many<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> PendingAll<Result<Versions, GetError>> {
        self.get_many_with(keys, &GetOptions::default())
    }

    /// Reads several keys at once, otherwise than the keyspace's defaults say.
    pub fn get_many_with<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: &GetOptions,
    ) -> PendingAll<Result<Versions, GetError>> {
        let requests = keys.into_iter().map(|key| Request::Get {
            keyspace: self.keyspace,
            key: key.into(),
            options: options.clone(),
        });
        self.send_all(requests, versions)
    }

    /// Writes several keys at once, with one sync and one batch of messages to each peer for every 256. They are
    /// independent: some may succeed where others fail.
    ///
    /// More than half of [`Limits::in_flight`](crate::config::Limits::in_flight) are not in progress at once: this
    /// blocks until there is room for the rest.
    pub fn put_many<K: Into<Bytes>, V: Into<Bytes>>(
        &self,
        puts: impl IntoIterator<Item = (K, V, Context)>,
    ) -> PendingAll<Result<Written, PutError>> {
        self.put_many_with(puts, &PutOptions::default())
    }

    /// Writes several keys at once, otherwise than the keyspace's defaults say.
    pub fn put_many_with<K: Into<Bytes>, V: Into<Bytes>>(
        &self,
        puts: impl IntoIterator<Item = (K, V, Context)>,
        options: &PutOptions,
    ) -> PendingAll<Result<Written, PutError>> {
        let requests = puts
            .into_iter()
            .map(|(key, value, context)| self.put_request(key.into(), Some(value.into()), &context, options.clone()));
        self.send_all(requests, written)
    }

    /// A page of at most `limit` keys that have a value, from `cursor` on.
    ///
    /// One owner of each partition answers for it, so a key that only other owners have by now may be missed.
    pub fn list(&self, cursor: Cursor, limit: usize) -> Pending<Result<Page, ListError>> {
        self.send(Request::List { keyspace: self.keyspace, cursor, limit }, page)
    }

    /// All keys, page by page, waiting for each page.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys { bucket: self.clone(), page: Vec::new().into_iter(), next: Some(Cursor::default()) }
    }

    /// Opens a context that a client brought back as [`Context::to_bytes`].
    ///
    /// # Errors
    /// [`ContextError`] if it is garbled, forged, or of another key or cluster. Nothing was changed.
    pub fn context(&self, key: &[u8], bytes: &[u8]) -> Result<Context, ContextError> {
        self.door.context(self.keyspace, key, bytes)
    }

    fn put_request(&self, key: Bytes, value: Option<Bytes>, context: &Context, options: PutOptions) -> Request {
        Request::Put { keyspace: self.keyspace, key, value, context: context.clone(), options }
    }

    fn send<T>(&self, request: Request, read: fn(Reply) -> T) -> Pending<T> {
        send(&self.door, request, read)
    }

    fn send_all<T>(&self, requests: impl Iterator<Item = Request>, read: fn(Reply) -> T) -> PendingAll<T> {
        let calls: Vec<Call> = requests.map(|request| (request, Arc::new(Slot::default()))).collect();
        let pending = calls.iter().map(|(_, slot)| Pending::new(Arc::clone(slot), read)).collect();
        self.door.call_all(calls);
        PendingAll::new(pending)
    }
}

fn send<T>(door: &Arc<dyn Door>, request: Request, read: fn(Reply) -> T) -> Pending<T> {
    let slot = Arc::new(Slot::default());
    door.call((request, Arc::clone(&slot)));
    Pending::new(slot, read)
}

fn traced<T>(reply: Reply, read: fn(Reply) -> T) -> Traced<T> {
    let (reply, trace) = reply.split();
    Traced { result: read(reply), trace }
}

// A server that stops answers all alike, whatever was asked; each handle reads that as its own kind of error.
fn versions(reply: Reply) -> Result<Versions, GetError> {
    match reply.split().0 {
        Reply::Get(result) => result,
        _ => Err(GetError::Stopped),
    }
}
fn written(reply: Reply) -> Result<Written, PutError> {
    match reply.split().0 {
        Reply::Put(result) => result,
        _ => Err(PutError::Stopped),
    }
}
fn page(reply: Reply) -> Result<Page, ListError> {
    match reply {
        Reply::List(result) => result,
        _ => Err(ListError::Stopped),
    }
}

fn compared(reply: Reply) -> Result<u64, CompareError> {
    match reply {
        Reply::Compared(result) => result,
        _ => Err(CompareError::Stopped),
    }
}

/// All keys of a keyspace: see [`Bucket::keys`].
#[derive(Debug)]
pub struct Keys {
    bucket: Bucket,
    page: std::vec::IntoIter<Bytes>,
    next: Option<Cursor>,
}

impl Iterator for Keys {
    type Item = Result<Bytes, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let limit = self.bucket.door.limits().page;
            match self.bucket.list(self.next.take()?, limit).wait() {
                Ok(page) => (self.page, self.next) = (page.keys.into_iter(), page.next),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.door.keyspaces())
    }
}
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.keyspace)
    }
}
