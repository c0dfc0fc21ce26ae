//! The need and the cluster, from flags, or from questions where somebody can be asked.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Duration;

use quorate::sla::{Asks, Freshness, Model, Sla};

pub(crate) const HELP: &str = "\
Which N, R and W give a service what it needs?
  what it needs (what isn't said doesn't matter):
    --percentile P     latencies are at this percentile (default 99.9)
    --read-ms T        reads take at most so long
    --write-ms T       writes take at most so long
    --fresh P          P of a hundred reads see the last write (100: all, as a promise) ...
    --after-ms T       ... when they begin so long after its acknowledgement (default 0)
    --readable P       P of a hundred reads find enough nodes
    --writeable P      P of a hundred writes find enough nodes
    --durable P        P of a hundred acknowledged writes outlive lost disks
  the cluster:
    --model M          ssd, disk, yammer or wan: how long messages take, as published in the PBS paper (default disk)
    --nodes S          so many nodes (default 9)
    --up P             a node can be reached P percent of the time (default 99.9)
    --reads P          P of a hundred requests are reads (default 90)
    --ask-r            reads ask R replicas, as quorate does unless told otherwise, and not all N
    --copies N         at most so many copies (default 5)
  the run:
    --quick            fewer trials, and no questions
    --seed N           another run (default 1)
    --svg PATH         where the drawing goes (default target/sla_in_a_box.svg)
    --help             this
Without any it asks, if it runs in a terminal.";

/// What was asked for.
pub(crate) struct Wanted {
    pub(crate) sla: Sla,
    pub(crate) model: Model,
    pub(crate) name: String,
    pub(crate) copies: u8,
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    pub(crate) svg: PathBuf,
}

/// Each with the value that it takes; the two that take none are apart.
const VALUES: [&str; 15] = [
    "--percentile",
    "--read-ms",
    "--write-ms",
    "--fresh",
    "--after-ms",
    "--readable",
    "--writeable",
    "--durable",
    "--model",
    "--nodes",
    "--up",
    "--reads",
    "--copies",
    "--seed",
    "--svg",
];

/// What is asked where nothing was said: the flag, and how to ask for its value.
const QUESTIONS: [(&str, &str); 6] = [
    ("--read-ms", "How many milliseconds may a read take, 999 times in a thousand?"),
    ("--write-ms", "And a write?"),
    ("--fresh", "How many of a hundred reads must see the last write (100: all)?"),
    ("--after-ms", "How many milliseconds after it was acknowledged?"),
    ("--writeable", "How many of a hundred writes must succeed, with nodes away one time in a thousand?"),
    ("--model", "What are the machines like: ssd, disk, yammer or wan?"),
];

/// What a service may need that nobody was asked about: fast reads, writes that are seen soon, and that outlive a disk.
const EXAMPLE: &str = "--read-ms 5 --write-ms 60 --fresh 99.9 --after-ms 100 --durable 99.99999";

struct Given<'a>(&'a [String]);

impl Given<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().skip_while(|argument| *argument != name).nth(1).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{name} takes a number, not {text:?}"));
        self.text(name).map(parse).transpose()
    }

    /// A part of a hundred as a share.
    fn share(&self, name: &str) -> Result<Option<f64>, String> {
        let percent: Option<f64> = self.number(name)?;
        match percent {
            Some(percent) if !(0.0..=100.0).contains(&percent) => Err(format!("{name} is from 0 to 100")),
            percent => Ok(percent.map(|percent| percent / 100.0)),
        }
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        let parse = |ms: f64| {
            Duration::try_from_secs_f64(ms / 1e3).map_err(|_| format!("{name} is no number of milliseconds: {ms}"))
        };
        self.number(name)?.map(parse).transpose()
    }
}

impl Wanted {
    pub(crate) fn of(arguments: &[String]) -> Result<Self, String> {
        let is_needed = |argument: &String| VALUES[1..8].contains(&argument.as_str());
        let mut arguments = arguments.to_vec();
        if arguments.is_empty() && stdin().is_terminal() {
            arguments = ask();
        } else if !arguments.iter().any(is_needed) {
            println!("for example: {EXAMPLE}\n");
            arguments.extend(EXAMPLE.split(' ').map(String::from));
        }
        Self::parse(&arguments)
    }

    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let takes_value = VALUES.contains(&argument.as_str());
            if takes_value && rest.next().is_none() {
                return Err(format!("{argument} takes a value"));
            }
            if !takes_value && !["--quick", "--ask-r"].contains(&argument.as_str()) {
                return Err(format!("what is {argument}?"));
            }
        }
        let given = Given(arguments);
        let fresh = given.share("--fresh")?;
        let after = given.duration("--after-ms")?.unwrap_or_default();
        let sla = Sla {
            percentile: given.share("--percentile")?.unwrap_or(0.999),
            read: given.duration("--read-ms")?,
            write: given.duration("--write-ms")?,
            fresh: fresh.map(|share| Freshness { share, after }),
            readable: given.share("--readable")?,
            writeable: given.share("--writeable")?,
            durable: given.share("--durable")?,
        };
        let name = given.text("--model").unwrap_or("disk").to_owned();
        let mut model = match name.as_str() {
            "ssd" => Model::linkedin_ssd(),
            "disk" => Model::linkedin_disk(),
            "yammer" => Model::yammer(),
            "wan" => Model::wan(),
            _ => return Err(format!("no such model: {name}")),
        };
        model.nodes = given.number("--nodes")?.unwrap_or(9);
        model.up = given.share("--up")?.unwrap_or(0.999);
        model.reads = given.share("--reads")?.unwrap_or(0.9);
        if given.has("--ask-r") {
            model.asks = Asks::Fastest;
        }
        Ok(Self {
            sla,
            model,
            name,
            copies: given.number("--copies")?.unwrap_or(5),
            quick: given.has("--quick"),
            seed: given.number("--seed")?.unwrap_or(1),
            svg: given.text("--svg").map_or_else(|| PathBuf::from("target/sla_in_a_box.svg"), PathBuf::from),
        })
    }
}

/// What somebody answers, as flags. No answer: it doesn't matter.
fn ask() -> Vec<String> {
    println!("An empty answer means that it doesn't matter.");
    let mut arguments = Vec::new();
    for (flag, question) in QUESTIONS {
        print!("{question} ");
        let _ = stdout().flush();
        let mut answer = String::new();
        if stdin().lock().read_line(&mut answer).is_err() {
            break;
        }
        let answer = answer.trim();
        if !answer.is_empty() {
            arguments.extend([flag.to_owned(), answer.to_owned()]);
        }
    }
    println!();
    arguments
}
