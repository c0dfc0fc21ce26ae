//! What befalls the cluster, one after the other, and what is written down meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::ids::LayoutId;
use quorate::ring::{Change, Plan, Share};
use quorate::status::Debt;
use quorate::{Keyspace, NodeId};

use super::clients::{ANSWERED, Clients, Load, Seen, VALUE, text};

/// How often is looked what has changed.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);
/// How long a node is away that crashes, or whose disk is replaced.
const AWAY: Duration = Duration::from_secs(4);
/// No change may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Nothing changes.
    Rest,
    /// These join, as one change. If there is one that crashes, it does so when half of the work is done, and comes back.
    Join {
        nodes: &'static [u64],
        crashes: Option<u64>,
    },
    Leave(&'static [u64]),
    /// A new node takes the place of another.
    Replace(u64, u64),
    /// A node goes away and comes back with an empty disk, for which a layout names it again.
    NewDisk(u64),
}

pub(crate) const SCRIPT: [Act; 13] = [
    Act::Rest,
    Act::Join { nodes: &[4, 5, 6], crashes: None },
    Act::Rest,
    Act::Join { nodes: &[7, 8, 9], crashes: Some(2) },
    Act::Rest,
    Act::NewDisk(5),
    Act::Rest,
    Act::Leave(&[1, 2, 3]),
    Act::Rest,
    Act::Replace(4, 10),
    Act::Rest,
    Act::Leave(&[5, 6]),
    Act::Rest,
];

/// A part of the run.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// What was handled by each node, and what was moved.
    pub(crate) handled: BTreeMap<NodeId, u64>,
    pub(crate) moved: Moved,
    /// How many running nodes held a key, of one key in each partition, when there were fewest.
    pub(crate) fewest_copies: usize,
    pub(crate) change: Option<Changed>,
}

/// A change of the layout.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) moves: usize,
    /// The least that must be copied: keys and values of all moves.
    pub(crate) least: u64,
    pub(crate) shares: Vec<Share>,
    /// From the proposal until every node says that it has changed; none if that never came.
    pub(crate) took: Option<Duration>,
    /// From the proposal until every owner also says that it has all that it is to have.
    pub(crate) filled: Option<Duration>,
}

/// What was sent to move and to repair data.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    /// In all: exchanges between owners, hints, repairs after reads, and what a change takes to be agreed upon.
    pub(crate) bytes: u64,
    /// Of these, exchanges; and what a change takes to be agreed upon.
    pub(crate) exchange_bytes: u64,
    pub(crate) change_bytes: u64,
    /// Records that came in exchanges, and how many of these changed anything.
    pub(crate) exchanged: u64,
    pub(crate) needed: u64,
}

/// What each node has handled by then, and what was moved.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    pub(crate) at: Duration,
    pub(crate) handled: BTreeMap<NodeId, u64>,
    pub(crate) moved: u64,
    fewest_copies: usize,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) phases: Vec<Phase>,
    pub(crate) glances: Vec<Glance>,
    /// What befell a node, and when.
    pub(crate) marks: Vec<(Duration, String)>,
    pub(crate) seen: Seen,
    /// Keys that the owners hold otherwise in the end. There must be none.
    pub(crate) differing: usize,
    /// Whether in the end nobody owes anything to anybody.
    pub(crate) healed: bool,
}

impl Phase {
    pub(crate) const fn seconds(&self) -> f64 {
        self.to.saturating_sub(self.from).as_secs_f64()
    }
}

impl Act {
    pub(crate) fn name(&self) -> String {
        let list = |nodes: &[u64]| nodes.iter().map(|node| NodeId(*node).to_string()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Rest => String::new(),
            Self::Join { nodes, .. } => format!("{} join", list(nodes)),
            Self::Leave(nodes) => format!("{} leave", list(nodes)),
            Self::Replace(old, new) => format!("n{new} replaces n{old}"),
            Self::NewDisk(node) => format!("n{node} gets a new disk"),
        }
    }

    /// Who is to be stopped after it.
    fn leavers(&self) -> Vec<NodeId> {
        match self {
            Self::Leave(nodes) => nodes.iter().map(|node| NodeId(*node)).collect(),
            Self::Replace(old, _) => vec![NodeId(*old)],
            _ => Vec::new(),
        }
    }
}

struct Script<'a> {
    clients: Clients,
    run: Run,
    rest: Duration,
    /// Content of each partition, and a key of each that has one.
    sizes: Vec<u64>,
    samples: Vec<String>,
    /// What each process had counted when it was looked at last; and all that was counted.
    counted: BTreeMap<NodeId, (u64, u64)>,
    exchanged: u64,
    needed: u64,
    leavers: Vec<NodeId>,
    told: &'a mut dyn FnMut(&Phase),
}

/// Plays the script, and tells of each phase when it has ended. It ends early if a change doesn't.
pub(crate) fn play(load: Load, rest: Duration, told: &mut dyn FnMut(&Phase)) -> Run {
    let clients = Clients::new(load);
    let mut sizes = vec![0; clients.sim.layout().partitions() as usize];
    let mut samples = Vec::new();
    let first = clients.sim.node(NodeId(1)).expect("it runs");
    for key in (0..load.keys).map(text) {
        let route = first.explain_route(Keyspace::new("default").id(), key.as_bytes());
        let size = &mut sizes[route.partition.0 as usize];
        if *size == 0 {
            samples.push(key.clone());
        }
        *size += (key.len() + VALUE) as u64;
    }
    let (run, counted, leavers) = (Run::default(), BTreeMap::new(), Vec::new());
    let mut script = Script { clients, run, rest, sizes, samples, counted, exchanged: 0, needed: 0, leavers, told };
    script.look();
    for act in SCRIPT {
        script.phase(act);
        if script
            .run
            .phases
            .last()
            .and_then(|phase| phase.change.as_ref())
            .is_some_and(|change| change.filled.is_none())
        {
            break;
        }
    }
    script.end()
}

impl Script<'_> {
    fn phase(&mut self, act: Act) {
        let (from, before) = (self.clients.time(), self.look());
        let moved = self.moved();
        let change = match act {
            Act::Rest => {
                self.rest();
                None
            }
            act => Some(self.change(act)),
        };
        let (to, after, now) = (self.clients.time(), self.look(), self.moved());
        let since = |(node, all): (NodeId, u64)| (node, all - before.handled.get(&node).copied().unwrap_or(0));
        let members = self.clients.sim.layout().members().len();
        let since_then = self.run.glances.iter().rev().take_while(|glance| glance.at >= from);
        let phase = Phase {
            name: if change.is_some() { act.name() } else { format!("{members} nodes") },
            from,
            to,
            handled: after.handled.into_iter().map(since).filter(|(_, handled)| *handled > 0).collect(),
            moved: now.since(moved),
            fewest_copies: since_then.map(|glance| glance.fewest_copies).min().unwrap_or(0),
            change,
        };
        (self.told)(&phase);
        self.run.phases.push(phase);
    }

    fn rest(&mut self) {
        let began = self.clients.time();
        self.run_for(ANSWERED);
        for node in std::mem::take(&mut self.leavers) {
            self.count();
            self.clients.stop(node);
        }
        self.run_to(began + self.rest.max(ANSWERED));
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_to(self.clients.time() + duration);
    }

    fn run_to(&mut self, end: Duration) {
        while self.clients.time() < end {
            let next = (self.clients.time() + GLANCE).min(end);
            self.clients.run_until(next);
            self.look();
        }
    }

    fn change(&mut self, act: Act) -> Changed {
        let layout = std::sync::Arc::clone(self.clients.sim.layout());
        let change = Change::of(&layout);
        let change = match act {
            Act::Rest => change,
            Act::Join { nodes, .. } => {
                let members: Vec<_> = nodes.iter().map(|node| self.clients.sim.start_node(NodeId(*node))).collect();
                members.into_iter().fold(change, Change::join)
            }
            Act::Leave(nodes) => nodes.iter().fold(change, |change, node| change.leave(NodeId(*node))),
            Act::Replace(old, new) => {
                let new = self.clients.sim.start_node(NodeId(new));
                change.replace(NodeId(old), new)
            }
            Act::NewDisk(node) => {
                let node = NodeId(node);
                self.crash(node);
                self.clients.sim.lose_data(node);
                self.run_for(AWAY);
                self.restart(node);
                let store = self.clients.sim.node(node).and_then(quorate::Node::store);
                change.renew(node, store.expect("an empty disk in the place of another has a name"))
            }
        };
        let plan = self.clients.sim.change(&change).expect("there is such a plan").sized(&self.sizes);
        let crashes = if let Act::Join { crashes, .. } = act { crashes.map(NodeId) } else { None };
        let (took, filled) = self.until_changed(&plan, crashes);
        for node in act.leavers() {
            self.clients.leave(node);
            self.leavers.push(node);
        }
        Changed { moves: plan.moves.len(), least: plan.bytes.unwrap_or(0), shares: plan.shares, took, filled }
    }

    /// How long it took until all have changed, and until all have what they own.
    fn until_changed(&mut self, plan: &Plan, mut crashes: Option<NodeId>) -> (Option<Duration>, Option<Duration>) {
        let proposed = self.clients.time();
        let (mut comes_back, mut took) = (None, None);
        while self.clients.time() < proposed + LIMIT {
            self.run_for(GLANCE);
            if let Some(node) = crashes.take_if(|_| self.arrived(plan) * 2 >= plan.moves.len()) {
                self.crash(node);
                comes_back = Some((node, self.clients.time() + AWAY));
            }
            if let Some((node, _)) = comes_back.take_if(|(_, at)| *at <= self.clients.time()) {
                self.restart(node);
            }
            if crashes.is_none() && comes_back.is_none() && self.is_changed(plan.id()) {
                let now = self.clients.time().saturating_sub(proposed);
                took = took.or(Some(now));
                if self.is_filled() {
                    return (took, Some(now));
                }
            }
        }
        (took, None)
    }

    /// How many of the moves are decided, as those know to whom they go.
    fn arrived(&self, plan: &Plan) -> usize {
        let arrived = plan.moves.iter().filter(|item| {
            let node = self.clients.sim.node(item.to);
            node.is_some_and(|node| node.coming().iter().all(|coming| coming.partition != item.partition))
        });
        arrived.count()
    }

    fn is_changed(&self, id: LayoutId) -> bool {
        let sim = &self.clients.sim;
        sim.has_changed_to(id) && sim.layout().members().iter().all(|member| sim.is_up(member.node))
    }

    fn is_filled(&self) -> bool {
        let debts = self.clients.sim.debts();
        !debts.iter().any(|(_, debt)| matches!(debt, Debt::Refilling(_)))
    }

    fn crash(&mut self, node: NodeId) {
        self.count();
        self.clients.crash(node);
        self.run.marks.push((self.clients.time(), format!("{node} goes")));
    }

    fn restart(&mut self, node: NodeId) {
        self.clients.sim.restart(node);
        self.run.marks.push((self.clients.time(), format!("{node} is back")));
    }

    fn look(&mut self) -> Glance {
        self.count();
        let (sim, at) = (&self.clients.sim, self.clients.time());
        let handled = sim.members().into_iter().map(|node| (node, sim.handled(node))).collect();
        let holds = |node: &NodeId, key: &str| !sim.versions(*node, key).is_empty();
        let copies = |key: &String| sim.members().iter().filter(|node| holds(node, key)).count();
        let fewest_copies = self.samples.iter().map(copies).min().unwrap_or(0);
        let glance = Glance { at, handled, moved: self.moved().bytes, fewest_copies };
        self.run.glances.push(glance.clone());
        glance
    }

    /// A process counts from zero when it starts.
    fn count(&mut self) {
        let sim = &self.clients.sim;
        for id in sim.members() {
            let counters = sim.node(id).map(quorate::Node::counters).unwrap_or_default();
            let (exchanged, needed) = (counters.exchanged, counters.exchanged_needed);
            let before = self.counted.insert(id, (exchanged, needed)).unwrap_or_default();
            self.exchanged += exchanged.saturating_sub(before.0);
            self.needed += needed.saturating_sub(before.1);
        }
    }

    fn moved(&self) -> Moved {
        let traffic = self.clients.sim.traffic();
        Moved {
            bytes: traffic.repair_bytes + traffic.change_bytes,
            exchange_bytes: traffic.exchange_bytes,
            change_bytes: traffic.change_bytes,
            exchanged: self.exchanged,
            needed: self.needed,
        }
    }

    fn end(mut self) -> Run {
        self.clients.finish();
        self.run.healed = self.clients.sim.try_heal_all().is_ok();
        self.clients.read_all();
        self.clients.finish();
        let (sim, keys) = (&self.clients.sim, self.clients.load.keys);
        let differs = |key: &String| {
            let mut held = sim.owners(key).into_iter().map(|owner| sim.versions(owner, key));
            let first = held.next().expect("a key has owners");
            first.is_empty() || held.any(|other| other != first)
        };
        self.run.differing = (0..keys).map(text).filter(differs).count();
        self.run.seen = self.clients.seen;
        self.run
    }
}

impl Moved {
    const fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            exchange_bytes: self.exchange_bytes - before.exchange_bytes,
            change_bytes: self.change_bytes - before.change_bytes,
            exchanged: self.exchanged - before.exchanged,
            needed: self.needed - before.needed,
        }
    }
}
