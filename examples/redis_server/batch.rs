//! Commands in flight together: reads in one batch, writes in another, answers in the order of the commands.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use quorate::error::{GetError, PutError};
use quorate::storage::MemoryStorage;
use quorate::{Bytes, Context, GetOptions, PutOptions, Versions};

use crate::nodes::Nodes;
use crate::resp::Reply;
use crate::value::Value;

pub(crate) const KEYSPACE: &str = "redis";

/// What a command makes of what it has read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    One,
    Each,
    Count,
    Length,
    /// How long it lasts, in units of so many milliseconds.
    Lasts(u64),
}

type Found = Result<Versions, GetError>;

enum Step {
    Ready(Reply),
    Read(Shape, Range<usize>),
    Write(Range<usize>),
}

/// One client's commands, of which none may see less than those before it have done: what touches a key that is
/// written in the batch, or writes one that is read in it, goes into the next.
#[derive(Default)]
pub(crate) struct Batch {
    steps: Vec<Step>,
    reads: Vec<Bytes>,
    writes: Vec<Writing>,
    read: HashSet<Bytes>,
    written: HashSet<Bytes>,
    /// The answers of earlier batches, which have not been sent yet.
    out: Vec<u8>,
}

pub(crate) struct Writing {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) lasts: Option<Duration>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// An answer that is known.
    pub(crate) fn ready(&mut self, reply: Reply) {
        self.steps.push(Step::Ready(reply));
    }

    pub(crate) fn read(&mut self, nodes: &mut Nodes<MemoryStorage>, shape: Shape, keys: Vec<Bytes>) {
        if keys.iter().any(|key| self.written.contains(key)) {
            self.settle(nodes);
        }
        let from = self.reads.len();
        self.read.extend(keys.iter().cloned());
        self.reads.extend(keys);
        self.steps.push(Step::Read(shape, from..self.reads.len()));
    }

    /// The writes of one command, of different keys.
    pub(crate) fn write(&mut self, nodes: &mut Nodes<MemoryStorage>, writes: Vec<Writing>) {
        if writes.iter().any(|write| self.written.contains(&write.key) || self.read.contains(&write.key)) {
            self.settle(nodes);
        }
        let from = self.writes.len();
        self.written.extend(writes.iter().map(|write| write.key.clone()));
        self.writes.extend(writes);
        self.steps.push(Step::Write(from..self.writes.len()));
    }

    /// Carries out what was taken, and keeps the answers.
    pub(crate) fn settle(&mut self, nodes: &mut Nodes<MemoryStorage>) {
        let (found, written) = self.carry_out(nodes);
        for step in self.steps.drain(..) {
            let reply = match step {
                Step::Ready(reply) => reply,
                Step::Read(shape, range) => shaped(shape, &found[range]),
                Step::Write(range) => match written[range].iter().find_map(|result| result.as_ref().err()) {
                    Some(error) => refused(error),
                    None => Reply::Simple("OK"),
                },
            };
            reply.put(&mut self.out);
        }
        self.read.clear();
        self.written.clear();
    }

    fn carry_out(&mut self, nodes: &mut Nodes<MemoryStorage>) -> (Vec<Found>, Vec<Result<(), PutError>>) {
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        if reads.is_empty() && writes.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let Some(bucket) = nodes.bucket(KEYSPACE) else {
            return (vec![Err(GetError::Stopped); reads.len()], vec![Err(PutError::Stopped); writes.len()]);
        };
        // Runs of writes that last alike go in one batch.
        let mut pending = Vec::new();
        let mut writes = writes.into_iter().peekable();
        while let Some(first) = writes.next() {
            let options = PutOptions { expires_after: first.lasts, ..PutOptions::default() };
            let mut run = vec![(first.key, first.value, Context::empty())];
            while let Some(next) = writes.next_if(|next| next.lasts == first.lasts) {
                run.push((next.key, next.value, Context::empty()));
            }
            pending.extend(bucket.put_many_with(run, &options).into_pendings());
        }
        let found = bucket.get_many_with(reads, &GetOptions::default()).wait();
        let written: Vec<_> = pending.into_iter().map(|pending| pending.wait().map(drop)).collect();
        if found.contains(&Err(GetError::Stopped)) || written.contains(&Err(PutError::Stopped)) {
            nodes.leave();
        }
        (found, written)
    }

    /// All answers, as bytes.
    pub(crate) fn answer(&mut self, nodes: &mut Nodes<MemoryStorage>) -> Vec<u8> {
        self.settle(nodes);
        std::mem::take(&mut self.out)
    }
}

fn shaped(shape: Shape, found: &[Found]) -> Reply {
    if let Some(error) = found.iter().find_map(|result| result.as_ref().err()) {
        return refused(error);
    }
    let values: Vec<Option<Value>> = found.iter().flatten().map(shown).collect();
    let bulk = |value: Option<Value>| value.map_or(Reply::Nil, |value| Reply::Bulk(value.into_text()));
    let mut values = values.into_iter();
    match shape {
        Shape::One => bulk(values.next().flatten()),
        Shape::Each => Reply::Array(values.map(bulk).collect()),
        Shape::Count => Reply::count(values.flatten().count()),
        Shape::Length => Reply::count(values.next().flatten().map_or(0, |value| value.into_text().len())),
        Shape::Lasts(unit) => Reply::Integer(match values.next().flatten().map(|value| value.lasts()) {
            None => -2,
            Some(None) => -1,
            Some(Some(lasts)) => i64::try_from(lasts.as_millis().div_ceil(unit.into())).unwrap_or(i64::MAX),
        }),
    }
}

/// The value that there is.
pub(crate) fn shown(found: &Versions) -> Option<Value> {
    Value::from_bytes(found.value()?)
}

pub(crate) fn refused(error: &impl ToString) -> Reply {
    Reply::Error(format!("ERR {}", error.to_string()))
}
