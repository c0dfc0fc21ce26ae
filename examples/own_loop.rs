//! A node in the host's own loop, on the host's own network: no runtime, no thread, real datagrams.
//!
//! Three nodes live in one thread, each with a UDP socket; between them go frames of bytes. A host calls
//! - `step(now, input)` for each request and message: the logic, which waits for no disk and no network;
//! - `poll()` for what may leave at once: writes are on their way to the peers before the disk has them here;
//! - `commit()`, if `wants_commit()`, once for all steps since the last: one sync, however many writes it makes durable;
//! - `poll()` again for what waited for that: acknowledgements, and answers that show what was written;
//! - `deadline()` to know how long it may sleep on the network: timeouts, hints and probes are due then.
//!
//! A datagram holds at most 65,507 bytes and may be lost, which the nodes stand. For larger values take TCP.
//!
//! `cargo run --release --example own_loop` (about a second, with or without `-- --quick`)

#![allow(clippy::disallowed_methods, reason = "a host reads the clocks")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate::{ClusterId, Codec, Context, GetOptions, Identity, Input, Keyspace, Member, Node, NodeId, Now, Output};
use quorate::{PutOptions, Reply, Request, Setup, Start, Ticket, Time, Versions, WallTime};
use quorate::{causality::Secret, ids::KeyspaceId, ring::plan_first, storage::MemoryStorage};
use rand::{TryRng, rngs::SysRng};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
const DATAGRAM: usize = 65_507;
const KEY: &str = "greeting";

struct Host {
    id: NodeId,
    node: Node<MemoryStorage>,
    socket: UdpSocket,
    /// Unplugged, nothing gets in or out.
    plugged: bool,
    reply: Option<Reply>,
}

struct World {
    hosts: Vec<Host>,
    addresses: BTreeMap<NodeId, SocketAddr>,
    codec: Codec,
    keyspace: KeyspaceId,
    origin: Instant,
}

impl World {
    fn found() -> Result<Self> {
        let (mut secret, cluster) = ([0; 16], ClusterId(u128::from(SysRng.try_next_u64()?)));
        SysRng.try_fill_bytes(&mut secret)?;
        let identity = Identity { cluster, secret: Secret::new(secret) };
        let members = [1, 2, 3].map(|node| Member::new(NodeId(node)));
        let (layout, keyspace) = (Arc::new(plan_first(&members, 3, 16)?.layout), Keyspace::new("default"));
        let (codec, origin) = (Codec::new(identity, DATAGRAM), Instant::now());
        let (hosts, addresses) = (Vec::new(), BTreeMap::new());
        let mut world = Self { hosts, addresses, codec, keyspace: keyspace.id(), origin };
        for Member { node: id, .. } in members {
            let setup = Setup::new(identity, id, Arc::clone(&layout), vec![keyspace.clone()]);
            let setup = Setup { founding: true, ..setup };
            // Fresh randomness of the system at every start: it names this start's writes for ever.
            let start = Start(SysRng.try_next_u64()?);
            let node = Node::open(setup, vec![MemoryStorage::new()], start, 0, world.now())?;
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            world.addresses.insert(id, socket.local_addr()?);
            world.hosts.push(Host { id, node, socket, plugged: true, reply: None });
        }
        Ok(world)
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Now { time: Time(self.origin.elapsed().as_micros() as u64), wall: WallTime(wall) }
    }

    /// One round of a host's loop. False if there was nothing to do.
    fn turn(&mut self, at: usize) -> Result<bool> {
        let (now, host, mut datagram) = (self.now(), &mut self.hosts[at], vec![0; DATAGRAM]);
        while let Ok((length, address)) = host.socket.recv_from(&mut datagram) {
            let Ok((from, messages)) = self.codec.decode(&datagram[..length]) else { continue };
            // Whoever carries a frame vouches for its sender: here, by the address.
            if host.plugged && self.addresses.get(&from) == Some(&address) {
                messages.into_iter().for_each(|message| host.node.step(now, Input::Message(from, message)));
            }
        }
        // A needless wake-up does nothing.
        host.node.step(now, Input::Wake);
        let early = self.leave(at);
        if self.hosts[at].node.wants_commit() {
            self.hosts[at].node.commit()?;
        }
        let acknowledged = self.leave(at);
        Ok(early || acknowledged || self.hosts[at].node.wants_commit())
    }

    /// Carries out what the node has to say by now: one frame for all that a peer gets.
    fn leave(&mut self, at: usize) -> bool {
        let (host, mut outgoing, mut busy) = (&mut self.hosts[at], BTreeMap::<_, Vec<_>>::new(), false);
        while let Some(output) = host.node.poll() {
            busy = true;
            match output {
                Output::Send(to, message) => outgoing.entry(to).or_default().push(message),
                Output::Done(_, reply) => host.reply = Some(reply),
                other => println!("  {}: {other:?}", host.id),
            }
        }
        for (to, messages) in outgoing.into_iter().filter(|_| host.plugged) {
            for frame in self.codec.encode(host.id, &messages) {
                // A socket whose buffer is full loses it, as a network may.
                let _ = host.socket.send_to(&frame, self.addresses[&to]);
            }
        }
        busy
    }

    /// Goes round until `done` gives something; sleeps when nothing is on its way and only time can help.
    fn run<T>(&mut self, mut done: impl FnMut(&mut [Host]) -> Option<T>) -> Result<T> {
        let until = self.now().time + Duration::from_secs(5);
        while self.now().time < until {
            let busy = (0..self.hosts.len()).try_fold(false, |busy, at| self.turn(at).map(|more| busy || more))?;
            if let Some(result) = done(&mut self.hosts) {
                return Ok(result);
            }
            let due = self.hosts.iter().filter_map(|host| host.node.deadline()).min().unwrap_or(until).min(until);
            let (time, socket) = (self.now().time, &self.hosts[0].socket);
            if !busy && due > time {
                // A host with one node sleeps on its one socket just so: a datagram wakes it, or the deadline.
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(due.since(time)))?;
                let _ = socket.peek_from(&mut [0]);
                socket.set_nonblocking(true)?;
            }
        }
        Err("nothing came of it in five seconds".into())
    }

    /// One request at a time, so all of them have one ticket.
    fn ask(&mut self, at: usize, request: Request) -> Result<Reply> {
        let now = self.now();
        self.hosts[at].node.step(now, Input::Request(Ticket(0), request));
        self.run(|hosts| hosts[at].reply.take())
    }

    fn put(&mut self, at: usize, value: &str, context: &Context) -> Result<()> {
        let (value, context, options) = (Some(value.into()), context.clone(), PutOptions::default());
        match self.ask(at, Request::Put { keyspace: self.keyspace, key: KEY.into(), value, context, options })? {
            Reply::Put(written) => {
                println!("n{} puts, {} owners have it", at + 1, written?.owners);
                Ok(())
            }
            other => Err(format!("{other:?}").into()),
        }
    }

    /// Reads, and fails unless exactly these values are there.
    fn get(&mut self, at: usize, expected: &[&str]) -> Result<Versions> {
        let options = GetOptions::default();
        match self.ask(at, Request::Get { keyspace: self.keyspace, key: KEY.into(), options })? {
            Reply::Get(Ok(found)) if found.values == expected => {
                println!("n{} reads {:?}", at + 1, found.values);
                Ok(found)
            }
            other => Err(format!("expected {expected:?}: {other:?}").into()),
        }
    }
}

fn main() -> Result<()> {
    let mut world = World::found()?;
    world.put(0, "hello", &Context::empty())?;
    let seen = world.get(1, &["hello"])?;
    // Two go on from the same reading: neither knows of the other, so both versions stay, until one put has seen both.
    world.put(1, "hello, Bob", &seen.context)?;
    world.put(2, "hello, Carol", &seen.context)?;
    let both = world.get(0, &["hello, Bob", "hello, Carol"])?;
    world.put(0, "hello, Bob and Carol", &both.context)?;
    let merged = world.get(2, &["hello, Bob and Carol"])?;

    // n3 is unplugged: W = 2 is reached all the same, and a hint waits for n3 until it is heard again.
    world.hosts[2].plugged = false;
    world.put(0, "hello, you two", &merged.context)?;
    world.run(|hosts| hosts[0].node.suspects().contains(&NodeId(3)).then_some(()))?;
    world.hosts[2].plugged = true;
    world.run(|hosts| hosts[0].node.hints().is_empty().then_some(()))?;
    let stored = world.hosts[2].node.inspect(world.keyspace, KEY.as_bytes())?;
    if stored.is_none_or(|versions| !matches!(&versions[..], [only] if only.value == "hello, you two")) {
        return Err("the hint has left n1, and n3 has not got it".into());
    }
    println!("checked: read anywhere, conflict kept, conflict resolved, and a write that waited for n3 came home");
    Ok(())
}
