//! What this program speaks, and what is taken from nodes that are no members.

use super::Message;
use crate::members::Protocols;

/// The versions of the protocol between nodes that this program speaks.
pub(crate) const PROTOCOLS: Protocols = Protocols { lowest: 1, highest: 1 };

impl Message {
    /// Whether a node may say it that is no member of the layout, as one that joins isn't, or that speaks another
    /// version of the protocol.
    pub(crate) const fn is_for_anybody(&self) -> bool {
        matches!(self, Self::Gossip(_) | Self::LayoutWanted(_) | Self::LayoutGiven(_) | Self::Probe(_))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::causality::{Identity, Secret};
    use crate::codec::Codec;
    use crate::error::DecodeError;
    use crate::ids::{ClusterId, LayoutId, NodeId};
    use crate::ring::{Member, plan_first};

    fn codec() -> Codec {
        Codec::new(Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) }, 1 << 20)
    }

    #[test]
    fn a_layout_travels_as_its_bytes_and_arrives_whole_or_not_at_all() {
        let members = [1, 2, 3].map(|node| Member::new(NodeId(node)));
        let layout = Arc::new(plan_first(&members, 3, 16).unwrap().layout);
        let message = Message::LayoutGiven(Arc::clone(&layout));
        let frame = codec().encode(NodeId(1), std::slice::from_ref(&message)).remove(0);
        assert_eq!(codec().decode(&frame).unwrap().1, [message]);
        let bytes = layout.encode();
        let start = frame.windows(bytes.len()).position(|part| part == bytes).expect("as it is");
        let mut damaged = frame[..frame.len() - 4].to_vec();
        damaged[start + 20] ^= 1;
        crate::wire::put_checksum(&[], &mut damaged, 0);
        assert!(matches!(codec().decode(&damaged), Err(DecodeError::Message(_))));
    }

    #[test]
    fn golden_bytes_of_a_question_for_a_layout() {
        let message = Message::LayoutWanted(LayoutId { version: 2, hash: 300 });
        let frame = codec().encode(NodeId(1), &[message]).remove(0);
        assert_eq!(frame[29..frame.len() - 4], [5, 21, 2, 251, 44, 1]);
    }

    #[test]
    fn who_is_no_member_is_not_listened_to_but_for_the_membership() {
        let id = LayoutId { version: 1, hash: 1 };
        assert!(Message::LayoutWanted(id).is_for_anybody());
        assert!(!Message::LayoutWanted(id).is_answer() && Message::LayoutWanted(id).asks().is_none());
    }
}
