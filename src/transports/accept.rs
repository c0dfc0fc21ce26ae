//! Connections from others: who may stay, and what they say.
//!
//! Each has a thread that reads, decodes, and hands on what it has read; while that is taken nothing is read, and the
//! peer is held up by TCP itself.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::handshake::{Answer, Hello, Introduction, PeerRefusal};
use super::outbound::Peer;
use super::status::NetworkEvent;
use super::tcp::Inner;
use super::wire::{Wire, end, is_timeout};
use crate::ids::NodeId;
use crate::message::{Message, PROTOCOLS};

/// The connections that others have made.
#[derive(Default)]
pub(super) struct Connections {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Open>,
    /// The connection of each peer that has shaken hands.
    of: BTreeMap<NodeId, u64>,
    shaking: usize,
    errors: u64,
}

struct Open {
    stream: Arc<TcpStream>,
    /// None before the handshake.
    from: Option<Introduction>,
}

/// What a reader's buffer begins with, and what it goes back to.
const BUFFER: usize = 64 << 10;
/// No more of it is kept once a long frame has been read.
const KEPT: usize = 1 << 20;
/// The system has no room for another connection: it is asked again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// How much of what a refused peer still says is read, and for how long: if anything were left unread, the system would
/// take back the refusal that is on its way.
const FAREWELL: (usize, Duration) = (16 << 10, Duration::from_millis(200));

/// Takes connections until the transport stops.
pub(super) fn accept(inner: &Arc<Inner>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if !inner.is_running() {
            return;
        }
        match accepted {
            Ok((stream, address)) => take(inner, stream, address),
            Err(_) => {
                inner.inbound.state.lock().errors += 1;
                std::thread::park_timeout(AGAIN);
            }
        }
    }
}

fn take(inner: &Arc<Inner>, stream: TcpStream, address: SocketAddr) {
    let stream = Arc::new(stream);
    let Some(number) = inner.inbound.enter(inner, &stream) else { return busy(inner, &stream, address) };
    let owner = Arc::clone(inner);
    let kept = Arc::clone(&stream);
    let spawned = inner.spawn(move || {
        let place = Place { inner: &owner, number };
        serve(&place, stream, address);
    });
    if !spawned {
        inner.inbound.leave(number);
        busy(inner, &kept, address);
    }
}

fn busy(inner: &Inner, stream: &TcpStream, address: SocketAddr) {
    inner.refuse(None, address, PeerRefusal::Busy);
    #[cfg(feature = "tls")]
    if inner.is_secure() {
        // It would not understand.
        return;
    }
    // It costs no thread and no waiting: it is told if the system takes it at once.
    if stream.set_nonblocking(true).is_ok() {
        let mut stream = stream;
        let _ = stream.write(&Answer::Refused(PeerRefusal::Busy).to_bytes());
    }
}

/// A connection's place among the others, given up at the end of its thread.
struct Place<'a> {
    inner: &'a Arc<Inner>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some((stream, node)) = self.inner.inbound.leave(self.number) {
            end(&stream);
            if let Some(peer) = node.and_then(|node| self.inner.known(node)) {
                peer.is_silent();
            }
        }
    }
}

fn serve(place: &Place<'_>, stream: Arc<TcpStream>, address: SocketAddr) {
    let inner = place.inner;
    let mut wire = Wire::plain(stream);
    let (from, peer) = match shake(place, &mut wire) {
        Ok(known) => known,
        Err(Left::Refused(node, refusal)) => {
            inner.refuse(node, address, refusal);
            return farewell(&mut wire, &Answer::Refused(refusal).to_bytes());
        }
        Err(Left::Gone(_)) => return,
    };
    inner.report(NetworkEvent::Accepted { node: from.node, address: address.to_string() });
    peer.is_there(inner, from.incarnation);
    let left =
        Reader { inner, node: from.node, peer: &peer, buffer: vec![0; BUFFER], filled: 0, begun: None }.read(&mut wire);
    let error = match left {
        Left::Refused(node, refusal) => {
            inner.refuse(node, address, refusal);
            farewell(&mut wire, &[refusal.code()]);
            refusal.to_string()
        }
        Left::Gone(error) => error.to_string(),
    };
    inner.report(NetworkEvent::Ended { node: from.node, error });
}

/// Says why, and leaves.
fn farewell(wire: &mut Wire, words: &[u8]) {
    let (most, within) = FAREWELL;
    if wire.write_all_by(words, Instant::now() + within).is_err() || wire.stream().shutdown(Shutdown::Write).is_err() {
        return;
    }
    let (until, mut read, mut buffer) = (Instant::now() + within, 0, [0; 1024]);
    while read < most
        && let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        && wire.stream().set_read_timeout(Some(left)).is_ok()
    {
        match (&**wire.stream()).read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => read += count,
        }
    }
}

/// Why a connection ends.
enum Left {
    Refused(Option<NodeId>, PeerRefusal),
    Gone(io::Error),
}

impl From<io::Error> for Left {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if is_timeout(&error) => Self::Refused(None, PeerRefusal::Slow),
            ErrorKind::InvalidData => Self::Refused(None, PeerRefusal::Malformed),
            _ => Self::Gone(error),
        }
    }
}

/// Learns who it is, and says who this is. Nothing of what it sends is decoded before.
fn shake(place: &Place<'_>, wire: &mut Wire) -> Result<(Introduction, Arc<Peer>), Left> {
    let (inner, until) = (place.inner, Instant::now() + place.inner.timing.handshake);
    wire.stream().set_nodelay(true)?;
    #[cfg(feature = "tls")]
    if let Some(tls) = inner.tls() {
        let plain = Wire::plain(Arc::clone(wire.stream()));
        *wire = plain.secure(tls.answering().map_err(io::Error::other)?, until).map_err(|error| {
            match super::tls::refusal_of(&error) {
                Some(refusal) => Left::Refused(None, refusal),
                None => error.into(),
            }
        })?;
    }
    let hello = wire.read_shake(until)?;
    let hello = Hello::from_bytes(&hello).map_err(|_| Left::Refused(None, PeerRefusal::Malformed))?;
    let from = hello.from;
    let refused = |refusal| Left::Refused(Some(from.node), refusal);
    #[cfg(feature = "tls")]
    if inner.is_secure() && !wire.certificate().is_some_and(|shown| super::tls::names(shown, inner.cluster, from.node))
    {
        return Err(refused(PeerRefusal::Certificate));
    }
    let version = hello.judge(inner.node, inner.cluster, PROTOCOLS).map_err(refused)?;
    let peer = inner.peer(from.node).ok_or_else(|| refused(PeerRefusal::Busy))?;
    inner.inbound.admit(place.number, from).map_err(refused)?;
    wire.write_all_by(&Answer::Welcome { version, from: inner.introduction() }.to_bytes(), until)?;
    wire.stream().set_read_timeout(Some(inner.timing.idle))?;
    Ok((from, peer))
}

impl Connections {
    /// A place for a connection, if there is one.
    fn enter(&self, inner: &Inner, stream: &Arc<TcpStream>) -> Option<u64> {
        let mut state = self.state.lock();
        // Asked under the lock that a stop takes to end all that there are.
        if !inner.is_running() || state.open.len() >= inner.limits.inbound || state.shaking >= inner.limits.shaking {
            return None;
        }
        state.shaking += 1;
        state.next += 1;
        let number = state.next;
        state.open.insert(number, Open { stream: Arc::clone(stream), from: None });
        Some(number)
    }

    /// The connection is that of this node from now on; one that it had before ends.
    fn admit(&self, number: u64, from: Introduction) -> Result<(), PeerRefusal> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(former) = state.of.get(&from.node).and_then(|former| state.open.get(former)) {
            if former.from.is_some_and(|former| former.incarnation > from.incarnation) {
                return Err(PeerRefusal::OlderStart);
            }
            end(&former.stream);
        }
        if let Some(open) = state.open.get_mut(&number) {
            open.from = Some(from);
            state.shaking -= 1;
            state.of.insert(from.node, number);
        }
        Ok(())
    }

    /// Its socket, and whose it was, if it was still that node's.
    fn leave(&self, number: u64) -> Option<(Arc<TcpStream>, Option<NodeId>)> {
        let mut state = self.state.lock();
        let Open { stream, from } = state.open.remove(&number)?;
        match from {
            None => state.shaking -= 1,
            Some(Introduction { node, .. }) if state.of.get(&node) == Some(&number) => {
                state.of.remove(&node);
                return Some((stream, Some(node)));
            }
            Some(_) => {}
        }
        Some((stream, None))
    }

    /// Ends all.
    pub(super) fn stop(&self) {
        self.state.lock().open.values().for_each(|open| end(&open.stream));
    }

    /// How many are open, how many of them have not shaken hands, and how many could not be taken.
    pub(super) fn counts(&self) -> (usize, usize, u64) {
        let state = self.state.lock();
        (state.open.len(), state.shaking, state.errors)
    }
}

/// What a peer says after the handshake.
struct Reader<'a> {
    inner: &'a Inner,
    node: NodeId,
    peer: &'a Peer,
    /// Grows with what has come, not with what a length claims.
    buffer: Vec<u8>,
    filled: usize,
    /// When the first byte came of what is not whole yet.
    begun: Option<Instant>,
}

impl Reader<'_> {
    /// Reads until the connection ends.
    fn read(mut self, wire: &mut Wire) -> Left {
        loop {
            match self.next(wire) {
                Ok(()) => {}
                Err(Left::Refused(None, refusal)) => return Left::Refused(Some(self.node), refusal),
                Err(left) => return left,
            }
        }
    }

    fn next(&mut self, wire: &mut Wire) -> Result<(), Left> {
        let (before, mut at, mut pulse) = (self.begun, 0, false);
        let mut messages = Vec::new();
        while let Some((frame, after)) = self.whole(at)? {
            if frame.is_empty() {
                pulse = true;
            } else {
                let malformed = Left::Refused(None, PeerRefusal::Malformed);
                let Ok((from, decoded)) = self.inner.codec.decode(frame) else { return Err(malformed) };
                if from != self.node {
                    return Err(malformed);
                }
                append(&mut messages, decoded);
            }
            at = after;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        if pulse {
            wire.write_all_by(&[0], Instant::now() + self.inner.timing.write)?;
        }
        if !messages.is_empty() {
            self.peer.received(messages.len(), at);
            self.inner.deliver(self.node, messages);
        }
        self.begun = (self.filled > 0).then(|| before.filter(|_| at == 0).unwrap_or_else(Instant::now));
        if self.begun.is_some_and(|begun| begun.elapsed() > self.inner.timing.frame) {
            return Err(Left::Refused(None, PeerRefusal::Slow));
        }
        self.make_room();
        match wire.read_some(&mut self.buffer[self.filled..]) {
            Ok(Some(0)) => Err(Left::Gone(io::Error::new(ErrorKind::UnexpectedEof, "the peer has ended it"))),
            Ok(Some(count)) => {
                self.filled += count;
                Ok(())
            }
            Ok(None) => {
                // A piece of a record, which counts as one of a frame.
                self.begun.get_or_insert_with(Instant::now);
                Ok(())
            }
            Err(error) if is_timeout(&error) && self.filled == 0 => {
                Err(Left::Gone(io::Error::new(ErrorKind::TimedOut, "it has said nothing for too long")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The frame that begins there, and where it ends, if all of it has come.
    fn whole(&self, at: usize) -> Result<Option<(&[u8], usize)>, Left> {
        let Some((length, rest)) = self.buffer[at..self.filled].split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.inner.codec.limit() {
            return Err(Left::Refused(None, PeerRefusal::Malformed));
        }
        Ok(rest.get(..length).map(|frame| (frame, at + 4 + length)))
    }

    fn make_room(&mut self) {
        if self.filled == 0 && self.buffer.len() > KEPT {
            self.buffer.truncate(BUFFER);
            self.buffer.shrink_to_fit();
        }
        if self.filled == self.buffer.len() {
            // Twice what has come: a length that promises more reserves nothing.
            self.buffer.resize(self.filled.saturating_mul(2).min(self.inner.codec.limit() + 4).max(self.filled + 1), 0);
        }
    }
}

/// One list of all that came at once: whoever takes it syncs once for it.
fn append(messages: &mut Vec<Message>, mut decoded: Vec<Message>) {
    if messages.is_empty() {
        *messages = decoded;
    } else {
        messages.append(&mut decoded);
    }
}
