//! What a transport is bound with.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::ids::NodeId;

/// Where a node listens, where its peers are, and its bounds.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Where it listens: `host:port`. Port 0 takes one that is free. Default `127.0.0.1:0`: who wants to be reached from
    /// elsewhere says so.
    pub listen: String,
    /// Where peers listen: `host:port`, resolved anew at each dial. It may be changed while the transport runs
    /// ([`super::TcpTransport::set_address`]), and is asked before gossip is.
    pub addresses: BTreeMap<NodeId, String>,
    /// Orders the starts of a node: while a connection of one lives, a lower one is turned away. Default `None`: the
    /// wall clock's microseconds at the time of binding. A clock that was set back delays a node that starts again by
    /// [`NetworkTiming::idle`] at most, until its former connections are known to be dead.
    pub incarnation: Option<u64>,
    /// Bounds.
    pub limits: NetworkLimits,
    /// Durations.
    pub timing: NetworkTiming,
    /// Certificates. Default `None`: plain TCP, for networks where whoever can connect is trusted.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl NetworkConfig {
    /// Listens at `listen`, with default bounds and durations.
    #[must_use]
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            addresses: BTreeMap::new(),
            incarnation: None,
            limits: NetworkLimits::default(),
            timing: NetworkTiming::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Bounds, each with a named behaviour when it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Most bytes that wait for one peer. Of what is sent beyond them the newest is dropped and counted: the protocol
    /// has its own timeouts and asks again, and what is ahead in the queue was asked for first. If nothing waits one
    /// call's messages are taken up to [`crate::config::Limits::frame`]. Default 16 MiB.
    pub queue_bytes: usize,
    /// Most messages that wait for one peer; beyond them as for bytes. Default 16,384.
    pub queue_messages: usize,
    /// Most peers that are spoken to; messages for further ones are dropped and counted. Each that is has a thread.
    /// Default 1,024.
    pub peers: usize,
    /// Most connections that are taken, those of peers that have shaken hands and those of others together. A further
    /// one is closed at once, and counted. Each has a thread. Default 1,024.
    pub inbound: usize,
    /// Most connections that have not shaken hands yet; a further one is closed at once, and counted. Default 64.
    pub shaking: usize,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self { queue_bytes: 16 << 20, queue_messages: 16_384, peers: 1_024, inbound: 1_024, shaking: 64 }
    }
}

/// Durations of the transport. None of them is needed for safety. One of zero counts as a millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkTiming {
    /// How long a connection may take to be made. Default 2 s.
    pub connect: Duration,
    /// How long both ends may take to say who they are, TLS included. Default 2 s.
    pub handshake: Duration,
    /// How long it may take until what is written at once has gone into the system's buffers. Then the peer does not
    /// read, and the connection ends. Default 10 s.
    pub write: Duration,
    /// How long the rest of a frame may take to arrive after its first byte. Then the connection ends. Default 30 s:
    /// the longest frame at a megabyte a second.
    pub frame: Duration,
    /// How often each connection is asked whether it lives. Default 3 s.
    pub pulse: Duration,
    /// A connection on which that was not answered for so long is dead: it ends, and is dialled again when there is
    /// something to say. Default 10 s.
    pub silence: Duration,
    /// A connection on which a peer says nothing for so long, not even a pulse, is dead at this end. More than the
    /// peers' `pulse`. Default 15 s.
    pub idle: Duration,
    /// The first pause after a dial that failed. It doubles up to `backoff_max`, and each is drawn between half of it and
    /// all. What is sent meanwhile is dropped and counted: the peer is away, and what it missed comes by hints and
    /// exchanges. A peer that dials in ends the pause. Default 50 ms.
    pub backoff: Duration,
    /// The longest pause. Default 2 s.
    pub backoff_max: Duration,
}

impl Default for NetworkTiming {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            handshake: Duration::from_secs(2),
            write: Duration::from_secs(10),
            frame: Duration::from_secs(30),
            pulse: Duration::from_secs(3),
            silence: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl NetworkTiming {
    /// A timeout of zero is none at all to a socket.
    pub(super) fn at_least_a_millisecond(mut self) -> Self {
        let all = [
            &mut self.connect,
            &mut self.handshake,
            &mut self.write,
            &mut self.frame,
            &mut self.pulse,
            &mut self.silence,
            &mut self.idle,
            &mut self.backoff,
            &mut self.backoff_max,
        ];
        for duration in all {
            *duration = (*duration).max(Duration::from_millis(1));
        }
        self
    }
}
