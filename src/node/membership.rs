//! Gossip within a node: when it speaks, what it makes of what it hears, and what an operator is told of it.
//!
//! ```text
//! A -> B   Gossip           every round; answered unless both know the same
//! B -> A   LayoutWanted     for each layout that A has and B lacks; asked again when it is lost
//! A -> B   LayoutGiven      now B has it too, and tells of it in its next rounds
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::contents::Contents;
use super::control::Control;
use super::kept::Kept;
use super::shared::Shared;
use super::{Event, Node, Output};
use crate::config::ConfigError;
use crate::error::OpenError;
use crate::gossip::{Gossiper, Introduction, OwnNews};
use crate::ids::{LayoutId, NodeId, StoreId};
use crate::members::{Gossip, Introduce, Layouts, MemberRecord, Membership, NotYounger, Phase, Presence};
use crate::message::{Message, PROTOCOLS};
use crate::ring::{Change, Layout};
use crate::storage::Storage;
use crate::time::{Now, Time, micros};

/// What the control part knows of the cluster.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) node: NodeId,
    /// None: the membership is the host's.
    pub(super) gossip: Option<Gossiping>,
    /// Where there is no gossip: which layouts there are.
    fixed: Layouts,
    pub(super) contents: Contents,
    /// Layouts that are news to the node, and those of them that are decided: each in order.
    learned: VecDeque<Arc<Layout>>,
    decided: VecDeque<LayoutId>,
    pub(super) kept: Kept,
}

/// The node's part in the gossip.
#[derive(Debug)]
pub(super) struct Gossiping {
    pub(super) gossiper: Gossiper,
    pub(super) introduce: Introduce,
    pub(super) every: Duration,
    /// When the next round is due; none if never.
    due: Option<Time>,
    /// Layouts are told in every round: so many of the next follow faster, since there is a new one.
    fresh: u8,
    /// How far the others had come in their lives when the operator was told last.
    told: BTreeMap<NodeId, (u64, Phase)>,
    /// Who speaks no version of the protocol that this node speaks.
    foreign: BTreeSet<NodeId>,
    /// What may be committed, and since when it is the same.
    pub(super) staged: Option<(Change, Time)>,
}

/// While there is news rounds follow each other so many times faster.
const FASTER: u32 = 4;
/// So many rounds are faster after a layout was learned of or decided.
const FRESH: u8 = 3;

impl Members {
    pub(super) fn open<S: Storage>(
        shared: &Shared,
        introduce: Option<Introduce>,
        storage: &S,
        store: StoreId,
        seed: u64,
        now: Time,
    ) -> Result<Self, OpenError> {
        let (layout, node) = (&shared.layout, shared.node);
        let mut kept = Kept::load(storage, shared.identity.cluster, layout)?;
        let mut contents = Contents::open(Arc::clone(layout), shared.timing.suspect);
        let mut layouts = Layouts::founded(layout.id());
        let known = std::mem::take(&mut kept.layouts);
        // A layout of which only the name was kept is heard of again.
        if let Some(decided) = kept.membership.as_ref().map(|kept| kept.layouts().decided())
            && known.iter().any(|layout| layout.id() == decided)
        {
            layouts.decide(decided);
        }
        for layout in &known {
            let _ = layouts.propose(layout.id(), layout.parent());
        }
        let mut learned = VecDeque::new();
        for layout in known.into_iter().filter(|layout| layouts.knows(layout.id()) && layout.id() != shared.layout.id())
        {
            contents.put(Arc::clone(&layout));
            learned.push_back(layout);
        }
        let decided = Some(layouts.decided()).filter(|&decided| decided != layout.id()).into_iter().collect();
        let gossip = match introduce {
            None => None,
            Some(mut introduce) => {
                if shared.client {
                    introduce.weight = 0;
                }
                let mut membership = Membership::founding(shared.identity.cluster, layouts.clone());
                let records = kept.membership.iter().flat_map(Membership::records);
                let taken = records.map(|record| membership.take(record)).collect::<Result<Vec<_>, _>>();
                let introduction = Introduction {
                    node,
                    zone: introduce.zone,
                    weight: introduce.weight,
                    presence: Presence {
                        ordinal: 1,
                        start: shared.actor.start,
                        store,
                        protocols: PROTOCOLS,
                        address: introduce.address.clone(),
                    },
                    seeds: introduce.seeds.clone(),
                };
                let seed = seed.rotate_left(32);
                let gossiper = taken.and_then(|_| Gossiper::open(membership, introduction, seed));
                let gossiper = gossiper.map_err(|error| ConfigError::Membership(error.to_string()))?;
                kept.is_due = true;
                Some(Gossiping::open(gossiper, introduce, shared.timing.gossip, now))
            }
        };
        kept.membership = None;
        let mut own = Self { node, gossip, fixed: layouts, contents, learned, decided, kept };
        own.serves();
        Ok(own)
    }

    pub(super) const fn layouts(&self) -> &Layouts {
        match &self.gossip {
            Some(gossip) => gossip.gossiper.membership().layouts(),
            None => &self.fixed,
        }
    }

    /// Takes in a layout whose content is at hand and fits.
    pub(super) fn propose(&mut self, layout: &Layout) -> Result<bool, NotYounger> {
        match &mut self.gossip {
            Some(gossip) => gossip.gossiper.propose(layout.id(), layout.parent()),
            None => self.fixed.propose(layout.id(), layout.parent()),
        }
    }

    pub(super) fn decide(&mut self, id: LayoutId) -> bool {
        match &mut self.gossip {
            Some(gossip) => gossip.gossiper.decide(id),
            None => self.fixed.decide(id),
        }
    }

    pub(super) fn learn(&mut self, layout: Arc<Layout>) {
        self.learned.push_back(layout);
        self.layouts_changed();
    }

    /// What is decided may have risen: tells the node, and lets go what it supersedes.
    pub(super) fn rise_from(&mut self, before: LayoutId) {
        let decided = self.layouts().decided();
        if decided > before {
            self.decided.push_back(decided);
            self.layouts_changed();
            self.serves();
        }
    }

    fn layouts_changed(&mut self) {
        let layouts = match &self.gossip {
            Some(gossip) => gossip.gossiper.membership().layouts(),
            None => &self.fixed,
        };
        self.contents.keep(|id| layouts.knows(id));
        self.kept.is_due = true;
        if let Some(gossip) = &mut self.gossip {
            gossip.fresh = FRESH;
        }
    }

    /// A node that a decided layout names is a member like the others; it says so itself.
    fn serves(&mut self) {
        let named = self.contents.get(self.layouts().decided()).is_some_and(|it| it.index_of(self.node).is_some());
        let Some(gossip) = self.gossip.as_mut().filter(|_| named) else { return };
        let own = gossip.gossiper.membership().record(self.node).filter(|own| own.phase() == Phase::Joining);
        if let Some(active) = own.and_then(|own| own.advanced(Phase::Active).ok()) {
            let _ = gossip.gossiper.take(&active);
        }
    }
}

impl Gossiping {
    fn open(gossiper: Gossiper, introduce: Introduce, every: Duration, now: Time) -> Self {
        let due = Some(now).filter(|_| every < Duration::MAX);
        let (told, foreign) = (BTreeMap::new(), BTreeSet::new());
        let mut own = Self { gossiper, introduce, every, due, fresh: 0, told, foreign, staged: None };
        let known: Vec<NodeId> = own.gossiper.membership().records().map(MemberRecord::node).collect();
        // Of what was known before the operator has been told.
        known.into_iter().for_each(|node| _ = own.look_at(node));
        own
    }

    /// Until the next round: jittered, lest nodes that started together speak together for ever.
    fn pause(&self, news: bool, rng: &mut Xoshiro256PlusPlus) -> Duration {
        let pause = if news { self.every / FASTER } else { self.every };
        pause + Duration::from_micros(rng.random_range(0..=micros(pause) / 4))
    }

    /// What there is to say of a node of which more is known.
    fn look_at(&mut self, node: NodeId) -> [Option<Event>; 2] {
        let Some(record) = self.gossiper.membership().record(node) else { return [None, None] };
        let (now, before) = ((record.incarnation(), record.phase()), self.told.get(&node).copied());
        let protocols = record.presence().map(|presence| presence.protocols);
        let differs = protocols.is_some_and(|protocols| !protocols.overlaps(PROTOCOLS));
        self.told.insert(node, now);
        let further = before.is_none_or(|before| now > before);
        let is_new = before.is_none_or(|before| now.0 > before.0);
        let life = match now.1 {
            Phase::Removed if further => Some(Event::Removed(node)),
            Phase::Leaving if further => Some(Event::Leaving(node)),
            Phase::Joining | Phase::Active if is_new && !record.is_client() => Some(Event::Joined(node)),
            _ => None,
        };
        let news = if differs { self.foreign.insert(node) } else { self.foreign.remove(&node) };
        [life, Some(Event::ProtocolDiffers(node)).filter(|_| differs && news)]
    }
}

impl Control {
    pub(super) fn is_foreign(&self, node: NodeId) -> bool {
        self.members.gossip.as_ref().is_some_and(|gossip| !gossip.foreign.is_empty() && gossip.foreign.contains(&node))
    }

    /// When [`Control::tend_membership`] has something to do.
    pub(super) fn membership_deadline(&self) -> Option<Time> {
        let round = self.members.gossip.as_ref().and_then(|gossip| gossip.due);
        round.into_iter().chain(self.members.contents.deadline()).min()
    }

    /// Opens the round that is due, and asks again for layouts that didn't come.
    pub(super) fn tend_membership(&mut self, now: Time, out: &mut impl FnMut(Output)) {
        if self.members.gossip.as_ref().is_some_and(|gossip| gossip.due.is_some_and(|due| due <= now)) {
            self.round(now, out);
            self.members.kept.try_again();
            self.commit_by_itself(now);
        }
        self.members.contents.ask_again(now, out);
    }

    fn round(&mut self, now: Time, out: &mut impl FnMut(Output)) {
        let Some(gossip) = &mut self.members.gossip else { return };
        let suspects = &self.probes;
        let round = gossip.gossiper.round(|node| suspects.contains_key(&node));
        let news = gossip.gossiper.has_news() || gossip.fresh > 0;
        gossip.fresh = gossip.fresh.saturating_sub(1);
        // Who knows nobody has nobody to tell.
        gossip.due = Some(now + gossip.pause(news && round.is_some(), &mut self.rng));
        if let Some((to, said)) = round {
            out(Output::Send(to, Message::Gossip(said)));
        }
    }

    /// There is something to tell: the next round comes soon.
    pub(super) fn quicken(&mut self, now: Time) {
        if let Some(gossip) = &mut self.members.gossip
            && let Some(due) = gossip.due
        {
            gossip.due = Some(due.min(now + gossip.pause(true, &mut self.rng)));
        }
    }

    /// Takes in what another node says of the membership.
    pub(super) fn hear(&mut self, from: NodeId, said: &Gossip, now: Time, out: &mut impl FnMut(Output)) {
        let before = self.members.layouts().decided();
        let Some(gossip) = &mut self.members.gossip else { return };
        let heard = gossip.gossiper.hear(said);
        if let Some(reply) = heard.reply {
            out(Output::Send(from, Message::Gossip(reply)));
        }
        if let Some(OwnNews::Doubled(start)) = heard.own {
            out(Output::Event(Event::Doubled(start)));
        }
        self.changed(&heard.changed, now, out);
        self.members.rise_from(before);
        for id in heard.wanted {
            self.want(id, from, now, out);
        }
    }

    /// More is known of these nodes.
    pub(super) fn changed(&mut self, nodes: &[NodeId], now: Time, out: &mut impl FnMut(Output)) {
        let Some(gossip) = self.members.gossip.as_mut().filter(|_| !nodes.is_empty()) else { return };
        for &node in nodes {
            let events = gossip.look_at(node);
            events.into_iter().flatten().for_each(|event| out(Output::Event(event)));
        }
        self.members.kept.is_due = true;
        self.quicken(now);
    }
}

/// What the membership means to the rest of the node.
impl<S: Storage> Node<S> {
    /// What any node may say, member of the layout or not.
    pub(super) fn of_anybody(&mut self, now: Now, from: NodeId, message: Message) {
        // A fenced node serves nothing any more: to say "I am here" would keep its peers asking it for ever.
        if self.is_fenced() {
            return;
        }
        let out = &mut self.membership_out;
        let out = &mut |output| out.push_back(output);
        match message {
            Message::Probe(probe) => self.control_out.push(Output::Send(from, Message::ProbeReply(probe))),
            Message::Gossip(said) => self.control.hear(from, &said, now.time, out),
            Message::LayoutWanted(id) => {
                // A rival of what is decided may count in some partition still.
                let counts = self.shards.iter().find_map(|shard| shard.topology.layout_by_id(id));
                self.control.give(id, counts, from, out);
            }
            Message::LayoutGiven(layout) => {
                let counts = self.control.given(Arc::clone(&layout), now.time);
                if counts {
                    self.teach(&layout);
                }
            }
            _ => {}
        }
    }

    /// After each step: opens what is due, and hands on what has changed.
    pub(super) fn tend_membership(&mut self) {
        if self.control.membership_deadline().is_some_and(|due| due <= self.now.time) && !self.is_fenced() {
            let out = &mut self.membership_out;
            self.control.tend_membership(self.now.time, &mut |output| out.push_back(output));
        }
        self.hand_on_membership();
    }

    /// What is known now goes to the data, and to the disk.
    pub(super) fn hand_on_membership(&mut self) {
        while let Some(layout) = self.control.members.learned.pop_front() {
            self.learned(layout);
        }
        while let Some(id) = self.control.members.decided.pop_front() {
            self.decided(id);
        }
        if self.control.members.kept.is_due && !self.is_fenced() {
            self.keep_membership();
        }
    }

    /// There is a layout that this node didn't know. It fits the cluster, and is not decided unless
    /// [`Node::decided`] follows.
    fn learned(&mut self, layout: Arc<Layout>) {
        self.membership_out.push_back(Output::Event(Event::Proposed(layout.id())));
        self.teach(&layout);
    }

    /// The data part goes by this layout from now on, if it is the latest.
    pub(super) fn teach(&mut self, layout: &Arc<Layout>) {
        for shard in &mut self.shards {
            shard.learn_layout(self.now, layout);
        }
        self.watch_change();
        self.exchange_notices();
    }

    /// A layout is decided cluster-wide. It was learned of before.
    fn decided(&mut self, id: LayoutId) {
        self.membership_out.push_back(Output::Event(Event::Decided(id)));
        for shard in &mut self.shards {
            shard.settled(self.now, id);
        }
        self.exchange_notices();
    }
}
