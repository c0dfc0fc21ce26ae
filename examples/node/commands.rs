//! What clients may say, and what is done. One command after the other: who wants several at a time has several
//! connections.
//!
//! ```text
//! GET key                 the value, or nil
//! SET key value [DURABILITY quorum|coordinator|one|memory]
//! DEL key                 1: nobody looks whether it was there
//! VGET key [R]            the context, and each version
//! VPUT key context value  the context to go on from; the first time it is empty
//! VDEL key context
//! STATUS                  all that the node knows of itself, as JSON
//! DEBT                    how much is not known to be at all its owners; 0: healed
//! MEMBERS                 the members, and what each owns
//! PLAN                    what the next change of the layout would do
//! COMMIT                  do that
//! LEAVE node              the next layout shall not name it
//! PING, CONFIG GET name, COMMAND
//! ```

use quorate::config::Durability;
use quorate::durable::RedbStorage;
use quorate::ids::NodeId;
use quorate::runtime::Bucket;
use quorate::transports::NetworkServer;
use quorate::{Context, GetOptions, PutOptions};

use crate::resp::Reply;
use crate::settings::{PLAIN, VERSIONS, durability};

type Server = NetworkServer<RedbStorage>;

/// `usual` is the durability of puts that don't say one.
pub(crate) fn answer(server: &Server, usual: Durability, words: &[Vec<u8>]) -> Reply {
    let Some((name, arguments)) = words.split_first() else { return error("no command") };
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    match (name.as_str(), arguments) {
        ("PING", []) => Reply::Simple("PONG"),
        ("GET", [key]) => get(server, key),
        ("SET", [key, value]) => set(server, key, value, usual),
        ("SET", [key, value, option, level]) if option.eq_ignore_ascii_case(b"DURABILITY") => {
            match durability(&String::from_utf8_lossy(level)) {
                Ok(asked) => set(server, key, value, asked),
                Err(why) => error(why),
            }
        }
        ("DEL", [key]) => delete(server, key),
        ("VGET", [key]) => versions(server, key, GetOptions::default()),
        ("VGET", [key, r]) => match std::str::from_utf8(r).ok().and_then(|r| r.parse().ok()) {
            Some(r) => versions(server, key, GetOptions { r: Some(r), all: true, ..GetOptions::default() }),
            None => error("R is a number"),
        },
        ("VPUT", [key, context, value]) => put(server, key, context, Some(value), usual),
        ("VDEL", [key, context]) => put(server, key, context, None, usual),
        ("STATUS", []) => status(server),
        ("DEBT", []) => debt(server),
        ("MEMBERS", []) => members(server),
        ("PLAN", []) => change(server, false),
        ("COMMIT", []) => change(server, true),
        ("LEAVE", [node]) => leave(server, node),
        ("CONFIG", [..]) => Reply::Array(vec![Reply::Bulk(Vec::new()), Reply::Bulk(Vec::new())]),
        ("COMMAND", _) => Reply::Array(Vec::new()),
        _ => error(format!("{name} is no command here, or takes other arguments")),
    }
}

fn error(text: impl std::fmt::Display) -> Reply {
    Reply::Error(format!("ERR {text}"))
}

fn bucket(server: &Server, name: &str) -> Bucket {
    server.client().bucket(name).expect("the node is opened with it")
}

fn get(server: &Server, key: &[u8]) -> Reply {
    match bucket(server, PLAIN).get(key).wait() {
        Ok(found) => found.value().map_or(Reply::Nil, |value| Reply::Bulk(value.to_vec())),
        Err(why) => error(why),
    }
}

fn set(server: &Server, key: &[u8], value: &[u8], durability: Durability) -> Reply {
    let options = PutOptions { durability, ..PutOptions::default() };
    match bucket(server, PLAIN).put_with(key, value, &Context::empty(), options).wait() {
        Ok(_) => Reply::Simple("OK"),
        Err(why) => error(why),
    }
}

/// Without a context it deletes what it finds.
fn delete(server: &Server, key: &[u8]) -> Reply {
    match bucket(server, PLAIN).delete(key, &Context::empty()).wait() {
        Ok(_) => Reply::Integer(1),
        Err(why) => error(why),
    }
}

fn versions(server: &Server, key: &[u8], options: GetOptions) -> Reply {
    match bucket(server, VERSIONS).get_with(key, options).wait() {
        Ok(found) => {
            let values = found.values.iter().map(|value| value.to_vec());
            Reply::Array(std::iter::once(found.context.to_bytes().to_vec()).chain(values).map(Reply::Bulk).collect())
        }
        Err(why) => error(why),
    }
}

fn put(server: &Server, key: &[u8], context: &[u8], value: Option<&Vec<u8>>, durability: Durability) -> Reply {
    let bucket = bucket(server, VERSIONS);
    let context = match bucket.context(key, context) {
        Ok(context) => context,
        Err(why) => return error(why),
    };
    let options = PutOptions { durability, ..PutOptions::default() };
    let pending = match value {
        Some(value) => bucket.put_with(key, &value[..], &context, options),
        None => bucket.delete_with(key, &context, options),
    };
    match pending.wait() {
        Ok(written) => Reply::Bulk(written.context.to_bytes().to_vec()),
        Err(why) => error(why),
    }
}

fn status(server: &Server) -> Reply {
    let node = server.server().status();
    match serde_json::to_vec(&serde_json::json!({ "node": node, "network": server.transport().status() })) {
        Ok(text) => Reply::Bulk(text),
        Err(why) => error(why),
    }
}

fn debt(server: &Server) -> Reply {
    match server.server().with_node(|node| node.debt().len()) {
        Some(count) => Reply::count(count),
        None => error("the node stops"),
    }
}

fn members(server: &Server) -> Reply {
    let Some(membership) = server.server().membership() else { return error("it takes no part in gossip") };
    let layout = server.server().with_node(|node| std::sync::Arc::clone(node.layout()));
    let Some(layout) = layout else { return error("the node stops") };
    let line = |node: NodeId, what: String| {
        let partitions = (0..layout.partitions()).map(quorate::ids::PartitionId);
        let owned = partitions.filter(|partition| layout.owns(node, *partition)).count();
        Reply::Bulk(format!("{node} {what}, owns {owned} of {} partitions", layout.partitions()).into_bytes())
    };
    Reply::Array(membership.records().map(|record| line(record.node(), format!("{:?}", record.phase()))).collect())
}

/// What the membership asks for: joins and departures together.
fn change(server: &Server, commit: bool) -> Reply {
    let Some(staged) = server.server().staged() else { return Reply::Simple("nothing to do") };
    let plan = match server.server().preview(&staged) {
        Ok(plan) => plan,
        Err(why) => return error(why),
    };
    if !commit {
        let text = format!("{} copies move; warnings: {:?}", plan.moves.len(), plan.warnings);
        return Reply::Bulk(text.into_bytes());
    }
    match server.server().commit_plan(&plan) {
        Ok(layout) => Reply::Bulk(layout.to_string().into_bytes()),
        Err(why) => error(why),
    }
}

fn leave(server: &Server, node: &[u8]) -> Reply {
    let Some(node) = std::str::from_utf8(node).ok().and_then(|node| node.parse().ok()) else {
        return error("a node is a number");
    };
    match server.server().leave(NodeId(node)) {
        Ok(()) => Reply::Simple("OK"),
        Err(why) => error(why),
    }
}
