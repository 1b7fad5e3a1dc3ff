//! Small rooms: file sizes, module docs, left-over words.

use std::fs;

use crate::command::{Done, output, program, root};

/// The longest source file, in lines.
const MAX_LINES: usize = 420;
/// Words that say that something is not finished.
const LEFT_OVER: [&str; 3] = ["todo!(", "unimplemented!(", concat!("FIX", "ME")];

fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    let is_test = path.contains("/tests/") || path.starts_with("tests/");
    if lines > MAX_LINES && !is_test {
        faults.push(format!("{lines} lines: more than one idea?"));
    }
    if !text.starts_with("//!") {
        faults.push("its first line does not say what it is for (//!)".into());
    }
    if !path.starts_with("xtask/") {
        faults.extend(
            LEFT_OVER
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{word} is left over")),
        );
    }
    let blank = text.lines().position(|line| line.ends_with([' ', '\t']));
    faults.extend(blank.map(|line| format!("line {} ends in a blank", line + 1)));
    faults
}

/// `cargo xtask tidy`
pub(crate) fn run() -> Done {
    let files = output(&mut program("git", &["ls-files", "*.rs"]))?;
    let mut found = Vec::new();
    for path in files.lines() {
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        found.extend(faults(path, &text).into_iter().map(|fault| format!("{path}: {fault}")));
    }
    if found.is_empty() { crate::unsafe_inventory::check() } else { Err(found.join("\n")) }
}
