//! What a client does.

use super::{Sim, What, texts};
use crate::bytes::Bytes;
use crate::causality::Context;
use crate::error::{GetError, PutError};
use crate::ids::{NodeId, Ticket};
use crate::request::{GetOptions, PutOptions, Reply, Request, Versions, Written};
use crate::time::Time;

impl Sim {
    /// `count` nodes named n1, n2, …, with N = 3 (or `count`, if that is less), R = W = 2, sloppy.
    ///
    /// # Panics
    /// If `count` is zero.
    #[must_use]
    pub fn new(count: u64, seed: u64) -> Self {
        Self::builder(count, seed).build()
    }

    /// Puts blindly through `node` and waits for the answer.
    ///
    /// # Errors
    /// Those of the put; [`PutError::Stopped`] if the node goes down before it answers.
    pub fn put(&mut self, node: NodeId, key: &str, value: &str) -> Result<Written, PutError> {
        self.put_with(node, key, Some(value), &Context::empty(), PutOptions::default())
    }

    /// Puts what replaces `context` through `node`, or deletes if there is no value, and waits for the answer.
    ///
    /// # Errors
    /// As [`Sim::put`].
    pub fn put_with(
        &mut self,
        node: NodeId,
        key: &str,
        value: Option<&str>,
        context: &Context,
        options: PutOptions,
    ) -> Result<Written, PutError> {
        let ticket = self.start_put(node, key, value, context, options);
        match self.wait(node, ticket).map(Reply::split) {
            Some((Reply::Put(result), _)) => result,
            _ => Err(PutError::Stopped),
        }
    }

    /// Deletes what `context` has seen through `node`; with the empty context, what a read sees.
    ///
    /// # Errors
    /// As [`Sim::put`].
    pub fn delete(&mut self, node: NodeId, key: &str, context: &Context) -> Result<Written, PutError> {
        self.put_with(node, key, None, context, PutOptions::default())
    }

    /// Gets through `node` and waits for the answer.
    ///
    /// # Errors
    /// Those of the get; [`GetError::Stopped`] if the node goes down before it answers.
    pub fn get(&mut self, node: NodeId, key: &str) -> Result<Versions, GetError> {
        self.get_with(node, key, GetOptions::default())
    }

    /// As [`Sim::get`], with options.
    ///
    /// # Errors
    /// As [`Sim::get`].
    pub fn get_with(&mut self, node: NodeId, key: &str, options: GetOptions) -> Result<Versions, GetError> {
        let (keyspace, key) = (self.keyspace.id(), Bytes::from(key));
        let ticket = self.start(node, Request::Get { keyspace, key, options });
        match self.wait(node, ticket).map(Reply::split) {
            Some((Reply::Get(result), _)) => result,
            _ => Err(GetError::Stopped),
        }
    }

    /// The values that a get through `node` shows, in order.
    ///
    /// # Panics
    /// If the get fails.
    pub fn values(&mut self, node: NodeId, key: &str) -> Vec<String> {
        let found = self.get(node, key).unwrap_or_else(|error| panic!("get of {key}: {error}"));
        texts(&found.values)
    }

    /// Starts a put and doesn't wait; the ticket is for [`Sim::wait`].
    pub fn start_put(
        &mut self,
        node: NodeId,
        key: &str,
        value: Option<&str>,
        context: &Context,
        options: PutOptions,
    ) -> Ticket {
        let (keyspace, key) = (self.keyspace.id(), Bytes::from(key));
        let (value, context) = (value.map(Bytes::from), context.clone());
        self.start(node, Request::Put { keyspace, key, value, context, options })
    }

    /// Starts any request at `node`. If the node is down nobody ever answers.
    pub fn start(&mut self, node: NodeId, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asked.insert(ticket);
        let request = self.as_bytes(node, request);
        let process = self.nodes.get_mut(&node).expect("a member");
        if process.paused.is_some() {
            let (start, request) = (process.starts, Box::new(request));
            process.held.push(What::Ask { node, start, ticket, request });
        } else {
            let (start, request) = (process.starts, Box::new(request));
            self.come(What::Ask { node, start, ticket, request });
        }
        ticket
    }

    /// The request as it comes over a network: its context has been bytes. One that doesn't open is left as it is, for
    /// the node to refuse.
    fn as_bytes(&self, node: NodeId, request: Request) -> Request {
        match (request, &self.nodes[&node].node) {
            (Request::Put { keyspace, key, value, context, options }, Some(running)) => {
                let opened = running.context(keyspace, &key, &context.to_bytes());
                let context = opened.unwrap_or(context);
                Request::Put { keyspace, key, value, context, options }
            }
            (request, _) => request,
        }
    }

    /// Runs until the request is answered; nothing if `node` is down or goes down first.
    pub fn wait(&mut self, node: NodeId, ticket: Ticket) -> Option<Reply> {
        let start = self.nodes[&node].starts;
        loop {
            if let Some(reply) = self.reply(ticket) {
                return Some(reply);
            }
            if !self.is_up(node) || self.nodes[&node].starts != start || !self.advance() {
                return None;
            }
        }
    }

    /// The answer to a request, if it has come.
    pub fn reply(&mut self, ticket: Ticket) -> Option<Reply> {
        self.replies.remove(&ticket).map(|(_, reply)| reply)
    }

    /// All answers that have come and that nobody has taken, in the order of their requests, and when each came.
    pub fn replies(&mut self) -> Vec<(Ticket, Time, Reply)> {
        std::mem::take(&mut self.replies).into_iter().map(|(ticket, (at, reply))| (ticket, at, reply)).collect()
    }
}
