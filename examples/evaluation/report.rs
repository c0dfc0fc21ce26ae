//! The page: its parts, their pictures, and what must hold of them.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much is run.
pub(crate) struct Scale {
    pub(crate) quick: bool,
}

/// One result of the paper.
pub(crate) struct Part {
    /// As `--only` and its pictures' files call it.
    pub(crate) name: &'static str,
    /// The heading.
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Scale) -> Section,
}

/// What a part has to say.
#[derive(Default)]
pub(crate) struct Section {
    /// Markdown below the heading. A picture is referred to as `evaluation/NAME.svg`.
    pub(crate) body: String,
    pub(crate) pictures: Vec<Picture>,
    /// What must hold and does not: in any run, and in whole ones.
    wrong: Vec<String>,
    missed: Vec<String>,
}

pub(crate) struct Picture {
    /// Its file's name, without `.svg`.
    pub(crate) name: &'static str,
    pub(crate) svg: String,
}

impl Scale {
    pub(crate) fn pick<T>(&self, quick: T, whole: T) -> T {
        if self.quick { quick } else { whole }
    }
}

impl Section {
    /// A paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        self.body.push_str(text);
        self.body.push_str("\n\n");
    }

    /// A table: the first row is its head.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) {
        for (number, row) in rows.iter().enumerate() {
            let _ = writeln!(self.body, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(self.body, "|{}", "---|".repeat(row.len()));
            }
        }
        self.body.push('\n');
    }

    /// A picture, with what can be seen on it in words.
    pub(crate) fn picture(&mut self, name: &'static str, alternative: &str, svg: String) {
        let _ = writeln!(self.body, "![{alternative}](evaluation/{name}.svg)\n");
        self.pictures.push(Picture { name, svg });
    }

    /// Something that the whole run must show; small runs may miss it.
    pub(crate) fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.missed.push(what.to_owned());
        }
    }

    /// Something that every run must show, however small.
    pub(crate) fn always(&mut self, holds: bool, what: &str) {
        if !holds {
            self.wrong.push(what.to_owned());
        }
    }
}

/// Runs the parts, tells of progress, and writes the page. Returns what must hold and does not.
pub(crate) fn write<'a>(
    directory: &Path,
    parts: impl Iterator<Item = &'a Part>,
    scale: &Scale,
) -> io::Result<Vec<String>> {
    let pictures = directory.join("evaluation");
    std::fs::create_dir_all(&pictures)?;
    let mut page = String::from(include_str!("head.md"));
    let mut wrong = Vec::new();
    for part in parts {
        println!("{:<14} {} …", part.name, part.title);
        let begun = Instant::now();
        let section = (part.run)(scale);
        println!("{}", section.body.trim_end());
        println!("{:<14} took {:.1} s\n", part.name, begun.elapsed().as_secs_f64());
        let _ = write!(page, "\n## {}\n\n{}", part.title, section.body);
        for picture in &section.pictures {
            std::fs::write(pictures.join(format!("{}.svg", picture.name)), &picture.svg)?;
        }
        let missed = section.missed.iter().filter(|_| !scale.quick);
        wrong.extend(section.wrong.iter().chain(missed).map(|what| format!("{}: {what}", part.name)));
    }
    let path = directory.join("EVALUATION.md");
    std::fs::write(&path, page.trim_end().to_owned() + "\n")?;
    println!("written    {}", path.display());
    Ok(wrong)
}

/// A share as so many in a hundred.
pub(crate) fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$} %", share * 100.0)
}

/// A duration, in seconds or milliseconds.
pub(crate) fn time(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
