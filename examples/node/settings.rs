//! What a node is started with: a TOML file, flags of the same names, or both.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate::causality::{Identity, Secret};
use quorate::config::{Durability, Mode, Quorum};
use quorate::ids::{ClusterId, NodeId, ZoneId};
use quorate::members::Introduce;
use quorate::reconcile::LastWriteWins;
use quorate::ring::{Member, plan_first};
use quorate::transports::{NetworkConfig, Tls};
use quorate::{Keyspace, Setup};
use serde::Deserialize;
use toml::{Table, Value};

pub(crate) const HELP: &str = "\
node --config FILE [--KEY VALUE ...] [--found] [--renew SHARD ...]

    --found            this is the first start of one of the founders, with an empty directory
    --renew SHARD      set the file of a damaged shard aside; the peers fill an empty one
    --KEY VALUE        any of the following, as in the file (KEY.NAME for one of a table)

    node               its number, 1 or more
    cluster            32 hexadecimal digits, the same on every node
    secret             32 hexadecimal digits, the same on every node, and nobody else's
    data               its directory
    listen             where peers reach it: host:port
    advertise          what it tells them, if that is another address
    clients            where clients reach it: host:port; default 127.0.0.1:0, any port that is free
    founders           the nodes of the first layout, the same on every node: [1, 2, 3]
    peers              a table, where others listen: peers.2 = \"host:port\"; gossip tells the rest
    zone, weight       its failure domain, and how much it takes; default 0 and 1
    n, r, w            copies, and how many answer reads and writes; default 3, 2, 2
    mode               \"strict\" or \"sloppy\", the default
    partitions         of the ring, a power of two; default 64
    shards             of the node, each with a thread's worth of work and a file; default 1
    cache              MiB of memory for pages of each shard's file; default 64
    automatic          whether joins and departures are planned and committed by themselves; default false
    durability         where puts must be on disk before they are acknowledged, unless they say it themselves:
                       \"quorum\", the default, \"coordinator\", \"one\" or \"memory\"
    exchange           seconds between two comparisons of owners; default the library's
    tls.authority, tls.certificate, tls.key
                       PEM files; without them peers speak plain TCP";

/// Why a node can't be started with these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0} takes a value")]
    NoValue(String),
    #[error("what is {0}?")]
    Unknown(String),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the settings are wrong: {0}")]
    Toml(#[from] toml::de::Error),
    #[error("{0} takes 32 hexadecimal digits")]
    Digits(&'static str),
    #[error("{0:?} is no mode: strict or sloppy")]
    Mode(String),
    #[error("{0:?} is no durability: quorum, coordinator, one or memory")]
    Durability(String),
    #[error("{0}")]
    Other(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    node: u64,
    cluster: String,
    secret: String,
    pub(crate) data: PathBuf,
    listen: String,
    advertise: Option<String>,
    #[serde(default = "free_port")]
    pub(crate) clients: String,
    founders: Vec<u64>,
    #[serde(default)]
    peers: BTreeMap<String, String>,
    #[serde(default)]
    zone: u32,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default = "three")]
    n: u8,
    #[serde(default = "two")]
    r: u8,
    #[serde(default = "two")]
    w: u8,
    #[serde(default = "sloppy")]
    mode: String,
    #[serde(default = "partitions")]
    partitions: u32,
    #[serde(default = "one")]
    pub(crate) shards: u32,
    #[serde(default = "cache")]
    pub(crate) cache: usize,
    #[serde(default)]
    automatic: bool,
    exchange: Option<u64>,
    #[serde(default)]
    durability: Option<String>,
    tls: Option<TlsFiles>,
    #[serde(skip)]
    pub(crate) found: bool,
    #[serde(skip)]
    pub(crate) renew: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFiles {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn free_port() -> String {
    String::from("127.0.0.1:0")
}

fn sloppy() -> String {
    String::from("sloppy")
}

const fn one() -> u32 {
    1
}

const fn two() -> u8 {
    2
}

const fn three() -> u8 {
    3
}

const fn partitions() -> u32 {
    64
}

const fn cache() -> usize {
    64
}

/// The keyspace of GET and SET: the last write wins.
pub(crate) const PLAIN: &str = "plain";
/// That of VGET and VPUT: siblings are kept, and clients pass contexts.
pub(crate) const VERSIONS: &str = "versions";

impl Settings {
    /// Of the program's arguments; none if they only ask for help.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, SettingsError> {
        let (mut file, mut given, mut found, mut renew) = (Table::new(), Vec::new(), false, Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| SettingsError::NoValue(word.clone()));
            match word.as_str() {
                "--help" => {
                    println!("{HELP}");
                    return Ok(None);
                }
                "--found" => found = true,
                "--renew" => {
                    let shard = value()?;
                    renew.push(shard.parse().map_err(|_| SettingsError::Unknown(shard))?);
                }
                "--config" => {
                    let path = PathBuf::from(value()?);
                    let text = fs::read_to_string(&path).map_err(|error| SettingsError::File(path, error))?;
                    file = text.parse()?;
                }
                flag => match flag.strip_prefix("--") {
                    Some(name) => given.push((name.to_owned(), value()?)),
                    None => return Err(SettingsError::Unknown(word)),
                },
            }
        }
        for (name, value) in given {
            set(&mut file, &name, &value);
        }
        Ok(Some(Self { found, renew, ..file.try_into()? }))
    }

    pub(crate) const fn id(&self) -> NodeId {
        NodeId(self.node)
    }

    /// What the node is opened with.
    /// Of puts that don't say one.
    pub(crate) fn durability(&self) -> Result<Durability, SettingsError> {
        self.durability.as_deref().map_or(Ok(Durability::default()), durability)
    }

    pub(crate) fn setup(&self, founding: bool) -> Result<Setup, SettingsError> {
        let other = |error: &dyn std::error::Error| SettingsError::Other(error.to_string());
        let mode = match self.mode.as_str() {
            "strict" => Mode::Strict,
            "sloppy" => Mode::Sloppy,
            mode => return Err(SettingsError::Mode(mode.to_owned())),
        };
        let quorum = Quorum::new(self.n, self.r, self.w).map_err(|error| other(&error))?;
        let keyspaces = vec![
            // A SET knows nothing of what is there: with room for one version, its owner asks the reconciler at once.
            Keyspace::new(PLAIN).quorum(quorum).mode(mode).reconciler(LastWriteWins).max_siblings(1),
            Keyspace::new(VERSIONS).quorum(quorum).mode(mode),
        ];
        let members: Vec<_> = self.founders.iter().map(|&node| Member::new(NodeId(node))).collect();
        let layout = plan_first(&members, self.n, self.partitions).map_err(|error| other(&error))?.layout;
        let address = self.advertise.clone().unwrap_or_default();
        let seeds = self.founders.iter().map(|&node| NodeId(node)).filter(|node| *node != self.id()).collect();
        let introduce = Introduce {
            zone: ZoneId(self.zone),
            weight: self.weight,
            automatic: self.automatic,
            ..Introduce::new(address.as_str(), seeds)
        };
        let mut setup = Setup::new(self.identity()?, self.id(), Arc::new(layout), keyspaces);
        setup.founding = founding;
        setup.membership = Some(introduce);
        if let Some(seconds) = self.exchange {
            setup.timing.exchange = Duration::from_secs(seconds);
        }
        setup.validate().map_err(|error| other(&error))?;
        Ok(setup)
    }

    /// What its transport is bound with.
    pub(crate) fn network(&self) -> Result<NetworkConfig, SettingsError> {
        let mut config = NetworkConfig::new(self.listen.as_str());
        for (node, address) in &self.peers {
            let node = node.parse().map_err(|_| SettingsError::Unknown(format!("peers.{node}")))?;
            config.addresses.insert(NodeId(node), address.clone());
        }
        if let Some(files) = &self.tls {
            let read = |path: &PathBuf| fs::read(path).map_err(|error| SettingsError::File(path.clone(), error));
            let (authority, certificate, key) = (read(&files.authority)?, read(&files.certificate)?, read(&files.key)?);
            let tls = Tls::from_pem(&authority, &certificate, &key);
            config.tls = Some(tls.map_err(|error| SettingsError::Other(error.to_string()))?);
        }
        Ok(config)
    }

    fn identity(&self) -> Result<Identity, SettingsError> {
        let digits = |name, text: &str| match u128::from_str_radix(text, 16) {
            Ok(number) if text.len() == 32 => Ok(number),
            _ => Err(SettingsError::Digits(name)),
        };
        let secret = digits("secret", &self.secret)?.to_be_bytes();
        Ok(Identity { cluster: ClusterId(digits("cluster", &self.cluster)?), secret: Secret::new(secret) })
    }
}

/// A flag's value is what it would be in the file: a number, a list, a truth, or else text without quotes.
fn set(table: &mut Table, name: &str, text: &str) {
    if let Some((outer, inner)) = name.split_once('.') {
        let within = table.entry(outer).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(within) = within {
            within.insert(inner.to_owned(), Value::String(text.to_owned()));
        }
        return;
    }
    let is_text = ["cluster", "secret", "data", "listen", "advertise", "clients", "mode", "durability"].contains(&name);
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.filter(|_| !is_text).unwrap_or_else(|| Value::String(text.to_owned()));
    table.insert(name.to_owned(), value);
}

/// As settings and clients write it.
pub(crate) fn durability(name: &str) -> Result<Durability, SettingsError> {
    Ok(match name {
        "quorum" => Durability::Quorum,
        "coordinator" => Durability::Coordinator,
        "one" => Durability::One,
        "memory" => Durability::Memory,
        other => return Err(SettingsError::Durability(other.to_owned())),
    })
}
