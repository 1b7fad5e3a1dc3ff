//! Bars, as SVG that is read at a glance: no script, no font of its own, bright and dark pages alike.

use std::fmt::Write;

/// The width of a plot.
const WIDTH: f64 = 760.0;
/// Where bars begin.
const LEFT: f64 = 210.0;
/// The longest bar.
const LONGEST: f64 = 440.0;
const ROW: f64 = 22.0;

/// Bars under each other, ours in another colour.
pub(super) struct Plot {
    /// What it shows, with the unit.
    pub(super) title: String,
    /// The name, the value, and how the value is written.
    pub(super) bars: Vec<(String, f64, String)>,
    /// Values so far apart that their logarithms are drawn.
    pub(super) logarithmic: bool,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Plot {
    /// How long a bar is, of the longest.
    fn share(&self, value: f64) -> f64 {
        let most = self.bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
        let share = if self.logarithmic {
            (1.0 + value.max(0.0)).ln() / (1.0 + most).ln()
        } else {
            value / most
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    pub(super) fn svg(&self) -> String {
        let height = 44.0 + ROW * self.bars.len() as f64;
        let note = if self.logarithmic { ", logarithmic" } else { "" };
        let title = escaped(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
             <title>{title}</title>\n\
             <style>text{{font:13px system-ui,sans-serif;fill:#24292f}}.head{{font-weight:600}}.other{{fill:#9aa4af}}.ours{{fill:#1a7f64}}\
             @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.other{{fill:#6e7781}}.ours{{fill:#3fb68b}}}}</style>\n\
             <text class=\"head\" x=\"8\" y=\"22\">{title}{note}</text>\n"
        );
        for (at, (name, value, shown)) in self.bars.iter().enumerate() {
            let top = 36.0 + ROW * at as f64;
            let length = LONGEST * self.share(*value);
            let class = if name.starts_with("mantis") { "ours" } else { "other" };
            let (base, end) = (top + 13.0, LEFT + length + 6.0);
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/><text x=\"{end:.0}\" y=\"{base:.0}\">{}</text>",
                LEFT - 8.0,
                escaped(name),
                length.max(1.0),
                escaped(shown)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_longest_and_names_are_no_markup() {
        let bar = |name: &str, value: f64| (name.to_owned(), value, format!("{value} s"));
        let mut plot = Plot {
            title: "a < b".into(),
            bars: vec![bar("mantis", 1.0), bar("other & co", 4.0), bar("none", f64::NAN)],
            logarithmic: false,
        };
        assert_eq!([1.0, 4.0, f64::NAN].map(|value| plot.share(value)), [0.25, 1.0, 0.0]);
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("other &amp; co"), "{svg}");
        assert!(svg.contains("width=\"110.0\"") && svg.contains("width=\"440.0\""), "{svg}");
        plot.logarithmic = true;
        assert!(plot.share(1.0) > 0.4);
    }
}
