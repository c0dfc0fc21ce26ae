//! Taking in what another member says.

use super::{BTreeSet, Gossip, Gossiper, Known, LayoutId, MemberRecord, NodeId, Phase, Start};
use crate::members::{Difference, Said};

/// What came of a message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// What to send back.
    pub reply: Option<Gossip>,
    /// The nodes of which more is known now. The membership is to be stored when there are any, or a layout was
    /// decided; what is lost of it in a crash is heard again.
    pub changed: Vec<NodeId>,
    /// The layout that is known to be decided now, if that is news.
    pub decided: Option<LayoutId>,
    /// Layouts that the sender has: they are to be fetched from it, checked, and given to [`Gossiper::propose`].
    pub wanted: Vec<LayoutId>,
    /// News of this node itself.
    pub own: Option<OwnNews>,
    /// A node that there was no room for: the bound of [`crate::members::Membership::NODES_MAX`] was reached.
    pub no_room_for: Option<NodeId>,
}

/// What a node heard of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OwnNews {
    /// It was removed. It should take no more requests; [`Gossiper::rejoin`] is the way back.
    Removed,
    /// An account of another start, or of a store that was lost, was going about: it was answered with the present one.
    Refuted,
    /// Another start says that it is this node, and goes on saying so: a copied disk, or a name that was given twice.
    /// Nothing was answered, or the two would outbid each other for ever; the operator must stop one of them.
    Doubled(Start),
}

impl Gossiper {
    /// Takes in what another member says.
    pub fn hear(&mut self, gossip: &Gossip) -> Heard {
        let Said { records, wanted, known, left, .. } = &gossip.0;
        let mut heard = Heard::default();
        let mut difference = Difference::default();
        let told: BTreeSet<NodeId> = records.iter().map(MemberRecord::node).collect();
        self.hear_records(records, &mut heard, &mut difference);
        let layouts_behind = self.hear_layouts(&gossip.0, &mut heard);
        let Some(left) = left.checked_sub(1) else { return heard };

        let mut news = Vec::new();
        if let [Known::All(digest)] = known[..] {
            if digest == self.membership.digest() {
                self.news_is_known();
            } else if left == Gossip::STEPS - 1 {
                // Whoever opens a round may lack nothing but the news: that is cheaper than to look for what differs.
                news = self.news(&told);
            }
        }
        if news.is_empty() {
            known.iter().for_each(|known| self.membership.compare(known, &mut difference));
        } else {
            difference.ranges.push(Known::All(self.membership.digest()));
        }
        let tell: BTreeSet<NodeId> = difference.to_tell.into_iter().chain(wanted.iter().copied()).collect();
        news.retain(|record| !tell.contains(&record.node()));
        news.extend(tell.iter().filter_map(|&node| self.membership.record(node).cloned()));
        news.truncate(Gossip::RECORDS_MAX);
        difference.to_ask.truncate(Gossip::RECORDS_MAX);
        difference.ranges.truncate(Gossip::RANGES_MAX);
        let nothing = news.is_empty() && difference.to_ask.is_empty() && difference.ranges.is_empty();
        if !nothing || layouts_behind {
            heard.reply = Some(self.compose(news, difference.to_ask, difference.ranges, left));
        }
        heard
    }

    fn hear_records(&mut self, records: &[MemberRecord], heard: &mut Heard, difference: &mut Difference) {
        let taken = self.membership.take_all(records);
        heard.changed = taken.grown;
        heard.no_room_for = taken.no_room_for;
        difference.to_tell = taken.sender_behind;
        if heard.changed.len() <= Self::NEWS {
            heard.changed.iter().for_each(|&node| self.is_news(node));
        }
        if heard.changed.contains(&self.node) {
            heard.own = self.hear_of_self();
            if heard.own == Some(OwnNews::Refuted) {
                difference.to_tell.push(self.node);
            }
        }
    }

    /// The own record has grown by what others say.
    fn hear_of_self(&mut self) -> Option<OwnNews> {
        let record = self.membership.record(self.node)?;
        if record.phase() == Phase::Removed {
            return Some(OwnNews::Removed);
        }
        let heard = record.presence()?;
        let start = heard.start;
        // Another phase or place is no news of the node's own.
        if Self::same_but_ordinal(heard, &self.presence) {
            return None;
        }
        let answered = self.refuted.iter().find(|&&(other, _)| other == start).map_or(0, |&(_, times)| times);
        if answered == Self::REFUTATIONS {
            return Some(OwnNews::Doubled(start));
        }
        let Ok(refuting) = record.started(self.presence.clone()) else { return Some(OwnNews::Doubled(start)) };
        self.refuted.retain(|&(other, _)| other != start);
        self.refuted.push_back((start, answered + 1));
        if self.refuted.len() > Self::REFUTED_MAX {
            self.refuted.pop_front();
        }
        self.take(&refuting).expect("a node that is known needs no room");
        Some(OwnNews::Refuted)
    }

    fn same_but_ordinal(heard: &crate::members::Presence, own: &crate::members::Presence) -> bool {
        (heard.start, heard.store, heard.protocols, &heard.address)
            == (own.start, own.store, own.protocols, &own.address)
    }

    /// True if the sender knows less of the layouts.
    fn hear_layouts(&mut self, said: &Said, heard: &mut Heard) -> bool {
        let own = self.membership.layouts();
        let behind = said.decided < own.decided()
            || own.proposed().any(|(id, _)| id > said.decided && !said.proposed.contains(&id));
        let lacking = |&id: &LayoutId| id > own.decided() && !own.knows(id);
        heard.wanted = said.proposed.iter().copied().chain([said.decided]).filter(lacking).collect();
        heard.wanted.sort_unstable();
        heard.wanted.dedup();
        if said.decided > own.decided() {
            if own.knows(said.decided) {
                self.decide(said.decided);
                heard.decided = Some(said.decided);
            } else {
                // The latest, not the highest: one that doesn't exist shall not stand in the way of those that do.
                self.awaited = Some(said.decided);
            }
        }
        behind
    }
}
