//! The commands.

use std::time::Duration;

use quorate::error::{ListError, PutError};
use quorate::{Bytes, GetOptions, PutOptions};

use crate::batch::{Batch, KEYSPACE, Shape, Writing, refused, shown};
use crate::counter::Counter;
use crate::random::random;
use crate::resp::Reply;
use crate::session::Session;
use crate::value::{Kind, Value, now};

const NOT_A_NUMBER: &str = "ERR value is not an integer or out of range";

fn error(text: impl Into<String>) -> Reply {
    Reply::Error(text.into())
}

/// When it expires, in milliseconds since 1970, and how long it lasts until then. None if that is at once, or never comes.
fn expiry(amount: &[u8], unit: u64) -> Option<(u64, Duration)> {
    let millis = std::str::from_utf8(amount).ok()?.parse::<u64>().ok()?.checked_mul(unit)?;
    let at = now().checked_add(millis)?;
    (millis > 0).then_some((at, Duration::from_millis(millis)))
}

fn keys(words: &[Vec<u8>]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::from(&word[..])).collect()
}

impl Session {
    /// Takes a command. False if the connection is to end after its answer.
    pub(crate) fn take(&mut self, batch: &mut Batch, words: Vec<Vec<u8>>) -> bool {
        let Some((name, arguments)) = words.split_first() else { return true };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        match (&name[..], arguments) {
            ("PING", []) => batch.ready(Reply::Simple("PONG")),
            ("PING" | "ECHO", [text]) => batch.ready(Reply::Bulk(text.clone())),
            ("QUIT", _) => {
                batch.ready(Reply::Simple("OK"));
                return false;
            }
            ("SELECT", [database]) if database == b"0" => batch.ready(Reply::Simple("OK")),
            ("SELECT", [_]) => batch.ready(error("ERR DB index is out of range")),
            ("CLIENT", [..]) => batch.ready(Reply::Simple("OK")),
            ("COMMAND", _) => batch.ready(Reply::Array(Vec::new())),
            ("CONFIG", [verb, what]) if verb.eq_ignore_ascii_case(b"get") => batch.ready(config(what)),
            ("INFO", _) => batch.ready(self.info()),
            ("DBSIZE", []) => self.alone(batch, Self::count_keys),
            ("GET", [_]) => batch.read(&mut self.nodes, Shape::One, keys(arguments)),
            ("MGET", [_, ..]) => batch.read(&mut self.nodes, Shape::Each, keys(arguments)),
            ("EXISTS", [_, ..]) => batch.read(&mut self.nodes, Shape::Count, keys(arguments)),
            ("STRLEN", [_]) => batch.read(&mut self.nodes, Shape::Length, keys(arguments)),
            ("TTL", [_]) => batch.read(&mut self.nodes, Shape::Lasts(1_000), keys(arguments)),
            ("PTTL", [_]) => batch.read(&mut self.nodes, Shape::Lasts(1), keys(arguments)),
            ("SET", [key, value, options @ ..]) => self.set(batch, key, value, options),
            ("MSET", [_, _, ..]) if arguments.len().is_multiple_of(2) => self.set_many(batch, arguments),
            ("DEL" | "UNLINK", [_, ..]) => self.alone(batch, |session| session.delete(&keys(arguments))),
            ("INCR", [key]) => self.alone(batch, |session| session.count(key, Some(1))),
            ("DECR", [key]) => self.alone(batch, |session| session.count(key, Some(-1))),
            ("INCRBY", [key, by]) => self.alone(batch, |session| session.count(key, number(by))),
            ("DECRBY", [key, by]) => {
                self.alone(batch, |session| session.count(key, number(by).and_then(i64::checked_neg)));
            }
            ("EXPIRE", [key, time]) => self.alone(batch, |session| session.expire(key, Some((time, 1_000)))),
            ("PEXPIRE", [key, time]) => self.alone(batch, |session| session.expire(key, Some((time, 1)))),
            ("PERSIST", [key]) => self.alone(batch, |session| session.expire(key, None)),
            (
                "PING" | "ECHO" | "SELECT" | "DBSIZE" | "GET" | "MGET" | "EXISTS" | "STRLEN" | "TTL" | "PTTL" | "SET"
                | "MSET" | "DEL" | "UNLINK" | "INCR" | "DECR" | "INCRBY" | "DECRBY" | "EXPIRE" | "PEXPIRE" | "PERSIST",
                _,
            ) => batch.ready(error(format!("ERR wrong number of arguments for '{}' command", name.to_lowercase()))),
            _ => batch.ready(error(format!("ERR unknown command '{name}'"))),
        }
        true
    }

    /// Carries out what reads before it writes, once everything before it is done.
    fn alone(&mut self, batch: &mut Batch, command: impl FnOnce(&mut Self) -> Reply) {
        batch.settle(&mut self.nodes);
        let reply = command(self);
        batch.ready(reply);
    }

    fn set(&mut self, batch: &mut Batch, key: &[u8], value: &[u8], options: &[Vec<u8>]) {
        let options: Vec<_> = options.iter().map(|word| word.to_ascii_uppercase()).collect();
        let options: Vec<&[u8]> = options.iter().map(|word| &word[..]).collect();
        let expiry = match options[..] {
            [] => None,
            [unit @ (b"EX" | b"PX"), amount] => match expiry(amount, if unit == b"EX" { 1_000 } else { 1 }) {
                Some(expiry) => Some(expiry),
                None => return batch.ready(error("ERR invalid expire time in 'set' command")),
            },
            // Between a read that finds nothing and the write another client may do the same, and both are told OK.
            _ if options.iter().any(|option| matches!(*option, b"NX" | b"XX" | b"GET")) => {
                return batch.ready(error("ERR SET with NX, XX or GET would promise what this server can't keep"));
            }
            _ => return batch.ready(error("ERR syntax error")),
        };
        let (expires, lasts) = expiry.unzip();
        let value = Value::text(random() as u64, value.to_vec(), expires.unwrap_or(0)).to_bytes();
        batch.write(&mut self.nodes, vec![Writing { key: key.into(), value, lasts }]);
    }

    fn set_many(&mut self, batch: &mut Batch, arguments: &[Vec<u8>]) {
        let mut writes: Vec<Writing> = Vec::new();
        // Of a key that is named twice the last value counts.
        for (key, value) in arguments.as_chunks::<2>().0.iter().rev().map(|[key, value]| (Bytes::from(&key[..]), value))
        {
            if writes.iter().all(|write| write.key != key) {
                let value = Value::text(random() as u64, value.clone(), 0).to_bytes();
                writes.push(Writing { key, value, lasts: None });
            }
        }
        batch.write(&mut self.nodes, writes);
    }

    fn delete(&mut self, keys: &[Bytes]) -> Reply {
        let mut deleted = 0;
        for key in keys {
            let found = match self.nodes.get(KEYSPACE, key, &GetOptions::default()) {
                Ok(found) => found,
                Err(error) => return refused(&error),
            };
            if !found.values.is_empty() {
                match self.nodes.put(KEYSPACE, key, None, &found.context, &PutOptions::default()) {
                    Ok(_) => deleted += 1,
                    Err(error) => return refused(&error),
                }
            }
        }
        Reply::Integer(deleted)
    }

    /// Every increment counts, whoever counts beside it. What is told is all that this program knows of.
    fn count(&mut self, key: &[u8], amount: Option<i64>) -> Reply {
        let Some(amount) = amount else { return error(NOT_A_NUMBER) };
        let (shared, key) = (std::sync::Arc::clone(&self.shared), Bytes::from(key));
        let mut counting = shared.tallies.lock(&key);
        let found = match self.nodes.get(KEYSPACE, &key, &GetOptions::default()) {
            Ok(found) => found,
            Err(error) => return refused(&error),
        };
        let value = shown(&found);
        let counter = match &value {
            None => Some(Counter::default()),
            Some(value) => value.counter(),
        };
        let Some(mut counter) = counter else { return error(NOT_A_NUMBER) };
        if counter.value().checked_add(amount).is_none() {
            return error("ERR increment or decrement would overflow");
        }
        let Some(sum) = counting.add(&mut counter, amount) else {
            return error("ERR increment or decrement would overflow");
        };
        let expires = value.as_ref().map_or(0, |value| value.expires);
        let options = PutOptions { expires_after: value.and_then(|value| value.lasts()), ..PutOptions::default() };
        let counter = Value { kind: Kind::Counter(counter), expires }.to_bytes();
        match self.nodes.put(KEYSPACE, &key, Some(&counter), &found.context, &options) {
            Ok(_) => Reply::Integer(sum),
            Err(error) => {
                if !matches!(error, PutError::Unavailable(_) | PutError::Stopped) {
                    counting.take_back();
                }
                refused(&error)
            }
        }
    }

    /// Puts what is there again, with another end; not over what another client has put meanwhile.
    fn expire(&mut self, key: &[u8], time: Option<(&[u8], u64)>) -> Reply {
        const TRIES: usize = 10;
        let expiry = match time {
            None => None,
            Some((amount, unit)) => match (number(amount), expiry(amount, unit)) {
                (_, Some(expiry)) => Some(expiry),
                (Some(..=0), None) => return self.delete(&keys(&[key.to_vec()])),
                _ => return error(NOT_A_NUMBER),
            },
        };
        let (expires, expires_after) = expiry.unzip();
        let key = Bytes::from(key);
        for _ in 0..TRIES {
            let found = match self.nodes.get(KEYSPACE, &key, &GetOptions::default()) {
                Ok(found) => found,
                Err(error) => return refused(&error),
            };
            let Some(value) = shown(&found) else { return Reply::Integer(0) };
            if time.is_none() && value.expires == 0 {
                return Reply::Integer(0);
            }
            let value = Value { expires: expires.unwrap_or(0), ..value }.to_bytes();
            let options = PutOptions { expires_after, if_unchanged: true, ..PutOptions::default() };
            match self.nodes.put(KEYSPACE, &key, Some(&value), &found.context, &options) {
                Ok(_) => return Reply::Integer(1),
                Err(PutError::Changed) => {}
                Err(error) => return refused(&error),
            }
        }
        error("ERR the key is written too often")
    }

    fn count_keys(&mut self) -> Reply {
        let mut count = 0;
        let listed = self.nodes.list(KEYSPACE, |keys| {
            count += keys.len();
            Ok::<_, ListError>(())
        });
        listed.map_or_else(|error| refused(&error), |()| Reply::count(count))
    }

    fn info(&self) -> Reply {
        let counters = self.nodes.cluster().counters();
        let lines = [
            "# Server".to_string(),
            "redis_mode:standalone".to_string(),
            format!("quorate_version:{}", env!("CARGO_PKG_VERSION")),
            "# Cluster".to_string(),
            format!("nodes:{}", self.nodes.cluster().members().len()),
            format!("forwards:{}", counters.forwards),
            format!("hints_pending:{}", counters.hints_pending),
        ];
        Reply::Bulk(lines.map(|line| line + "\r\n").concat().into_bytes())
    }
}

/// What load generators ask for before they begin.
fn config(what: &[u8]) -> Reply {
    let value = match what {
        b"save" => "",
        b"appendonly" => "no",
        _ => return Reply::Array(Vec::new()),
    };
    Reply::Array(vec![Reply::Bulk(what.to_vec()), Reply::Bulk(value.into())])
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
