//! What nodes stand on: where they listen, what lies between them, and how that may fail.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::proxy::Link;

/// What lies between the nodes.
pub(crate) enum Ground {
    /// Loopback, and nothing else.
    Bare(Vec<Addresses>),
    /// Loopback, with a link from each node to each other one that can be cut and held up. It takes no privileges.
    Links(Vec<Addresses>, Vec<Vec<Option<Link>>>),
    /// A network namespace for each node, on one bridge, with packet filters between them. It takes root.
    Namespaces(Vec<Addresses>),
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) peers: SocketAddr,
    pub(crate) clients: SocketAddr,
}

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Bare,
    Links,
    Namespaces,
}

/// The nodes are 10.97.0.1 and so on, whoever looks on 10.97.0.254.
const NETWORK: [u8; 3] = [10, 97, 0];
const BRIDGE: &str = "quorate-bridge";

impl Ground {
    pub(crate) fn new(kind: Kind, count: usize) -> io::Result<Self> {
        Ok(match kind {
            Kind::Bare => Self::Bare(on_loopback(count)?),
            Kind::Links => {
                let addresses = on_loopback(count)?;
                let link = |from: usize, to: usize| {
                    if from == to { Ok(None) } else { Link::new(addresses[to].peers).map(Some) }
                };
                let row = |from| (0..count).map(|to| link(from, to)).collect::<io::Result<Vec<_>>>();
                let links = (0..count).map(row).collect::<io::Result<_>>()?;
                Self::Links(addresses, links)
            }
            Kind::Namespaces => {
                let ground = Self::Namespaces((0..count).map(in_namespace).collect());
                // What an earlier run has left.
                clear(count);
                lay(count)?;
                ground
            }
        })
    }

    pub(crate) fn of(&self, at: usize) -> Addresses {
        let (Self::Bare(all) | Self::Links(all, _) | Self::Namespaces(all)) = self;
        all[at]
    }

    /// Where `from` finds `to`.
    pub(crate) fn way(&self, from: usize, to: usize) -> SocketAddr {
        match self {
            Self::Links(_, links) => links[from][to].as_ref().map_or(self.of(to).peers, Link::address),
            Self::Bare(_) | Self::Namespaces(_) => self.of(to).peers,
        }
    }

    /// Runs a program where the node `at` lives.
    pub(crate) fn command(&self, at: usize, program: &Path) -> Command {
        match self {
            Self::Bare(_) | Self::Links(..) => Command::new(program),
            Self::Namespaces(_) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &namespace(at)]).arg(program);
                command
            }
        }
    }

    /// A node is cut off from all others, both ways. Not from its clients.
    pub(crate) fn cut(&self, at: usize) -> io::Result<()> {
        match self {
            Self::Bare(_) => Ok(()),
            Self::Links(_, links) => {
                let own = links[at].iter().flatten();
                own.chain(links.iter().filter_map(|row| row[at].as_ref())).for_each(Link::cut);
                Ok(())
            }
            Self::Namespaces(_) => {
                filter(at, &["-A", "INPUT", "-s", "10.97.0.0/28", "-j", "DROP"])?;
                filter(at, &["-A", "OUTPUT", "-d", "10.97.0.0/28", "-j", "DROP"])
            }
        }
    }

    /// The way from one node to another is bad: where there are links nothing gets through until it is mended, and then
    /// all of it; where there are packets, one of three that the other sends is lost.
    pub(crate) fn spoil(&self, at: usize, other: usize) -> io::Result<()> {
        match self {
            Self::Bare(_) => Ok(()),
            Self::Links(_, links) => {
                links[at][other].iter().for_each(Link::stall);
                Ok(())
            }
            Self::Namespaces(all) => {
                let from = all[other].peers.ip().to_string();
                let often = ["-m", "statistic", "--mode", "random", "--probability", "0.33"];
                filter(at, &[&["-A", "INPUT", "-s", &from][..], &often, &["-j", "DROP"]].concat())
            }
        }
    }

    pub(crate) fn mend(&self) -> io::Result<()> {
        match self {
            Self::Bare(_) => Ok(()),
            Self::Links(_, links) => {
                links.iter().flatten().flatten().for_each(Link::mend);
                Ok(())
            }
            Self::Namespaces(all) => (0..all.len()).try_for_each(|at| filter(at, &["-F"])),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Self::Namespaces(all) = self {
            clear(all.len());
        }
    }
}

/// Addresses that nobody listens at now.
fn on_loopback(count: usize) -> io::Result<Vec<Addresses>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All at a time, lest one be found twice.
    let listeners = (0..2 * count).map(bind).collect::<io::Result<Vec<_>>>()?;
    let free = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let (peers, clients) = free.split_at(count);
    Ok(peers.iter().zip(clients).map(|(&peers, &clients)| Addresses { peers, clients }).collect())
}

fn in_namespace(at: usize) -> Addresses {
    let [a, b, c] = NETWORK;
    let ip = IpAddr::from([a, b, c, at as u8 + 1]);
    Addresses { peers: (ip, 7_100).into(), clients: (ip, 7_200).into() }
}

fn namespace(at: usize) -> String {
    format!("quorate-{}", at + 1)
}

fn lay(count: usize) -> io::Result<()> {
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["address", "add", "10.97.0.254/24", "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    for at in 0..count {
        let (name, near, far) = (namespace(at), format!("quorate-h{}", at + 1), format!("quorate-n{}", at + 1));
        let address = format!("{}/24", in_namespace(at).peers.ip());
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
        ip(&["link", "set", &far, "netns", &name])?;
        ip(&["link", "set", &near, "master", BRIDGE])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &name, "address", "add", &address, "dev", &far])?;
        ip(&["-n", &name, "link", "set", &far, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
    }
    Ok(())
}

fn clear(count: usize) {
    // What isn't there needs no removal.
    for at in 0..count {
        let _ = ip(&["netns", "delete", &namespace(at)]);
    }
    let _ = ip(&["link", "delete", BRIDGE]);
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    said(Command::new("ip").args(arguments))
}

/// In the namespace of the node.
fn filter(at: usize, arguments: &[&str]) -> io::Result<()> {
    said(Command::new("ip").args(["netns", "exec", &namespace(at), "iptables"]).args(arguments))
}

fn said(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{command:?}: {why}; namespaces take root, iproute2 and iptables")))
}
