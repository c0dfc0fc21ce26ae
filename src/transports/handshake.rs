//! What two ends say before anything else, and why one turns the other away. Bytes in, bytes out: no sockets.

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, NodeId, Start, StoreId};
use crate::members::Protocols;
use crate::wire::{FormatError, Reader, checked, put_checksum};

/// Why a node turned a peer away, in words that both ends know. Nothing that the peer sent was decoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PeerRefusal {
    /// It belongs to another cluster.
    #[error("it belongs to another cluster")]
    ForeignCluster,
    /// It wanted to speak to another node than the one that it reached: the address is wrong.
    #[error("another node is reached at this address")]
    WrongNode,
    /// A later start of the same node is connected.
    #[error("a later start of the same node is connected")]
    OlderStart,
    /// There is no version of the protocol that both speak.
    #[error("there is no version of the protocol that both speak")]
    NoCommonVersion,
    /// It sent what is not of this protocol, or damaged.
    #[error("it sent what is not of this protocol")]
    Malformed,
    /// It calls itself by the name of the node that it speaks to.
    #[error("it calls itself by the name of the node that it speaks to")]
    SameName,
    /// There are as many connections as may be.
    #[error("there are as many connections as may be")]
    Busy,
    /// It didn't say who it is, or didn't end what it began, within the time for that.
    #[error("it took too long")]
    Slow,
    /// It showed no certificate of this cluster's authority that holds now, or one of another node.
    #[error("its certificate is not that of the node")]
    Certificate,
}

impl PeerRefusal {
    /// All, in the order of their codes, which begin at 1.
    pub(super) const ALL: [Self; 9] = [
        Self::ForeignCluster,
        Self::WrongNode,
        Self::OlderStart,
        Self::NoCommonVersion,
        Self::Malformed,
        Self::SameName,
        Self::Busy,
        Self::Slow,
        Self::Certificate,
    ];

    pub(super) fn code(self) -> u8 {
        Self::ALL.iter().position(|refusal| *refusal == self).map_or(0, |at| at as u8 + 1)
    }

    /// A code of a later version is some refusal too.
    pub(super) fn of(code: u8) -> Self {
        Self::ALL.get(usize::from(code).wrapping_sub(1)).copied().unwrap_or(Self::Malformed)
    }
}

/// Who an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Introduction {
    pub(super) node: NodeId,
    /// Orders the starts of a node. See [`super::NetworkConfig::incarnation`].
    pub(super) incarnation: u64,
    pub(super) start: Start,
    /// Zero where the store has no name of its own.
    pub(super) store: StoreId,
}

/// What the end that dials says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    pub(super) protocols: Protocols,
    pub(super) cluster: ClusterId,
    pub(super) from: Introduction,
    /// Whom it wants to speak to.
    pub(super) to: NodeId,
}

/// What the other end says to that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Speak, in this version.
    Welcome { version: u16, from: Introduction },
    /// No. The connection ends.
    Refused(PeerRefusal),
}

const HELLO: [u8; 4] = *b"QRTH";
const ANSWER: [u8; 4] = *b"QRTA";
/// Magic and length.
pub(super) const HEAD: usize = 6;
/// The longest of both, after the head. Longer than today's, for later versions that say more.
pub(super) const LONGEST: usize = 512;
const INTRODUCTION: usize = 8 + 8 + 8 + 16;

impl Hello {
    /// `"QRTH"` · length (2) · lowest (2) · highest (2) · cluster (16) · to (8) · introduction (40) · crc32 (4), all
    /// little-endian; the introduction is node (8) · incarnation (8) · start (8) · store (16). The length is of what
    /// follows it; the checksum is of all before it. What a later version adds stands before the checksum.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(96);
        body.extend_from_slice(&self.protocols.lowest.to_le_bytes());
        body.extend_from_slice(&self.protocols.highest.to_le_bytes());
        body.extend_from_slice(&self.cluster.0.to_le_bytes());
        body.extend_from_slice(&self.to.0.to_le_bytes());
        self.from.put(&mut body);
        framed(HELLO, &body)
    }

    /// Reads what a whole hello holds, from its magic to its checksum.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = body(HELLO, bytes)?;
        let protocols = Protocols { lowest: number(&mut reader)?, highest: number(&mut reader)? };
        if protocols.lowest > protocols.highest {
            return Err(FormatError::Content("the lowest version is above the highest"));
        }
        let cluster = ClusterId(u128::from_le_bytes(reader.array()?));
        let to = NodeId(u64::from_le_bytes(reader.array()?));
        Ok(Self { protocols, cluster, to, from: Introduction::read(&mut reader)? })
    }

    /// The version to speak, or why not, as far as the words themselves tell.
    pub(super) fn judge(&self, own: NodeId, cluster: ClusterId, protocols: Protocols) -> Result<u16, PeerRefusal> {
        if self.cluster != cluster {
            return Err(PeerRefusal::ForeignCluster);
        }
        if self.to != own {
            return Err(PeerRefusal::WrongNode);
        }
        if self.from.node == own {
            return Err(PeerRefusal::SameName);
        }
        if !self.protocols.overlaps(protocols) {
            return Err(PeerRefusal::NoCommonVersion);
        }
        Ok(self.protocols.highest.min(protocols.highest))
    }
}

impl Answer {
    /// `"QRTA"` · length (2) · code (1) · version (2) · introduction (40) · crc32 (4), as in a hello. The code is 0 for
    /// welcome, else that of a refusal; then all else is zero, lest a stranger learn anything.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        match self {
            Self::Welcome { version, from } => {
                body.push(0);
                body.extend_from_slice(&version.to_le_bytes());
                from.put(&mut body);
            }
            Self::Refused(refusal) => {
                body.push(refusal.code());
                body.resize(1 + 2 + INTRODUCTION, 0);
            }
        }
        framed(ANSWER, &body)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = body(ANSWER, bytes)?;
        match reader.byte()? {
            0 => Ok(Self::Welcome { version: number(&mut reader)?, from: Introduction::read(&mut reader)? }),
            code => Ok(Self::Refused(PeerRefusal::of(code))),
        }
    }
}

impl Introduction {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.start.0.to_le_bytes());
        out.extend_from_slice(&self.store.0.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            node: NodeId(u64::from_le_bytes(reader.array()?)),
            incarnation: u64::from_le_bytes(reader.array()?),
            start: Start(u64::from_le_bytes(reader.array()?)),
            store: StoreId(u128::from_le_bytes(reader.array()?)),
        })
    }
}

/// How many bytes follow this head of a hello or an answer; `None` if it is none.
pub(super) fn length(head: [u8; HEAD]) -> Option<usize> {
    let [a, b, c, d, low, high] = head;
    let length = usize::from(u16::from_le_bytes([low, high]));
    ([HELLO, ANSWER].contains(&[a, b, c, d]) && length <= LONGEST).then_some(length)
}

fn framed(magic: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + body.len() + 4);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&(body.len() as u16 + 4).to_le_bytes());
    out.extend_from_slice(body);
    put_checksum(&[], &mut out, 0);
    out
}

fn body(magic: [u8; 4], bytes: &[u8]) -> Result<Reader<'_>, FormatError> {
    let mut reader = Reader::new(checked(&[], bytes)?);
    if reader.array()? != magic {
        return Err(FormatError::Content("another magic"));
    }
    reader.take(HEAD - magic.len())?;
    Ok(reader)
}

fn number(reader: &mut Reader<'_>) -> Result<u16, FormatError> {
    Ok(u16::from_le_bytes(reader.array()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(2);
    const CLUSTER: ClusterId = ClusterId(0x0102);
    const SPOKEN: Protocols = Protocols { lowest: 2, highest: 4 };

    fn hello() -> Hello {
        let from = Introduction { node: NodeId(3), incarnation: 9, start: Start(7), store: StoreId(8) };
        Hello { protocols: Protocols { lowest: 1, highest: 3 }, cluster: CLUSTER, from, to: OWN }
    }

    #[test]
    fn golden_bytes() {
        let mut expected = b"QRTH\x48\x00\x01\x00\x03\x00\x02\x01".to_vec();
        expected.extend([0; 14]);
        for number in [2, 3, 9, 7, 8, 0_u64] {
            expected.extend(number.to_le_bytes());
        }
        put_checksum(&[], &mut expected, 0);
        assert_eq!(hello().to_bytes(), expected);
        let mut expected = b"QRTA\x2f\x00\x00\x03\x00".to_vec();
        for number in [3, 9, 7, 8, 0_u64] {
            expected.extend(number.to_le_bytes());
        }
        put_checksum(&[], &mut expected, 0);
        assert_eq!(Answer::Welcome { version: 3, from: hello().from }.to_bytes(), expected);
        let mut expected = b"QRTA\x2f\x00\x02".to_vec();
        expected.extend([0; 42]);
        put_checksum(&[], &mut expected, 0);
        assert_eq!(Answer::Refused(PeerRefusal::WrongNode).to_bytes(), expected);
    }

    #[test]
    fn both_come_back_and_anything_else_does_not() {
        let bytes = hello().to_bytes();
        assert_eq!(Hello::from_bytes(&bytes), Ok(hello()));
        assert_eq!(length(bytes[..HEAD].try_into().unwrap()), Some(bytes.len() - HEAD));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(Hello::from_bytes(&other).is_err(), "byte {at}");
            assert!(Hello::from_bytes(&bytes[..at]).is_err());
        }
        let turned = Protocols { lowest: 3, highest: 1 };
        assert!(Hello::from_bytes(&Hello { protocols: turned, ..hello() }.to_bytes()).is_err());
        for answer in PeerRefusal::ALL.map(Answer::Refused) {
            let bytes = answer.to_bytes();
            assert_eq!(Answer::from_bytes(&bytes), Ok(answer));
            assert!(Hello::from_bytes(&bytes).is_err());
        }
        assert_eq!(length(*b"QRTH\x01\x02"), None, "513 bytes are too many");
        assert_eq!(length(*b"GET / "), None);
        assert_eq!(PeerRefusal::of(200), PeerRefusal::Malformed);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let bytes = hello().to_bytes();
        let mut longer = bytes[HEAD..bytes.len() - 4].to_vec();
        longer.extend(b"more");
        assert_eq!(Hello::from_bytes(&framed(HELLO, &longer)), Ok(hello()));
    }

    #[test]
    fn the_highest_common_version_is_spoken_and_all_else_has_its_reason() {
        let judge = |hello: Hello| hello.judge(OWN, CLUSTER, SPOKEN);
        assert_eq!(judge(hello()), Ok(3));
        let speaks = |lowest, highest| Hello { protocols: Protocols { lowest, highest }, ..hello() };
        assert_eq!(judge(speaks(4, 9)), Ok(4));
        assert_eq!(judge(speaks(5, 9)), Err(PeerRefusal::NoCommonVersion));
        assert_eq!(judge(speaks(1, 1)), Err(PeerRefusal::NoCommonVersion));
        assert_eq!(judge(Hello { cluster: ClusterId(1), ..hello() }), Err(PeerRefusal::ForeignCluster));
        assert_eq!(judge(Hello { to: NodeId(5), ..hello() }), Err(PeerRefusal::WrongNode));
        let twin = Introduction { node: OWN, ..hello().from };
        assert_eq!(judge(Hello { from: twin, ..hello() }), Err(PeerRefusal::SameName));
    }
}
