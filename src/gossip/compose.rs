//! Putting messages together.

use super::{BTreeSet, Gossip, Gossiper, Known, MemberRecord, NodeId};
use crate::members::Said;

impl Gossiper {
    /// The first message of a round.
    pub(super) fn open_round(&mut self) -> Gossip {
        let records = self.news(&BTreeSet::new());
        let known = vec![Known::All(self.membership.digest())];
        self.compose(records, Vec::new(), known, Gossip::STEPS)
    }

    /// News to tell to somebody who knows of these already.
    pub(super) fn news(&mut self, known: &BTreeSet<NodeId>) -> Vec<MemberRecord> {
        let mut told = Vec::new();
        // The newest first: what is older has reached more.
        for (node, tellings) in self.news.iter_mut().rev() {
            if told.len() == Self::NEWS {
                break;
            }
            if !known.contains(node) {
                *tellings += 1;
                told.extend(self.membership.record(*node).cloned());
            }
        }
        self.news.retain(|&(_, tellings)| tellings < Self::TELLINGS);
        told
    }

    /// Another knows all of it: as good as a telling, and all that ends the news of a cluster that has just started.
    pub(super) fn news_is_known(&mut self) {
        self.news.iter_mut().for_each(|(_, tellings)| *tellings += 1);
        self.news.retain(|&(_, tellings)| tellings < Self::TELLINGS);
    }

    pub(super) fn compose(
        &self,
        records: Vec<MemberRecord>,
        wanted: Vec<NodeId>,
        known: Vec<Known>,
        left: u8,
    ) -> Gossip {
        let layouts = self.membership.layouts();
        let proposed = layouts.proposed().map(|(id, _)| id).collect();
        Gossip(Said { decided: layouts.decided(), proposed, records, wanted, known, left })
    }
}
