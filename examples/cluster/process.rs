//! Nodes as processes: started, killed, stopped and let go on.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::ground::{Ground, Kind};

/// What all nodes are started with.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: u64,
    pub(crate) mode: &'static str,
    /// Where puts must be on disk before they are acknowledged.
    pub(crate) durability: String,
    /// What lies between them.
    pub(crate) ground: Kind,
    /// Certificates: a directory that `examples/node/certificates.sh` has made.
    pub(crate) tls: Option<PathBuf>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    pub(crate) ground: Rc<Ground>,
    directory: PathBuf,
    keep: bool,
}

pub(crate) struct Process {
    pub(crate) number: u64,
    ground: Rc<Ground>,
    pub(crate) clients: SocketAddr,
    program: PathBuf,
    arguments: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    stopped: bool,
}

/// How long a node may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);

impl Cluster {
    /// Starts all nodes, each with an empty directory, and waits until all take requests.
    pub(crate) fn start(shape: &Shape, directory: &Path, keep: bool) -> io::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("node");
        if !program.exists() {
            let why = format!("{} is not there: build the example node with the same profile", program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let count = shape.nodes as usize;
        let ground = Rc::new(Ground::new(shape.ground, count)?);
        let founders: Vec<String> = (1..=count).map(|node| node.to_string()).collect();
        let mut nodes = Vec::new();
        for at in 0..count {
            let number = at as u64 + 1;
            let addresses = ground.of(at);
            let data = directory.join(format!("n{number}"));
            let mut arguments: Vec<String> = [
                ("node", number.to_string()),
                ("cluster", "00112233445566778899aabbccddeeff".into()),
                ("secret", "0f0e0d0c0b0a09080706050403020100".into()),
                ("data", data.display().to_string()),
                ("listen", addresses.peers.to_string()),
                ("clients", addresses.clients.to_string()),
                ("founders", format!("[{}]", founders.join(", "))),
                ("mode", shape.mode.into()),
                ("durability", shape.durability.clone()),
                ("exchange", "5".into()),
            ]
            .into_iter()
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect();
            for to in (0..count).filter(|to| *to != at) {
                arguments.extend([format!("--peers.{}", to + 1), ground.way(at, to).to_string()]);
            }
            if let Some(tls) = &shape.tls {
                let file = |name: &str| tls.join(name).display().to_string();
                let own = [
                    ("authority", file("authority.pem")),
                    ("certificate", file(&format!("node-{number}.pem"))),
                    ("key", file(&format!("node-{number}.key"))),
                ];
                arguments.extend(own.into_iter().flat_map(|(name, path)| [format!("--tls.{name}"), path]));
            }
            nodes.push(Process {
                number,
                ground: Rc::clone(&ground),
                clients: addresses.clients,
                program: program.clone(),
                arguments,
                log: directory.join(format!("n{number}.log")),
                data,
                child: None,
                stopped: false,
            });
        }
        let mut cluster = Self { nodes, ground, directory: directory.to_path_buf(), keep };
        for node in &mut cluster.nodes {
            node.start()?;
        }
        for node in &mut cluster.nodes {
            node.wait_until_there()?;
        }
        Ok(cluster)
    }

    /// How much all nodes together don't know to be at all its owners; none if a node doesn't answer.
    pub(crate) fn debt(&self) -> Option<i64> {
        self.nodes
            .iter()
            .map(|node| match node.ask(&[b"DEBT"]) {
                Ok(Answer::Number(count)) => Some(count),
                _ => None,
            })
            .sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        if self.keep || thread::panicking() {
            println!("what they have written is in {}", self.directory.display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Process {
    /// Starts it, for the first time as a founder; what it says goes to its log.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.ground.command(self.number as usize - 1, &self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if !self.data.exists() {
            command.arg("--found");
        }
        self.child = Some(command.spawn()?);
        self.stopped = false;
        Ok(())
    }

    pub(crate) fn wait_until_there(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while self.ask(&[b"PING"]).is_err() {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(self.said(&format!("ended ({status})")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.said("does not answer"));
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn said(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().last().unwrap_or_default().to_owned();
        io::Error::other(format!("n{} {what}; the end of its log: {last}", self.number))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// As by the loss of power, but that the system keeps what was written and not synced.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// In good order.
    pub(crate) fn terminate(&mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        let mut child = self.child.take().ok_or(io::ErrorKind::NotFound)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(self.said("does not stop"));
            }
            thread::sleep(GLANCE);
        }
    }

    /// It stands still, and its connections stay.
    pub(crate) fn pause(&mut self) -> io::Result<()> {
        self.stopped = true;
        self.signal("STOP")
    }

    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        self.stopped = false;
        self.signal("CONT")
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.stopped
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        let child = self.child.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name}: {status}"))) }
    }

    pub(crate) fn ask(&self, words: &[&[u8]]) -> io::Result<Answer> {
        Client::connect(self.clients)?.ask(words)
    }

    /// What it has used of the processor, all threads together; none where the system doesn't tell.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        processor_time(&self.child.as_ref()?.id().to_string())
    }

    /// Resident memory in bytes; none where the system doesn't tell.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }
}

/// What these processes have used together.
pub(crate) fn processor_times(processes: &[String]) -> Option<Duration> {
    if processes.is_empty() { None } else { processes.iter().map(|process| processor_time(process)).sum() }
}

fn processor_time(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything: user and system time are the 12th and 13th, in hundredths.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
