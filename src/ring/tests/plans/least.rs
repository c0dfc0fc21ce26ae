//! The fewest moves that there can be, by a minimum-cost flow over everything: slow, and another way than the planner's.

use std::collections::VecDeque;

use super::*;

struct Edge {
    to: usize,
    room: u32,
    cost: i32,
}

/// A flow network. An edge's way back stands beside it: `number ^ 1`.
struct Network {
    edges: Vec<Edge>,
    from: Vec<Vec<usize>>,
}

impl Network {
    fn node(&mut self) -> usize {
        self.from.push(Vec::new());
        self.from.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, room: u32, cost: i32) {
        self.from[from].push(self.edges.len());
        self.edges.push(Edge { to, room, cost });
        self.from[to].push(self.edges.len());
        self.edges.push(Edge { to: from, room: 0, cost: -cost });
    }

    /// Sends one unit after the other on the cheapest way there is left: how many, and what they cost.
    fn flow(&mut self, source: usize, sink: usize) -> (u32, i32) {
        let (mut units, mut cost) = (0, 0);
        loop {
            let mut reached: Vec<Option<(i32, usize)>> = vec![None; self.from.len()];
            let mut queued = vec![false; self.from.len()];
            let mut queue = VecDeque::from([source]);
            reached[source] = Some((0, usize::MAX));
            while let Some(at) = queue.pop_front() {
                queued[at] = false;
                let so_far = reached[at].expect("it was reached").0;
                for &number in &self.from[at] {
                    let edge = &self.edges[number];
                    let price = so_far + edge.cost;
                    if edge.room > 0 && reached[edge.to].is_none_or(|(old, _)| price < old) {
                        reached[edge.to] = Some((price, number));
                        if !std::mem::replace(&mut queued[edge.to], true) {
                            queue.push_back(edge.to);
                        }
                    }
                }
            }
            let Some((price, _)) = reached[sink] else { return (units, cost) };
            units += 1;
            cost += price;
            let mut at = sink;
            while at != source {
                let number = reached[at].expect("the way was walked").1;
                self.edges[number].room -= 1;
                self.edges[number ^ 1].room += 1;
                at = self.edges[number ^ 1].to;
            }
        }
    }
}

/// The fewest copies that must move from `current` for the zone rule and the shares of `plan`.
pub(super) fn fewest_moves(current: &Layout, plan: &Plan) -> usize {
    let next = &plan.layout;
    let n = u32::from(next.n());
    let zones: Vec<ZoneId> =
        next.members().iter().map(|member| member.zone).collect::<BTreeSet<_>>().into_iter().collect();
    let size = |zone: ZoneId| next.members().iter().filter(|member| member.zone == zone).count() as u32;
    let level = (1..=n).find(|&level| zones.iter().map(|&zone| size(zone).min(level)).sum::<u32>() >= n).unwrap();
    let least = |zone: ZoneId| size(zone).min(level - 1);

    let mut network = Network { edges: Vec::new(), from: Vec::new() };
    let (source, sink) = (network.node(), network.node());
    let members: Vec<usize> = next.members().iter().map(|_| network.node()).collect();
    for (member, &node) in next.members().iter().zip(&members) {
        let share = plan.shares.iter().find(|share| share.node == member.node).unwrap();
        network.edge(node, sink, share.after, 0);
    }
    for p in all(current) {
        let (partition, above) = (network.node(), network.node());
        network.edge(source, partition, n, 0);
        network.edge(partition, above, n - zones.iter().map(|&zone| least(zone)).sum::<u32>(), 0);
        for &zone in &zones {
            let in_zone = network.node();
            network.edge(partition, in_zone, least(zone), 0);
            network.edge(above, in_zone, size(zone).min(level) - least(zone), 0);
            for (member, &node) in next.members().iter().zip(&members).filter(|(member, _)| member.zone == zone) {
                network.edge(in_zone, node, 1, i32::from(!current.owns(member.node, p)));
            }
        }
    }
    let (units, cost) = network.flow(source, sink);
    assert_eq!(units, n * next.partitions(), "there is a placement by the zone rule with these shares");
    cost as usize
}
