//! The list of `unsafe` in docs/security.md, compared with the code.

use std::collections::BTreeMap;
use std::fs;

use crate::command::{Done, output, program, root};

const LIST: &str = "docs/security.md";

/// Blocks, functions and implementations that say `unsafe`, in a source text. Comments do not count.
fn count(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.map(|line| {
        let items = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        items.iter().map(|item| line.matches(item).count()).sum::<usize>()
    })
    .sum()
}

/// What the list says: files and counts.
fn listed(text: &str) -> BTreeMap<String, usize> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let file = cells.next()?.strip_suffix('`')?;
        Some((file.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

/// Compares the list with every source file that git knows.
pub(crate) fn check() -> Done {
    let read = |path: &str| fs::read_to_string(root().join(path));
    let list = listed(&read(LIST).map_err(|error| format!("{LIST}: {error}"))?);
    let files = output(&mut program("git", &["ls-files", "crates", "tests"]))?;
    let mut found = BTreeMap::new();
    for path in files.lines().filter(|path| path.ends_with(".rs")) {
        let count = read(path).map_or(0, |text| count(&text));
        if count > 0 {
            found.insert(path.to_owned(), count);
        }
    }
    if found == list {
        return Ok(());
    }
    Err(format!("{LIST} lists `unsafe` as {list:?}, and there is {found:?}"))
}
