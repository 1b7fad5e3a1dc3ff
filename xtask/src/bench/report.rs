//! Writes what was measured into `docs/benchmarks.md`, or another page, each part in its own place, and the plots beside it.
//!
//! A part stands between two comments that name it. What a person wrote around them stays; a part that is new comes last.

use std::fmt::Write;
use std::fs;

use super::plot::Plot;
use crate::command::{Done, output, program, root};

/// One part of a page.
pub(super) struct Report {
    page: &'static str,
    name: &'static str,
    text: String,
}

/// A number as people read it: three digits that count.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => String::new(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.095.. => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.3}"),
    }
}

/// Bytes as people read them.
pub(super) fn bytes(value: f64) -> String {
    match value {
        _ if value.is_nan() => String::new(),
        1e12.. => format!("{} TB", number(value / 1e12)),
        1e10.. => format!("{} GB", number(value / 1e9)),
        1e6.. => format!("{} MB", number(value / 1e6)),
        1e4.. => format!("{:.0} kB", value / 1e3),
        _ => format!("{value:.0} B"),
    }
}

impl Report {
    /// A part with a heading.
    pub(super) fn new(name: &'static str, heading: &str) -> Self {
        Self::on("docs/benchmarks.md", name, heading)
    }

    /// A part of another page.
    pub(super) fn on(page: &'static str, name: &'static str, heading: &str) -> Self {
        Self { page, name, text: format!("## {heading}\n") }
    }

    /// A paragraph.
    pub(super) fn say(&mut self, paragraph: &str) {
        let _ = write!(self.text, "\n{paragraph}\n");
    }

    /// A table; its first row is what the columns are.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        self.text.push('\n');
        for (at, row) in rows.iter().enumerate() {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
            if at == 0 {
                let _ = writeln!(self.text, "|{}", " --- |".repeat(row.len()));
            }
        }
    }

    /// A plot, in a file of its own.
    pub(super) fn plot(&mut self, file: &str, plot: &Plot) -> Done {
        let folder = root().join("docs/plots");
        let path = folder.join(format!("{file}.svg"));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, plot.svg()));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        self.say(&format!("![{}](plots/{file}.svg)", plot.title));
        Ok(())
    }

    /// Puts the part into the page, in the place of what it was before, and prints it.
    pub(super) fn write(self) -> Done {
        println!("{}", self.text);
        let page = root().join(self.page);
        let failed = |error| format!("{}: {error}", page.display());
        let old = fs::read_to_string(&page).map_err(failed)?;
        fs::write(&page, replaced(&old, self.name, &self.text)).map_err(failed)
    }
}

fn replaced(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let part = format!("{begin}{text}{end}");
    let place = page.find(&begin).and_then(|from| {
        let to = from + page[from..].find(&end)? + end.len();
        Some(from..to)
    });
    match place {
        Some(place) => format!("{}{part}{}", &page[..place.start], &page[place.end..]),
        None => format!("{}\n\n{part}", page.trim_end()),
    }
}

/// What was measured on: cores and their model, the kernel, the file system.
pub(super) fn machine() -> String {
    let ask = |script: &str| output(&mut program("bash", &["-c", script])).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = ask("sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1");
    let kernel = ask("uname -r | cut -d. -f1,2");
    let disk = ask("stat -f -c %T target");
    format!("{cores} cores ({}), Linux {}, {}", model.trim(), kernel.trim(), disk.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_the_place_of_what_it_was_and_nothing_else() {
        let page = "# Page\n\nwords\n";
        let once = replaced(page, "a", "one\n");
        assert_eq!(once, "# Page\n\nwords\n\n<!-- a -->\none\n<!-- end of a -->\n");
        let both = replaced(&once, "b", "two\n");
        let again = replaced(&both, "a", "three\n");
        assert!(again.contains("three") && again.contains("two") && !again.contains("one"));
        assert_eq!(replaced(&again, "a", "three\n"), again);
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = [1234.5, 123.4, 12.34, 1.234, 0.1234, 0.01234, 0.0].map(number);
        assert_eq!(shown, ["1234", "123", "12.3", "1.23", "0.12", "0.012", "0"]);
        let shown = [790.0, 24_000.0, 5.5e6, 1.074e9, 8.5e12].map(bytes);
        assert_eq!(shown, ["790 B", "24 kB", "5.50 MB", "1074 MB", "8.50 TB"]);
    }
}
