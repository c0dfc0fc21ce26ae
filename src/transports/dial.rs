//! Making a connection to a peer: the address, the socket, TLS, and who each end is.

use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use super::handshake::{Answer, Hello, Introduction, PeerRefusal};
use super::status::NetworkEvent;
use super::tcp::Inner;
use super::wire::{Wire, is_timeout};
use crate::ids::NodeId;
use crate::message::PROTOCOLS;

/// A connection on which both have said who they are. Its socket does not block.
pub(super) struct Dialled {
    pub(super) wire: Wire,
    pub(super) version: u16,
    pub(super) from: Introduction,
}

/// Why no connection came about. What waited for it was dropped.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("its address is not known")]
    NoAddress,
    #[error("its address can't be resolved: {0}")]
    Resolve(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("the transport has stopped")]
    Stopped,
    /// It has turned this node away.
    #[error("refused: {0}")]
    RefusedBy(PeerRefusal),
    /// This node has turned it away.
    #[error("refused here: {0}")]
    Refused(PeerRefusal),
    #[error("{0} answered instead")]
    Another(NodeId),
    #[error("no handshake: {0}")]
    Handshake(io::Error),
}

impl DialError {
    /// What is reported of it beside that the dial failed.
    pub(super) fn event(&self, node: NodeId, address: String) -> Option<NetworkEvent> {
        match self {
            Self::RefusedBy(refusal) => Some(NetworkEvent::RefusedBy { node, address, refusal: *refusal }),
            Self::Refused(refusal) => Some(NetworkEvent::Refused { node: Some(node), address, refusal: *refusal }),
            Self::Another(other) => {
                Some(NetworkEvent::Refused { node: Some(*other), address, refusal: PeerRefusal::WrongNode })
            }
            _ => None,
        }
    }
}

/// Dials a node: where, as far as that is known, and what came of it. `keep` is shown the socket before anything is
/// waited for on it, and says whether to go on.
pub(super) fn dial(
    inner: &Inner,
    node: NodeId,
    keep: impl Fn(&Arc<TcpStream>) -> bool,
) -> (Option<String>, Result<Dialled, DialError>) {
    let Some(address) = inner.address_of(node) else { return (None, Err(DialError::NoAddress)) };
    let dialled = connect(inner, &address).and_then(|stream| {
        let stream = Arc::new(stream);
        if !keep(&stream) {
            return Err(DialError::Stopped);
        }
        shake(inner, node, &stream)
    });
    (Some(address), dialled)
}

fn connect(inner: &Inner, address: &str) -> Result<TcpStream, DialError> {
    let until = Instant::now() + inner.timing.connect;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name stands for no address");
    for address in address.to_socket_addrs().map_err(DialError::Resolve)? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect(last))
}

fn shake(inner: &Inner, node: NodeId, stream: &Arc<TcpStream>) -> Result<Dialled, DialError> {
    let until = Instant::now() + inner.timing.handshake;
    let wrong = |error: io::Error| match error.kind() {
        _ if is_timeout(&error) => DialError::Refused(PeerRefusal::Slow),
        ErrorKind::InvalidData => DialError::Refused(PeerRefusal::Malformed),
        _ => DialError::Handshake(error),
    };
    // Everything is written in one piece, so waiting for more to send is never right.
    stream.set_nodelay(true).map_err(DialError::Handshake)?;
    let wire = Wire::plain(Arc::clone(stream));
    #[cfg(feature = "tls")]
    let wire = secure(inner, node, wire, until)?;
    let mut wire = wire;
    let hello = Hello { protocols: PROTOCOLS, cluster: inner.cluster, from: inner.introduction(), to: node };
    wire.write_all_by(&hello.to_bytes(), until).map_err(wrong)?;
    let answer = wire.read_shake(until).map_err(|error| refused_under_tls(&error).unwrap_or_else(|| wrong(error)))?;
    let answer = Answer::from_bytes(&answer).map_err(|_| DialError::Refused(PeerRefusal::Malformed))?;
    match answer {
        Answer::Refused(refusal) => Err(DialError::RefusedBy(refusal)),
        Answer::Welcome { from, .. } if from.node != node => Err(DialError::Another(from.node)),
        Answer::Welcome { version, .. } if !(PROTOCOLS.lowest..=PROTOCOLS.highest).contains(&version) => {
            Err(DialError::Refused(PeerRefusal::NoCommonVersion))
        }
        Answer::Welcome { version, from } => {
            stream.set_nonblocking(true).map_err(DialError::Handshake)?;
            Ok(Dialled { wire, version, from })
        }
    }
}

#[cfg(feature = "tls")]
fn secure(inner: &Inner, node: NodeId, wire: Wire, until: Instant) -> Result<Wire, DialError> {
    let Some(tls) = inner.tls() else { return Ok(wire) };
    let connection =
        tls.dialling(inner.cluster, node).map_err(|error| DialError::Handshake(io::Error::other(error)))?;
    wire.secure(connection, until).map_err(|error| {
        if is_timeout(&error) {
            return DialError::Refused(PeerRefusal::Slow);
        }
        refused_under_tls(&error).unwrap_or_else(|| match super::tls::refusal_of(&error) {
            Some(refusal) => DialError::Refused(refusal),
            None => DialError::Handshake(error),
        })
    })
}

/// In TLS 1.3 the end that dials is through before the other has looked at its certificate: what that thinks of it
/// comes as an alert in the place of an answer.
#[cfg_attr(not(feature = "tls"), allow(clippy::missing_const_for_fn, reason = "without TLS there are no alerts"))]
fn refused_under_tls(error: &io::Error) -> Option<DialError> {
    #[cfg(feature = "tls")]
    if super::tls::is_alert(error) {
        return Some(DialError::RefusedBy(PeerRefusal::Certificate));
    }
    let _ = error;
    None
}
