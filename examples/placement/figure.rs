//! The curves as a picture.

use std::fmt::Write;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 64.0;
const GAP: f64 = 28.0;
const LOWEST: f64 = 0.4;

/// A curve's name, its colour and its dashes. The first two lie on each other for the most part: both must be seen.
pub(crate) const CURVES: [(&str, &str, &str); 4] = [
    ("strategy 1", "#d55e00", "none"),
    ("strategy 2", "#6a3d9a", "5 5"),
    ("strategy 3", "#0072b2", "none"),
    ("quorate", "#00805a", "none"),
];

/// One of the pictures side by side.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// Of each curve a value for each point, and what the paper has there, if it has.
    pub(crate) curves: [Vec<(f64, Option<f64>)>; 4],
}

/// The panels as SVG, over what is remembered of the ring: `metadata` of each point.
pub(crate) fn svg(metadata: &[usize], panels: &[Panel]) -> String {
    let width = LEFT + panels.len() as f64 * (WIDTH + GAP);
    let height = TOP + HEIGHT + 64.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut line = |text: String| writeln!(out, "{text}").expect("a string has room");
    line(format!("<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">Load-balancing efficiency, 30 nodes, 3 copies</text>"));
    let first = metadata.first().copied().unwrap_or(1) as f64;
    let last = metadata.last().copied().unwrap_or(2) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - (value.max(LOWEST) - LOWEST) / (1.0 - LOWEST));
    for (number, panel) in panels.iter().enumerate() {
        let left = LEFT + number as f64 * (WIDTH + GAP);
        let x = |value: usize| left + WIDTH * (value as f64 / first).ln() / (last / first).ln();
        line(format!("<text x=\"{left}\" y=\"{}\">{}</text>", TOP - 10.0, panel.title));
        for tenth in 4..=10 {
            let (value, at) = (f64::from(tenth) / 10.0, y(f64::from(tenth) / 10.0));
            line(format!("<path d=\"M{left} {at}h{WIDTH}\" stroke=\"#e3e3e3\"/>"));
            if number == 0 {
                line(format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value:.1}</text>", left - 8.0, at + 4.0));
            }
        }
        for &value in metadata.iter().step_by(2) {
            let at = TOP + HEIGHT + 18.0;
            line(format!("<text x=\"{}\" y=\"{at}\" text-anchor=\"middle\">{value}</text>", x(value)));
        }
        for ((_, colour, dashes), curve) in CURVES.iter().zip(&panel.curves) {
            let points: Vec<String> = metadata
                .iter()
                .zip(curve)
                .map(|(&metadata, &(value, _))| format!("{:.1},{:.1}", x(metadata), y(value)))
                .collect();
            line(format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
                points.join(" ")
            ));
            for (&metadata, published) in metadata.iter().zip(curve.iter().map(|point| point.1)) {
                let Some(published) = published else { continue };
                let (x, y) = (x(metadata), y(published));
                line(format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#fff\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
                ));
            }
        }
    }
    let legend = TOP + HEIGHT + 46.0;
    for (number, (name, colour, dashes)) in CURVES.iter().enumerate() {
        let left = LEFT + number as f64 * 130.0;
        line(format!(
            "<path d=\"M{left} {}h26\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
            legend - 4.0
        ));
        line(format!("<text x=\"{}\" y=\"{legend}\">{name}</text>", left + 32.0));
    }
    let left = LEFT + 540.0;
    line(format!(
        "<circle cx=\"{left}\" cy=\"{}\" r=\"4\" fill=\"#fff\" stroke=\"#222\" stroke-width=\"1.5\"/>",
        legend - 4.0
    ));
    line(format!("<text x=\"{}\" y=\"{legend}\">published (Dynamo, Figure 8)</text>", left + 10.0));
    let right = LEFT + panels.len() as f64 * (WIDTH + GAP) - GAP;
    let across = "across: tokens or partitions to remember, by powers; up: mean load over that of the busiest node";
    line(format!("<text x=\"{right}\" y=\"20\" text-anchor=\"end\">{across}</text>"));
    out.push_str("</svg>\n");
    out
}
