//! Nodes join and leave while requests go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::Mode;
use quorate::request::{Cursor, GetOptions, PutOptions, Reply, Request};
use quorate::ring::Change;
use quorate::sim::Sim;
use quorate::{Bytes, Context, Event, Keyspace, NodeId, Ticket};

/// Clients that write one key after the other and read what was acknowledged, through all nodes in turn.
struct Clients {
    sim: Sim,
    next: u64,
    /// What is on its way, and of which key.
    open: BTreeMap<Ticket, u64>,
    acknowledged: Vec<u64>,
    failed: Vec<String>,
    missed: Vec<u64>,
    reads: u64,
}

impl Clients {
    fn new(sim: Sim) -> Self {
        Self {
            sim,
            next: 0,
            open: BTreeMap::new(),
            acknowledged: Vec::new(),
            failed: Vec::new(),
            missed: Vec::new(),
            reads: 0,
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.sim.now() + duration;
        while self.sim.now() < end {
            self.next += 1;
            let up: Vec<NodeId> = self.sim.members().into_iter().filter(|node| self.sim.is_up(*node)).collect();
            let at = |turn: u64| up[(turn % up.len() as u64) as usize];
            let key = format!("k{}", self.next);
            let options = PutOptions::default();
            let ticket = self.sim.start_put(at(self.next), &key, Some("value"), &Context::empty(), options);
            self.open.insert(ticket, self.next);
            if !self.acknowledged.is_empty() {
                let key = self.acknowledged[(self.next * 7919 % self.acknowledged.len() as u64) as usize];
                let ticket = self.read(at(self.next / 2), key);
                self.open.insert(ticket, key);
            }
            self.sim.run_for(Duration::from_millis(10));
            self.take_replies();
        }
    }

    fn read(&mut self, node: NodeId, key: u64) -> Ticket {
        let keyspace = Keyspace::new("default").id();
        let key = Bytes::from(format!("k{key}").as_str());
        self.sim.start(node, Request::Get { keyspace, key, options: GetOptions::default() })
    }

    fn take_replies(&mut self) {
        for (ticket, _, reply) in self.sim.replies() {
            let Some(key) = self.open.remove(&ticket) else { continue };
            match reply {
                Reply::Put(Ok(_)) => self.acknowledged.push(key),
                Reply::Get(Ok(found)) => {
                    self.reads += 1;
                    if found.values.is_empty() {
                        self.missed.push(key);
                    }
                }
                Reply::Put(Err(error)) => self.failed.push(format!("put k{key}: {error}")),
                Reply::Get(Err(error)) => self.failed.push(format!("get k{key}: {error}")),
                other => panic!("{other:?}"),
            }
        }
    }

    fn until_changed(&mut self, limit: Duration) {
        let (end, id) = (self.sim.now() + limit, self.sim.layout().id());
        while !self.sim.has_changed_to(id) {
            if self.sim.now() > end {
                for node in self.sim.members() {
                    let Some(running) = self.sim.node(node) else { continue };
                    println!("{node} coming {:?} going {:?}", running.coming(), running.going());
                }
                panic!("not changed to {id} after {limit:?}");
            }
            self.run(Duration::from_millis(200));
        }
    }

    /// Everything that was acknowledged is there, at every owner.
    fn check(&mut self) {
        self.sim.run_for(Duration::from_secs(5));
        self.take_replies();
        assert_eq!(self.missed, Vec::<u64>::new(), "reads that missed");
        // Who has left is listened to by nobody who has started since.
        let member = self.sim.layout().members()[0].node;
        for key in self.acknowledged.clone() {
            let key = format!("k{key}");
            let found = self.sim.values(member, &key);
            assert_eq!(found, ["value"], "{key} is lost");
        }
    }
}

fn cluster(nodes: u64, seed: u64) -> Clients {
    Clients::new(Sim::builder(nodes, seed).partitions(16).quorum(3, 2, 2, Mode::Strict).elastic().build())
}

#[test]
fn two_nodes_join_under_load_and_no_client_sees_an_error() {
    let mut clients = cluster(3, 1);
    clients.run(Duration::from_secs(2));
    let members = [4, 5].map(|node| clients.sim.start_node(NodeId(node)));
    let change = members.into_iter().fold(Change::of(clients.sim.layout()), Change::join);
    let plan = clients.sim.change(&change).expect("a plan");
    assert!(!plan.moves.is_empty());
    clients.until_changed(Duration::from_secs(60));
    clients.run(Duration::from_secs(1));
    clients.check();
    assert_eq!(clients.failed, Vec::<String>::new());
    assert!(clients.reads > 100);
}

#[test]
fn nodes_leave_under_load_and_hand_over_what_they_have() {
    let mut clients = cluster(5, 2);
    clients.run(Duration::from_secs(2));
    let change = Change::of(clients.sim.layout()).leave(NodeId(1)).leave(NodeId(2));
    clients.sim.change(&change).expect("a plan");
    clients.until_changed(Duration::from_secs(60));
    clients.sim.stop(NodeId(1));
    clients.sim.stop(NodeId(2));
    clients.run(Duration::from_secs(1));
    clients.sim.run_for(Duration::from_secs(5));
    clients.take_replies();
    assert_eq!(clients.missed, Vec::<u64>::new());
    assert_eq!(clients.failed, Vec::<String>::new());
    for key in clients.acknowledged.clone() {
        assert_eq!(clients.sim.values(NodeId(3), &format!("k{key}")), ["value"], "k{key}");
    }
}

/// What befalls a cluster while its layout changes again and again: crashes, loss, cuts, and layouts that are made on two
/// sides at a time.
struct Storm {
    clients: Clients,
    rng: u64,
    fresh: u64,
    down: Vec<NodeId>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        Self {
            clients: cluster(4, seed),
            rng: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            fresh: 4,
            down: Vec::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) % below
    }

    fn pick(&mut self, of: &[NodeId]) -> NodeId {
        of[self.draw(of.len() as u64) as usize]
    }

    fn change(&mut self) -> Change {
        let layout = Arc::clone(self.clients.sim.layout());
        let members: Vec<NodeId> = layout.members().iter().map(|member| member.node).collect();
        let mut change = Change::of(&layout);
        let grows = members.len() < 4 || (members.len() < 7 && self.draw(2) == 0);
        match self.draw(4) {
            _ if grows => {
                for _ in 0..=self.draw(2) {
                    self.fresh += 1;
                    change = change.join(self.clients.sim.start_node(NodeId(self.fresh)));
                }
            }
            0 => {
                self.fresh += 1;
                let old = self.pick(&members);
                change = change.replace(old, self.clients.sim.start_node(NodeId(self.fresh)));
            }
            _ => change = change.leave(self.pick(&members)),
        }
        change
    }

    fn befall(&mut self) {
        let sim = &self.clients.sim;
        let up: Vec<NodeId> = sim.members().into_iter().filter(|node| sim.is_up(*node)).collect();
        match self.draw(8) {
            0 | 1 if self.down.is_empty() => {
                let node = self.pick(&up);
                let kept = self.draw(3) as usize;
                self.clients.sim.crash_keeping(node, kept);
                self.down.push(node);
            }
            0..=2 => {
                for node in std::mem::take(&mut self.down) {
                    self.clients.sim.restart(node);
                }
            }
            3 => {
                let node = self.pick(&up);
                self.clients.sim.isolate(node);
            }
            4 | 5 => self.clients.sim.heal(),
            6 => {
                let change = self.change();
                let _ = self.clients.sim.change(&change);
            }
            _ => {
                // Two sides make a layout each, of the same parent, and hear of the other's later.
                let parent = Arc::clone(self.clients.sim.layout());
                let (one, other) = (self.change(), self.change());
                let plans = [one, other].map(|change| quorate::ring::plan_change(&parent, &change));
                let half = up.len() / 2;
                for (plan, nodes) in plans.into_iter().zip([&up[..half], &up[half..]]) {
                    if let Ok(plan) = plan {
                        self.clients.sim.propose_to(&Arc::new(plan.layout), nodes);
                    }
                }
                self.clients.run(Duration::from_millis(300));
                self.clients.sim.spread();
            }
        }
    }

    fn blow(seed: u64) {
        let mut storm = Self::new(seed);
        storm.clients.sim.network.loss = 2;
        storm.clients.sim.network.duplication = 2;
        for _ in 0..20 {
            storm.befall();
            let pause = 50 + storm.draw(800);
            storm.clients.run(Duration::from_millis(pause));
        }
        let Self { mut clients, down, .. } = storm;
        clients.sim.heal();
        clients.sim.network.loss = 0;
        down.into_iter().for_each(|node| clients.sim.restart(node));
        clients.sim.spread();
        clients.until_changed(Duration::from_secs(120));
        clients.check();
    }
}

#[test]
fn layouts_change_again_and_again_in_a_storm_and_nothing_is_lost() {
    // More of them: SEEDS=1000 FROM=5000 cargo test --release --test stories storm -- --nocapture
    let number = |name, default| std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default);
    let (first, seeds): (u64, u64) = (number("FROM", 0), number("SEEDS", 20));
    for seed in first..first + seeds {
        println!("seed {seed}");
        Storm::blow(seed);
    }
}

// ---- Changes come to an end when nothing is in their way any more: nothing waits for a message that is said but once.

/// What takes longer has got stuck.
const LONG: Duration = Duration::from_secs(120);

fn elastic(nodes: u64, n: u8, r: u8, w: u8, mode: Mode) -> Sim {
    Sim::builder(nodes, 1).partitions(8).quorum(n, r, w, mode).elastic().build()
}

/// Changes the layout, and waits until all has come to an end.
fn change(sim: &mut Sim, what: impl FnOnce(&mut Sim, Change) -> Change) {
    let change = Change::of(sim.layout());
    let change = what(sim, change);
    sim.change(&change).expect("a plan");
    sim.run_for(LONG);
    assert!(sim.has_changed_to(sim.layout().id()), "nothing was in its way");
}

fn join(node: u64) -> impl FnOnce(&mut Sim, Change) -> Change {
    move |sim, change| change.join(sim.start_node(NodeId(node)))
}

/// The new owners decide without an old one that can't be reached. It comes back, and takes itself for an owner until
/// it is told: `Decided` was said once.
#[test]
fn a_former_owner_that_was_away_hears_of_the_decision() {
    let mut sim = elastic(3, 3, 2, 2, Mode::Strict);
    sim.run_for(Duration::from_secs(1));
    let change = Change::of(sim.layout()).replace(NodeId(1), sim.start_node(NodeId(4)));
    sim.isolate(NodeId(1));
    sim.change(&change).expect("a plan");
    sim.run_for(LONG);
    let decided = sim.events().iter().filter(|(_, _, event)| matches!(event, Event::PartitionMoved(..))).count();
    assert!(decided > 0, "two of three old owners are enough");
    sim.heal();
    sim.spread();
    sim.run_for(LONG);
    assert!(sim.has_changed_to(sim.layout().id()), "going {:?}", sim.node(NodeId(1)).unwrap().going());
}

/// A node that owns nothing of a partition knows of its owners what it knew at first. They have all left in good order.
#[test]
fn a_key_is_found_through_a_node_that_had_no_part_in_its_move() {
    let mut sim = elastic(3, 1, 1, 1, Mode::Strict);
    let owned: Vec<String> =
        (0..100).map(|key| format!("k{key}")).filter(|key| sim.owners(key) == [NodeId(1)]).take(20).collect();
    for key in &owned {
        sim.put(NodeId(2), key, "value").unwrap();
    }
    change(&mut sim, |sim, change| change.replace(NodeId(1), sim.start_node(NodeId(4))));
    sim.stop(NodeId(1));
    sim.run_for(Duration::from_secs(10));
    for key in &owned {
        assert_eq!(sim.get(NodeId(2), key).map(|found| found.values.len()), Ok(1), "{key} through n2");
    }
}

/// A list is asked of owners of whom its coordinator knows no later ones.
#[test]
fn keys_are_listed_through_every_node_after_a_change() {
    let mut sim = elastic(3, 1, 1, 1, Mode::Strict);
    change(&mut sim, join(4));
    change(&mut sim, |_, change| change.leave(NodeId(1)));
    for node in [2, 3, 4].map(NodeId) {
        let (keyspace, cursor) = (Keyspace::new("default").id(), Cursor::default());
        let ticket = sim.start(node, Request::List { keyspace, cursor, limit: 10 });
        let reply = sim.wait(node, ticket);
        assert!(matches!(reply, Some(Reply::List(Ok(_)))), "{node}: {reply:?}");
    }
}

/// A hint is kept for an owner, which then leaves. Its holder takes that one for the owner still, until it hears
/// who owns the key now.
#[test]
fn a_hint_for_a_node_that_has_left_goes_to_who_owns_its_key_now() {
    let mut sim = elastic(5, 3, 1, 1, Mode::Sloppy);
    let key = (0..100).map(|key| format!("k{key}")).find(|key| sim.owners(key).contains(&NodeId(1))).unwrap();
    let bystanders = sim.bystanders(&key);
    // Two owners can't be reached: what is for them is kept by bystanders.
    let owners = sim.owners(&key);
    sim.split(&owners, &bystanders);
    let _ = sim.put(bystanders[0], &key, "value");
    sim.run_for(Duration::from_secs(3));
    assert!(!sim.debt().is_empty(), "somebody has kept it");
    for &bystander in &bystanders {
        let others = bystanders.iter().filter(|other| **other != bystander);
        others.for_each(|other| sim.network.cut_one_way(bystander, *other));
    }
    // The owners change while the bystanders are away.
    let new = owners.iter().enumerate().map(|(at, old)| (*old, NodeId(10 + at as u64))).collect::<Vec<_>>();
    let mut change = Change::of(sim.layout());
    for (old, new) in new {
        change = change.replace(old, sim.start_node(new));
    }
    sim.change(&change).expect("a plan");
    sim.run_for(LONG);
    sim.heal();
    sim.spread();
    sim.run_for(LONG);
    assert_eq!(sim.debt(), [], "hints that don't go home");
}

/// A node that has dropped its copies starts, and hears of the layouts one by one: of the one by which it was an owner
/// before the one that it knows to be decided. It makes no room for copies.
#[test]
fn a_start_takes_back_no_copy_that_was_dropped() {
    let mut sim = elastic(3, 3, 2, 2, Mode::Strict);
    change(&mut sim, join(4));
    change(&mut sim, |_, change| change.leave(NodeId(4)));
    let dropped = |sim: &Sim| {
        let is_drop = |event: &Event| matches!(event, Event::PartitionDropped(_));
        sim.events().iter().filter(|(_, _, event)| is_drop(event)).count()
    };
    let before = dropped(&sim);
    assert!(before > 0, "the new node had copies");
    sim.stop(NodeId(4));
    sim.restart(NodeId(4));
    sim.run_for(LONG);
    assert_eq!(dropped(&sim), before, "copies came back, and were dropped again");
}

/// A node that is in no layout that it has heard of is no peer of its own, and may ask itself all the same.
#[test]
fn a_node_that_is_in_no_layout_yet_serves_reads() {
    let mut sim = elastic(3, 3, 2, 2, Mode::Sloppy);
    sim.start_node(NodeId(4));
    let found = sim.get(NodeId(4), "key").map(|found| found.values.len());
    assert_eq!(found, Ok(0), "it is no owner, and asks those that are");
}
