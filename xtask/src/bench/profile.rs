//! Where the time of each main path goes, by `perf`, into `docs/profiles.md`.

use super::report::{Report, number};
use super::shell::shell;
use super::{Bench, MUTATE};
use crate::command::{Done, exists, output};

/// Functions that are shown of each path.
const SHOWN: usize = 14;

/// The share and the name of a function, from a line of `perf report`.
fn function(line: &str) -> Option<(f64, String)> {
    let (share, rest) = line.trim().split_once('%')?;
    let share = share.trim().parse().ok()?;
    let kernel = rest.contains("[k]");
    let name = rest.split_once("] ").map_or(rest, |(_, name)| name).trim();
    // Columns of newer versions of perf follow.
    let name = name.split("  ").next().unwrap_or(name);
    // A hash at the end, and generic arguments, say nothing to a reader.
    let name = name
        .split_once("::h")
        .map_or(name, |(name, hash)| if hash.len() == 16 { name } else { line.trim() });
    let name = name.replace('|', "\\|");
    Some((share, if kernel { format!("{name} (kernel)") } else { name }))
}

pub(super) fn run(bench: &Bench, mib: u64, _: u64) -> Done {
    if !exists("perf") {
        return Err("profiles need perf (linux-perf)".into());
    }
    bench.database("base.db", mib)?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let repo = format!("--repo {work}/repo");
    let fresh = format!(
        "rm -rf {work}/repo {work}/out {work}/t.db*; mkdir {work}/out; cp {work}/base.db {work}/t.db; {mantis} -q init {repo}; sync; cat {work}/t.db >/dev/null"
    );
    let backup =
        |codec: &str| format!("{mantis} -q backup {work}/t.db {repo} --compression {codec}");
    let filled = format!("{fresh}; {}", backup("zstd:1"));
    let changed =
        format!("{filled}; python3 -c '{}' {work}/t.db 0.01; sync", MUTATE.replace('\'', "'\\''"));
    let paths = [
        ("Full backup, none", fresh.clone(), backup("none")),
        ("Full backup, zstd:1", fresh, backup("zstd:1")),
        ("1% changed, by scan", changed, backup("zstd:1")),
        (
            "Restore, zstd:1",
            filled.clone(),
            format!("{mantis} -q restore latest --to {work}/out/r.db {repo}"),
        ),
        ("Verify, zstd:1", filled, format!("{mantis} -q verify {repo}")),
    ];
    let mut report = Report::on("docs/profiles.md", "profiles", "Where the time goes");
    report.say(&format!("{mib} MiB SQLite; samples of all cores, in the command's own time; the share of each function itself. On {}.", super::report::machine()));
    for (name, before, step) in paths {
        output(&mut shell(&before))?;
        output(&mut shell(&format!(
            "perf record -q -F 999 -o {work}/perf.data {step} >/dev/null 2>&1"
        )))?;
        let text = output(&mut shell(&format!(
            "perf report -i {work}/perf.data --stdio --no-children -g none --sort symbol 2>/dev/null | grep -v '^#'"
        )))?;
        let mut rows = vec![["% of samples", "function"].map(str::to_owned).to_vec()];
        let functions = text.lines().filter_map(function).take(SHOWN);
        rows.extend(functions.map(|(share, name)| vec![number(share), name]));
        report.say(&format!("**{name}**"));
        report.table(&rows);
    }
    output(&mut shell(&format!("cd {work} && rm -rf repo out t.db* perf.data")))?;
    report.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_perf_has_a_share_and_a_name() {
        let of_kernel = "    18.87%  [k] copy_folio_from_iter_atomic        -      -   ";
        assert_eq!(
            function(of_kernel),
            Some((18.87, "copy_folio_from_iter_atomic (kernel)".into()))
        );
        let ours = " 0.94%  [.] mantis_repo::twins::Twins::sift::h0123456789abcdef";
        assert_eq!(function(ours), Some((0.94, "mantis_repo::twins::Twins::sift".into())));
        assert_eq!(function("# comment"), None);
    }
}
