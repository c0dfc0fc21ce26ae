//! The other end by hand: bytes that this file spells out by itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use quorate::transports::PeerRefusal;
use quorate::{Codec, Message, NodeId};

use super::{End, FRAME, IDENTITY, LONG};

/// What a hello says.
#[derive(Clone, Copy)]
pub(super) struct Hello {
    pub(super) lowest: u16,
    pub(super) highest: u16,
    pub(super) cluster: u128,
    pub(super) to: u64,
    pub(super) from: u64,
    pub(super) incarnation: u64,
}

/// From node 2 to node 1, as it should be.
pub(super) const HELLO: Hello =
    Hello { lowest: 1, highest: 1, cluster: IDENTITY.cluster.0, to: 1, from: 2, incarnation: 7 };

impl Hello {
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = b"QRTH\x48\x00".to_vec();
        bytes.extend(self.lowest.to_le_bytes());
        bytes.extend(self.highest.to_le_bytes());
        bytes.extend(self.cluster.to_le_bytes());
        bytes.extend(self.to.to_le_bytes());
        introduce(&mut bytes, self.from, self.incarnation);
        seal(bytes)
    }
}

fn introduce(bytes: &mut Vec<u8>, node: u64, incarnation: u64) {
    bytes.extend(node.to_le_bytes());
    bytes.extend(incarnation.to_le_bytes());
    bytes.extend([0xaa; 8]);
    bytes.extend([0xbb; 16]);
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// An answer: welcome by this node, or a code that says no.
pub(super) fn answer(code: u8, node: u64) -> Vec<u8> {
    let mut bytes = b"QRTA\x2f\x00".to_vec();
    bytes.push(code);
    bytes.extend([1, 0]);
    introduce(&mut bytes, node, 7);
    seal(bytes)
}

/// Frames as they stand on a stream.
pub(super) fn frames(from: u64, messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in Codec::new(IDENTITY, FRAME).encode(NodeId(from), messages) {
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// A connection of a stranger to a transport.
pub(super) struct Stranger(pub(super) TcpStream);

impl Stranger {
    pub(super) fn connect(end: &End) -> Self {
        let stream = TcpStream::connect(end.address()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    /// One that has shaken hands.
    pub(super) fn welcome(end: &End, hello: Hello) -> Self {
        let mut stranger = Self::connect(end);
        stranger.says(&hello.bytes());
        assert_eq!(stranger.answer(), Some(0));
        stranger
    }

    pub(super) fn says(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The code of the answer; none if the connection just ends.
    pub(super) fn answer(&mut self) -> Option<u8> {
        let mut bytes = [0; 53];
        self.0.read_exact(&mut bytes).ok()?;
        assert_eq!(bytes[..6], *b"QRTA\x2f\x00");
        let (content, sum) = bytes.split_at(49);
        assert_eq!(crc32fast::hash(content).to_le_bytes(), *sum);
        if bytes[6] != 0 {
            assert_eq!(bytes[7..49], [0; 42], "who is turned away learns nothing");
        }
        Some(bytes[6])
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    /// Whether the other end has ended it, after whatever it said.
    pub(super) fn is_over(&mut self) -> bool {
        let mut rest = [0; 256];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Somebody who is dialled.
pub(super) struct Dialled(pub(super) TcpListener);

impl Dialled {
    pub(super) fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(super) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection, once it has said hello.
    pub(super) fn hello(&self) -> (TcpStream, Vec<u8>) {
        let (mut stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut hello = vec![0; 78];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(hello[..6], *b"QRTH\x48\x00");
        (stream, hello)
    }

    /// The next connection, welcomed as this node.
    pub(super) fn welcome(&self, node: u64) -> TcpStream {
        let (mut stream, _) = self.hello();
        stream.write_all(&answer(0, node)).unwrap();
        stream
    }
}

/// The code of a refusal on the wire.
pub(super) fn code(refusal: PeerRefusal) -> u8 {
    match refusal {
        PeerRefusal::ForeignCluster => 1,
        PeerRefusal::WrongNode => 2,
        PeerRefusal::OlderStart => 3,
        PeerRefusal::NoCommonVersion => 4,
        PeerRefusal::Malformed => 5,
        PeerRefusal::SameName => 6,
        PeerRefusal::Busy => 7,
        PeerRefusal::Slow => 8,
        PeerRefusal::Certificate => 9,
        _ => unreachable!("a refusal without a code"),
    }
}
