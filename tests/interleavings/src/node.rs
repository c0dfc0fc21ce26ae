//! A node with the interface of the real one and the least behind it: what it does is the scenario's choice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use quorate::{Counters, Event, Keyspace};

use crate::causality::Context;
use crate::config::Limits;
use crate::error::{ContextError, OpenError, StorageError};
use crate::ids::{KeyspaceId, NodeId, Start, Ticket};
use crate::message::Message;
use crate::request::{Reply, Request, Versions};
use crate::storage::Storage;
use crate::time::{Now, Time};

/// How a node comes to an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// By itself, at once.
    AtOnce,
    /// It asks this peer first.
    Ask(NodeId),
    /// When it is woken after this time.
    At(u64),
}

#[derive(Clone)]
pub struct Setup {
    pub node: NodeId,
    pub keyspaces: Vec<Keyspace>,
    pub limits: Limits,
    pub plan: Plan,
}

pub enum Input {
    Request(Ticket, Request),
    Message(NodeId, Message),
    Wake,
}

pub enum Output {
    Send(NodeId, Message),
    Done(Ticket, Reply),
    #[expect(dead_code, reason = "this node reports nothing")]
    Event(Event),
}

/// How many requests and messages a node was stepped with.
#[derive(Clone, Default)]
pub struct Steps(Arc<Mutex<usize>>);

impl Steps {
    pub fn count(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

impl Storage for Steps {
    fn step(&self) {
        *self.0.lock().unwrap() += 1;
    }
}

pub struct Node<S> {
    steps: Vec<S>,
    plan: Plan,
    waiting: Vec<Ticket>,
    ready: VecDeque<Output>,
    /// What only `commit` lets go, as an acknowledgement waits for a sync.
    unsynced: VecDeque<Output>,
}

impl<S: Storage> Node<S> {
    pub fn open(setup: Setup, steps: Vec<S>, _: Start, _: u64, _: Now) -> Result<Self, OpenError> {
        let (ready, unsynced) = (VecDeque::new(), VecDeque::new());
        Ok(Self { steps, plan: setup.plan, waiting: Vec::new(), ready, unsynced })
    }

    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Request(ticket, _) => {
                self.steps.iter().for_each(Storage::step);
                match self.plan {
                    Plan::AtOnce => self.done(ticket),
                    Plan::Ask(peer) => {
                        self.waiting.push(ticket);
                        self.ready.push_back(Output::Send(peer, Message::Ask(ticket)));
                    }
                    Plan::At(_) => self.waiting.push(ticket),
                }
            }
            Input::Message(from, Message::Ask(ticket)) => {
                self.steps.iter().for_each(Storage::step);
                self.unsynced.push_back(Output::Send(from, Message::Told(ticket)));
            }
            Input::Message(_, Message::Told(ticket)) => {
                self.waiting.retain(|waiting| *waiting != ticket);
                self.done(ticket);
            }
            Input::Wake => {
                if self.deadline().is_some_and(|due| due <= now.time) {
                    std::mem::take(&mut self.waiting).into_iter().for_each(|ticket| self.done(ticket));
                }
            }
        }
    }

    fn done(&mut self, ticket: Ticket) {
        self.unsynced.push_back(Output::Done(ticket, Reply::Get(Ok(Versions::default()))));
    }

    /// It keeps no hints.
    pub fn hint_mark(&self) {}

    pub fn hints_settled(&self, (): &()) -> bool {
        true
    }

    pub fn wants_commit(&self) -> bool {
        !self.unsynced.is_empty()
    }

    pub fn commit(&mut self) -> Result<(), StorageError> {
        self.ready.append(&mut self.unsynced);
        Ok(())
    }

    pub fn queued(&mut self, _: Duration) {}

    pub fn synced(&mut self, _: Duration) {}

    pub fn poll(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    pub fn deadline(&self) -> Option<Time> {
        match self.plan {
            Plan::At(due) if !self.waiting.is_empty() => Some(Time(due)),
            _ => None,
        }
    }

    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    pub fn context(&self, _: KeyspaceId, _: &[u8], _: &[u8]) -> Result<Context, ContextError> {
        Ok(Context::default())
    }

    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    pub fn into_storages(self) -> Vec<S> {
        self.steps
    }
}
