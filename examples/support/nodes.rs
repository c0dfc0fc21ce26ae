//! One connection's way to the cluster: through one node, and through the next where that one has stopped.

use std::collections::HashSet;
use std::sync::Arc;

use quorate::error::{GetError, ListError, PutError};
use quorate::ids::WriteId;
use quorate::request::Cursor;
use quorate::runtime::Bucket;
use quorate::storage::Storage;
use quorate::{Bytes, Client, Cluster, Context, GetOptions, NodeId, PutOptions, Versions, Written};

use crate::random::random;

pub(crate) struct Nodes<S: Storage + 'static> {
    cluster: Arc<Cluster<S>>,
    members: Vec<NodeId>,
    /// The node of this connection, by its place among the members.
    at: usize,
    client: Option<Client>,
}

impl<S: Storage + 'static> Nodes<S> {
    /// The connection's node is the `connection`th, counted round and round.
    pub(crate) fn new(cluster: Arc<Cluster<S>>, connection: usize) -> Self {
        let members = cluster.members();
        Self { cluster, at: connection % members.len(), members, client: None }
    }

    pub(crate) const fn cluster(&self) -> &Arc<Cluster<S>> {
        &self.cluster
    }

    /// The keyspace at a node that is up; none if none is.
    pub(crate) fn bucket(&mut self, keyspace: &str) -> Option<Bucket> {
        if self.client.is_none() {
            for step in 0..self.members.len() {
                let at = (self.at + step) % self.members.len();
                self.client = self.cluster.client(self.members[at]);
                if self.client.is_some() {
                    self.at = at;
                    break;
                }
            }
        }
        self.client.as_ref()?.bucket(keyspace)
    }

    /// The node has stopped: the next one serves this connection.
    pub(crate) fn leave(&mut self) {
        self.client = None;
        self.at += 1;
    }

    /// Tries at every node until one does not say that it has stopped.
    fn somewhere<T, E>(
        &mut self,
        keyspace: &str,
        stopped: &E,
        mut ask: impl FnMut(&Bucket) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: PartialEq + Clone,
    {
        for _ in 0..=self.members.len() {
            let Some(bucket) = self.bucket(keyspace) else { break };
            match ask(&bucket) {
                Err(error) if error == *stopped => self.leave(),
                result => return result,
            }
        }
        Err(stopped.clone())
    }

    pub(crate) fn get(&mut self, keyspace: &str, key: &Bytes, options: &GetOptions) -> Result<Versions, GetError> {
        self.somewhere(keyspace, &GetError::Stopped, |bucket| bucket.get_with(key.clone(), options.clone()).wait())
    }

    /// Puts, or deletes where there is no value. A node that stops on the way may have written it: the next one is given
    /// it under the same name, so that it is one write however many nodes had it.
    pub(crate) fn put(
        &mut self,
        keyspace: &str,
        key: &Bytes,
        value: Option<&Bytes>,
        context: &Context,
        options: &PutOptions,
    ) -> Result<Written, PutError> {
        let write_id = options.write_id.unwrap_or_else(|| WriteId(random()));
        let options = PutOptions { write_id: Some(write_id), ..options.clone() };
        self.somewhere(keyspace, &PutError::Stopped, |bucket| {
            let pending = match value {
                Some(value) => bucket.put_with(key.clone(), value.clone(), context, options.clone()),
                None => bucket.delete_with(key.clone(), context, options.clone()),
            };
            pending.wait()
        })
    }

    /// All keys, each once, page by page, as long as `then` wants more.
    ///
    /// A page is what one owner of each partition has, and an owner that has just come back may lack what was written
    /// while it was away. A node answers for what it owns itself: so each is asked, and what several have is told once.
    pub(crate) fn list<E: From<ListError>>(
        &self,
        keyspace: &str,
        mut then: impl FnMut(&[Bytes]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut seen, mut outcome) = (HashSet::new(), Err(ListError::Stopped));
        for &node in &self.members {
            let Some(bucket) = self.cluster.client(node).and_then(|client| client.bucket(keyspace)) else { continue };
            let mut cursor = Some(Cursor::default());
            while let Some(from) = cursor {
                match bucket.list(from, 1_000).wait() {
                    Ok(page) => {
                        let new = page.keys.into_iter().filter(|key| seen.insert(key.to_vec()));
                        then(&new.collect::<Vec<_>>())?;
                        cursor = page.next;
                        if cursor.is_none() {
                            outcome = Ok(());
                        }
                    }
                    // What it owns others own too.
                    Err(error) => {
                        outcome = outcome.or(Err(error));
                        break;
                    }
                }
            }
        }
        Ok(outcome?)
    }
}
