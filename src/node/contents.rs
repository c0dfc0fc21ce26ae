//! What layouts say: kept as long as they count, given to others, and fetched from them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Output;
use super::control::Control;
use crate::ids::{LayoutId, NodeId};
use crate::members::{ActError, Layouts};
use crate::message::Message;
use crate::ring::Layout;
use crate::time::Time;

/// The layouts whose content is at hand, and those that are being fetched.
#[derive(Debug)]
pub(super) struct Contents {
    /// What the node was opened with. The data may work by it for long after another is decided.
    first: Arc<Layout>,
    layouts: BTreeMap<LayoutId, Arc<Layout>>,
    wanted: BTreeMap<LayoutId, Wanted>,
    /// Layouts that came and are none of this cluster: they are not asked for again.
    refused: VecDeque<LayoutId>,
    refusals: u64,
    first_pause: Duration,
}

/// A layout that was asked for.
#[derive(Debug)]
struct Wanted {
    /// Who is said to have it. The first is asked next.
    sources: VecDeque<NodeId>,
    due: Time,
    pause: Duration,
    tries: u8,
}

/// So often a layout is asked for, less and less often. Whoever has it names it in every round, and it begins anew.
const TRIES: u8 = 5;
/// So many are remembered to have a layout.
const SOURCES: usize = 4;
/// So many are fetched at a time: as many as can be proposed, and the decided one.
const WANTED: usize = Layouts::PROPOSED_MAX + 1;
/// So many are remembered to be of no use.
const REFUSED: usize = 64;

impl Contents {
    pub(super) fn open(first: Arc<Layout>, first_pause: Duration) -> Self {
        let layouts = BTreeMap::from([(first.id(), Arc::clone(&first))]);
        let (wanted, refused) = (BTreeMap::new(), VecDeque::new());
        Self { first, layouts, wanted, refused, refusals: 0, first_pause }
    }

    pub(super) fn get(&self, id: LayoutId) -> Option<&Arc<Layout>> {
        self.layouts.get(&id)
    }

    pub(super) fn first(&self) -> &Arc<Layout> {
        &self.first
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Layout>> {
        self.layouts.values()
    }

    pub(super) fn put(&mut self, layout: Arc<Layout>) {
        self.wanted.remove(&layout.id());
        self.layouts.insert(layout.id(), layout);
    }

    /// Lets go the layouts that don't count any more.
    pub(super) fn keep(&mut self, counts: impl Fn(LayoutId) -> bool) {
        let first = self.first.id();
        self.layouts.retain(|&id, _| id == first || counts(id));
    }

    /// Whether it can be one of this cluster: copies and partitions never change.
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        (layout.n(), layout.partitions()) == (self.first.n(), self.first.partitions())
    }

    fn refuse(&mut self, id: LayoutId) {
        self.refusals += 1;
        self.wanted.remove(&id);
        if !self.refused.contains(&id) {
            self.refused.push_back(id);
        }
        if self.refused.len() > REFUSED {
            self.refused.pop_front();
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.wanted.values().map(|wanted| wanted.due).min()
    }

    /// Asks again for what didn't come.
    pub(super) fn ask_again(&mut self, now: Time, out: &mut impl FnMut(Output)) {
        self.wanted.retain(|_, wanted| wanted.due > now || wanted.tries < TRIES);
        for (&id, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| wanted.due <= now) {
            wanted.ask(id, now, out);
        }
    }
}

impl Wanted {
    fn ask(&mut self, id: LayoutId, now: Time, out: &mut impl FnMut(Output)) {
        if let Some(&source) = self.sources.front() {
            out(Output::Send(source, Message::LayoutWanted(id)));
        }
        // Another may be nearer, or alive.
        self.sources.rotate_left(1);
        self.due = now + self.pause;
        self.pause *= 2;
        self.tries += 1;
    }
}

impl Control {
    pub(super) const fn layouts_refused(&self) -> u64 {
        self.members.contents.refusals
    }

    /// A layout that is at hand.
    pub(super) fn layout(&self, id: LayoutId) -> Option<&Arc<Layout>> {
        self.members.contents.get(id)
    }

    /// Asks a node for a layout that it has, unless it is at hand. One question for a layout is open at a time.
    pub(super) fn want(&mut self, id: LayoutId, from: NodeId, now: Time, out: &mut impl FnMut(Output)) {
        let contents = &mut self.members.contents;
        if from == self.members.node || contents.layouts.contains_key(&id) || contents.refused.contains(&id) {
            return;
        }
        if let Some(wanted) = contents.wanted.get_mut(&id) {
            if wanted.sources.len() < SOURCES && !wanted.sources.contains(&from) {
                wanted.sources.push_front(from);
            }
            return;
        }
        if contents.wanted.len() == WANTED {
            // What doesn't exist shall not stand in the way of what does: the answer is taken all the same.
            let oldest = contents.wanted.iter().max_by_key(|(_, wanted)| wanted.tries).map(|(&id, _)| id);
            oldest.iter().for_each(|id| _ = contents.wanted.remove(id));
        }
        let sources = VecDeque::from([from]);
        let mut wanted = Wanted { sources, due: now, pause: contents.first_pause, tries: 0 };
        wanted.ask(id, now, out);
        contents.wanted.insert(id, wanted);
    }

    /// Answers a node that lacks a layout, if it is at hand.
    pub(super) fn give(&self, id: LayoutId, counts: Option<&Arc<Layout>>, to: NodeId, out: &mut impl FnMut(Output)) {
        if let Some(layout) = self.layout(id).or(counts) {
            out(Output::Send(to, Message::LayoutGiven(Arc::clone(layout))));
        }
    }

    /// A layout has come. Its name is the hash of its content, so it needn't have been asked for.
    ///
    /// True if it is none of those that the cluster is on its way to, but was asked for: it counts in some partition.
    pub(super) fn given(&mut self, layout: Arc<Layout>, now: Time) -> bool {
        let id = layout.id();
        let was_wanted = self.members.contents.wanted.contains_key(&id);
        match self.take_layout(layout, now) {
            Err(ActError::Shape(_) | ActError::NotYounger(_)) => {
                self.members.contents.refuse(id);
                false
            }
            taken => was_wanted && taken.is_err(),
        }
    }

    /// Takes in a layout: one that another node has, that was made here, or that the host hands in.
    pub(super) fn take_layout(&mut self, layout: Arc<Layout>, now: Time) -> Result<(), ActError> {
        let id = layout.id();
        self.members.contents.wanted.remove(&id);
        if !self.members.contents.fits(&layout) {
            return Err(ActError::Shape(id));
        }
        let before = self.members.layouts().decided();
        let known = self.members.layouts().knows(id);
        self.members.propose(&layout)?;
        if !known && self.members.layouts().knows(id) {
            self.members.contents.put(Arc::clone(&layout));
            self.members.learn(layout);
            self.quicken(now);
        }
        self.members.rise_from(before);
        if self.members.layouts().knows(id) { Ok(()) } else { Err(ActError::Superseded(id)) }
    }

    /// A layout is decided cluster-wide, as this node has found out itself. False if that is no news, or what it says
    /// is not at hand.
    pub(super) fn decide(&mut self, id: LayoutId, now: Time) -> bool {
        let before = self.members.layouts().decided();
        let news = self.members.contents.get(id).is_some() && self.members.decide(id);
        if news {
            self.members.rise_from(before);
            self.quicken(now);
        }
        news
    }
}
