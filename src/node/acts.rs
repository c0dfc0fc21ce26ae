//! What an operator does to the membership and the layout.

use std::sync::Arc;

use super::control::Control;
use super::topology::FOUNDED;
use super::{Node, Output};
use crate::ids::{LayoutId, NodeId, ZoneId};
use crate::members::{ActError, MemberRecord, Membership, MembershipError, Phase, RecordError};
use crate::message::PROTOCOLS;
use crate::ring::{Change, Layout, Member, Plan, PlanError, plan_change};
use crate::storage::Storage;
use crate::time::Time;

/// Where changes are committed without an operator, they must have been the same for so many rounds of gossip.
const CALM: u32 = 5;

/// Acts, for the operator. What they change others hear by gossip.
impl<S: Storage> Node<S> {
    /// Who belongs to the cluster, as far as this node knows; `None` if it takes no part in gossip.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.control.members.gossip.as_ref().map(|gossip| gossip.gossiper.membership())
    }

    /// The highest version of the protocol that all members speak that aren't removed; `None` if there is none, or this
    /// node takes no part in gossip.
    #[must_use]
    pub fn spoken_by_all(&self) -> Option<u16> {
        self.membership()?.spoken_by_all()
    }

    /// Lets a member go: the next layout shall not name it. It serves until one without it is decided.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn leave(&mut self, node: NodeId) -> Result<(), ActError> {
        self.act(node, |record| record.advanced(Phase::Leaving))
    }

    /// Removes a member: it is gone, and comes back by [`Node::rejoin`] alone. What it owns stays with it until a layout
    /// without it is decided.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn remove(&mut self, node: NodeId) -> Result<(), ActError> {
        self.act(node, |record| record.advanced(Phase::Removed))
    }

    /// Gives a member another zone and weight, at least 1, for the next layout.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn seat(&mut self, node: NodeId, zone: ZoneId, weight: u32) -> Result<(), ActError> {
        self.act(node, |record| record.seated(zone, weight))
    }

    /// This node, having been removed, joins again as one that is new, with the zone and weight that it was opened with.
    ///
    /// # Errors
    /// [`ActError`] if it isn't removed; nothing was changed.
    pub fn rejoin(&mut self) -> Result<(), ActError> {
        self.on_control(|control, now, out| control.rejoin(now, out))
    }

    /// The change that the membership asks for: members that the layout doesn't name join, those that leave or are
    /// removed go, and those that were seated elsewhere are moved. `None` if there is nothing to do.
    ///
    /// It is made to the highest layout that is known, be it decided or not: what that brings isn't asked for twice.
    #[must_use]
    pub fn staged(&self) -> Option<Change> {
        self.control.staged()
    }

    /// What a change would do to the highest layout that is known. Nothing is changed.
    ///
    /// # Errors
    /// [`PlanError`] if it can't be made.
    pub fn preview(&self, change: &Change) -> Result<Plan, PlanError> {
        plan_change(self.control.present(), change)
    }

    /// Commits a plan: its layout is proposed here, and told to all. It is decided when the data has moved.
    ///
    /// # Errors
    /// [`ActError::Stale`] if the planner doesn't give this plan any more, [`ActError::Unfinished`] if another change is
    /// on its way that this one has no reason to supersede; nothing was changed.
    pub fn commit_plan(&mut self, plan: &Plan) -> Result<LayoutId, ActError> {
        if !self.shared.elastic {
            return Err(ActError::Fixed);
        }
        self.on_control(|control, now, _| control.commit_plan(plan, now))
    }

    /// Proposes a layout that the host hands in, gossip or not. One that is known already changes nothing.
    ///
    /// # Errors
    /// [`ActError`] if it has another number of copies or partitions, or is superseded; nothing was changed.
    pub fn propose(&mut self, layout: Arc<Layout>) -> Result<(), ActError> {
        if !self.shared.elastic {
            return Err(ActError::Fixed);
        }
        self.on_control(|control, now, _| control.take_layout(layout, now))
    }

    fn act(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&MemberRecord) -> Result<MemberRecord, RecordError>,
    ) -> Result<(), ActError> {
        self.on_control(|control, now, out| control.act(node, act, now, out))
    }

    fn on_control<T>(
        &mut self,
        act: impl FnOnce(&mut Control, Time, &mut dyn FnMut(Output)) -> Result<T, ActError>,
    ) -> Result<T, ActError> {
        if self.is_fenced() {
            return Err(ActError::Stopped);
        }
        let out = &mut self.membership_out;
        let done = act(&mut self.control, self.now.time, &mut |output| out.push_back(output));
        self.hand_on_membership();
        done
    }
}

impl Control {
    fn act(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&MemberRecord) -> Result<MemberRecord, RecordError>,
        now: Time,
        mut out: &mut dyn FnMut(Output),
    ) -> Result<(), ActError> {
        let gossip = self.members.gossip.as_mut().ok_or(ActError::NoGossip)?;
        let record = act(gossip.gossiper.membership().record(node).ok_or(ActError::Unknown(node))?)?;
        match gossip.gossiper.take(&record) {
            Ok(joined) if joined.grew => self.changed(&[node], now, &mut out),
            Ok(_) => {}
            Err(MembershipError::Record(error)) => return Err(error.into()),
            Err(_) => return Err(ActError::Unknown(node)),
        }
        Ok(())
    }

    fn rejoin(&mut self, now: Time, mut out: &mut dyn FnMut(Output)) -> Result<(), ActError> {
        let node = self.members.node;
        let gossip = self.members.gossip.as_mut().ok_or(ActError::NoGossip)?;
        gossip.gossiper.rejoin(gossip.introduce.zone, gossip.introduce.weight)?;
        self.changed(&[node], now, &mut out);
        Ok(())
    }

    /// The layout that a change is made to.
    fn present(&self) -> &Arc<Layout> {
        let members = &self.members;
        members.contents.get(members.layouts().highest()).unwrap_or(members.contents.first())
    }

    fn staged(&self) -> Option<Change> {
        let (present, gossip) = (self.present(), self.members.gossip.as_ref()?);
        let mut change = Change::of(present);
        let mut any = false;
        for record in gossip.gossiper.membership().records().filter(|record| !record.is_client()) {
            let named = present.index_of(record.node()).map(|at| present.members()[at]);
            let goes = record.phase() >= Phase::Leaving;
            let wanted = record.seat().zip(record.presence()).filter(|_| !goes);
            change = match (named, wanted) {
                (Some(_), None) => change.leave(record.node()),
                // Data would not be taken from it, nor given to it.
                (None, Some((seat, presence))) if presence.protocols.overlaps(PROTOCOLS) => {
                    let store = Some(presence.store).filter(|store| *store != FOUNDED);
                    change.join(Member { node: record.node(), zone: seat.zone, weight: seat.weight, store })
                }
                // Its disk was replaced: the store that the layout names will not come back.
                (Some(named), Some((_, presence))) if named.store.unwrap_or(FOUNDED) != presence.store => {
                    change.renew(named.node, presence.store)
                }
                // What a node said of itself when it came doesn't stand against the layout; an operator's word does.
                (Some(named), Some((seat, _)))
                    if seat.revision > 0 && (seat.zone, seat.weight) != (named.zone, named.weight) =>
                {
                    change.adjust(named.zone(seat.zone).weight(seat.weight))
                }
                _ => continue,
            };
            any = true;
        }
        any.then_some(change)
    }

    fn commit_plan(&mut self, plan: &Plan, now: Time) -> Result<LayoutId, ActError> {
        plan.check(self.present(), plan.change())?;
        let layouts = self.members.layouts();
        if layouts.highest() != layouts.decided() && !plan.may_supersede() {
            return Err(ActError::Unfinished(layouts.highest()));
        }
        self.take_layout(Arc::new(plan.layout.clone()), now)?;
        Ok(plan.id())
    }

    /// Commits what the membership asks for, where that was left to the node and it is its turn.
    pub(super) fn commit_by_itself(&mut self, now: Time) {
        let Some(gossip) = self.members.gossip.as_ref().filter(|gossip| gossip.introduce.automatic) else { return };
        let calm = gossip.every * CALM;
        let before = gossip.staged.clone();
        let staged = self.staged().filter(|_| self.is_first());
        let since = match (&staged, before) {
            (Some(change), Some((before, since))) if *change == before => since,
            _ => now,
        };
        let layouts = self.members.layouts();
        let is_free = layouts.highest() == layouts.decided();
        let due = staged.as_ref().filter(|_| is_free && now.since(since) >= calm);
        let plan = due.and_then(|change| plan_change(self.present(), change).ok()).filter(|plan| !plan.is_empty());
        // What can't be planned is looked at again when it has been calm for as long once more.
        let since = if due.is_some() { now } else { since };
        if let Some(plan) = plan {
            let _ = self.commit_plan(&plan, now);
        }
        if let Some(gossip) = &mut self.members.gossip {
            gossip.staged = staged.map(|change| (change, since));
        }
    }

    /// Whether it is this node's turn: the first by name of the layout's members that are there.
    fn is_first(&self) -> bool {
        let Some(gossip) = &self.members.gossip else { return false };
        let serves = |node: &NodeId| {
            let record = gossip.gossiper.membership().record(*node);
            !self.probes.contains_key(node) && record.is_some_and(|record| record.phase() != Phase::Removed)
        };
        let mut members = self.present().members().iter().map(|member| member.node);
        members.find(serves) == Some(self.members.node)
    }
}
