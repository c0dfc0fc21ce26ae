//! A drawing of something over time, in panels one below another.

use std::fmt::Write;
use std::time::Duration;

/// Where a panel stands, in pixels.
pub(crate) struct Panel {
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

pub(crate) struct Sheet {
    /// Where all panels begin and end, in pixels.
    left: f64,
    right: f64,
    /// When the time ends that they show.
    ends: Duration,
    pub(crate) out: String,
}

impl Panel {
    /// Where a share of the height is.
    pub(crate) fn y(&self, share: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * share
    }
}

impl Sheet {
    pub(crate) fn open(width: u32, height: u32, left: f64, right: f64, ends: Duration) -> Self {
        let out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
        );
        Self { left, right, ends, out }
    }

    pub(crate) fn close(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    pub(crate) fn x(&self, at: Duration) -> f64 {
        self.left + (self.right - self.left) * at.as_secs_f64() / self.ends.as_secs_f64()
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>");
    }

    /// What a colour stands for.
    pub(crate) fn key(&mut self, x: f64, y: f64, colour: &str, name: &str) {
        let to = x + 26.0;
        let _ = writeln!(
            self.out,
            "<line x1=\"{x:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        self.text(x + 32.0, y + 4.0, "start", "fill=\"#333\"", name);
    }

    /// A horizontal line, and its name at the left.
    pub(crate) fn grid(&mut self, y: f64, name: &str) {
        let (left, right) = (self.left, self.right);
        let _ = writeln!(
            self.out,
            "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#888\" stroke-width=\"0.5\" stroke-opacity=\"0.4\"/>"
        );
        self.text(left - 8.0, y + 4.0, "end", "fill=\"#333\"", name);
    }

    /// What an axis shows, along it.
    pub(crate) fn upright(&mut self, x: f64, panel: &Panel, colour: &str, name: &str) {
        let y = f64::midpoint(panel.top, panel.bottom);
        self.text(x, y, "middle", &format!("fill=\"{colour}\" transform=\"rotate(-90 {x} {y})\""), name);
    }

    pub(crate) fn line(&mut self, points: &[(Duration, f64)], y: impl Fn(f64) -> f64, colour: &str, width: &str) {
        self.out.push_str("<polyline points=\"");
        for &(at, value) in points {
            let x = self.x(at);
            let _ = write!(self.out, "{x:.1},{:.1} ", y(value));
        }
        let _ = writeln!(self.out, "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }

    /// Marks a time in all these panels; at least so many pixels of it.
    pub(crate) fn shade(&mut self, from: Duration, to: Duration, least: f64, panels: &[Panel], fill: &str) {
        let (x, width) = (self.x(from), (self.x(to) - self.x(from)).max(least));
        for Panel { top, bottom } in panels {
            let height = bottom - top;
            let _ = writeln!(
                self.out,
                "<rect x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>"
            );
        }
    }
}

/// To a number whose quarters are whole.
pub(crate) fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(40.0).log10().floor()) / 2.5;
    (value / unit).ceil() * unit
}
