//! The tools that are compared: the same six things done by each, as far as it does them.

use super::Bench;

/// How a tool is used, as steps in a shell. The database is `t.db`, the repository `repo`, what is restored goes into `out`.
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) init: String,
    /// Also what makes an incremental, where `is_repository`.
    pub(super) backup: String,
    pub(super) restore: String,
    pub(super) verify: Option<String>,
    /// Forgets all but the newest backup, and frees what only they needed.
    pub(super) prune: Option<String>,
    /// Whether a second backup stores what changed; else it does all again.
    pub(super) is_repository: bool,
    /// Whether what is restored is the database, byte for byte.
    pub(super) exact: bool,
}

fn copier(name: &str, work: &str, (backup, restore): (String, String)) -> Tool {
    Tool {
        name: name.into(),
        init: format!("mkdir {work}/repo"),
        backup,
        restore,
        verify: None,
        prune: None,
        is_repository: false,
        exact: name.starts_with("cp") || name.starts_with("zstd"),
    }
}

fn copiers(work: &str) -> Vec<Tool> {
    let (db, kept, out) =
        (format!("{work}/t.db"), format!("{work}/repo/a"), format!("{work}/out/r.db"));
    let back = format!("cp {kept} {out}; sync {out}");
    vec![
        copier("cp + fsync", work, (format!("cp {db} {kept}; sync {kept}"), back.clone())),
        copier(
            "zstd -1 -T2 + fsync",
            work,
            (
                format!("zstd -q -f -1 -T2 {db} -o {kept}; sync {kept}"),
                format!("zstd -q -f -d {kept} -o {out}; sync {out}"),
            ),
        ),
        copier("sqlite3 .backup", work, (format!("sqlite3 {db} '.backup {kept}'"), back.clone())),
        copier("VACUUM INTO", work, (format!("sqlite3 {db} \"vacuum into '{kept}'\""), back)),
    ]
}

/// What `mantis` is compared as: a codec, and whether it encrypts.
const OURS: [(&str, bool); 7] = [
    ("none", false),
    ("lz4", false),
    ("zstd:1", false),
    ("zstd:3", false),
    ("gzip", false),
    ("none", true),
    ("zstd:1", true),
];

fn ours(bench: &Bench, work: &str) -> impl Iterator<Item = Tool> {
    let (mantis, repo) = (bench.mantis.clone(), format!("--repo {work}/repo"));
    let work = work.to_owned();
    OURS.into_iter().map(move |(codec, encrypted)| {
        let (with, kind) = if encrypted { ("MANTIS_PASSWORD=x ", ", encrypted") } else { ("", "") };
        let run = |arguments: &str| format!("{with}{mantis} -q {arguments} {repo}");
        let prune = [run("forget --keep-last 1"), run("prune --grace 0s")].join("; ");
        Tool {
            name: format!("mantis, {codec}{kind}"),
            init: run("init"),
            backup: run(&format!("backup {work}/t.db --compression {codec}")),
            restore: run(&format!("restore latest --to {work}/out/r.db")),
            verify: Some(run("verify")),
            prune: Some(prune),
            is_repository: true,
            exact: true,
        }
    })
}

fn peer(name: &str, [init, backup, restore, verify, prune]: [String; 5]) -> Tool {
    let (verify, prune) = (Some(verify), Some(prune));
    Tool {
        name: name.into(),
        init,
        backup,
        restore,
        verify,
        prune,
        is_repository: true,
        exact: true,
    }
}

fn peers(bench: &Bench, work: &str) -> Vec<Tool> {
    let (db, out) = (format!("{work}/t.db"), format!("{work}/out"));
    let restic = |what: &str| format!("RESTIC_PASSWORD=x restic -q -r {work}/repo {what}");
    let rustic = |what: &str| {
        format!(
            "RUSTIC_PASSWORD=x RUSTIC_REPOSITORY={work}/repo RUSTIC_NO_PROGRESS=true {} {what} >/dev/null 2>&1",
            bench.rustic
        )
    };
    let repo = format!("{work}/repo");
    let borg =
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes borg";
    vec![
        peer(
            "restic (encrypts)",
            [
                restic("init"),
                restic(&format!("backup {db}")),
                restic(&format!("restore latest -t {out}")),
                restic("check --read-data"),
                restic("forget --keep-last 1 --prune"),
            ],
        ),
        peer(
            "rustic (encrypts)",
            [
                rustic("init"),
                rustic(&format!("backup {db}")),
                rustic(&format!("restore latest {out}")),
                rustic("check --read-data"),
                rustic("forget --keep-last 1 --prune --instant-delete"),
            ],
        ),
        peer(
            "borg, zstd,1",
            [
                format!("{borg} init -e none {repo} 2>/dev/null"),
                format!("{borg} create -C zstd,1 {repo}::{{now:%s.%f}} {db}"),
                format!(
                    "cd {out} && {borg} extract {repo}::$({borg} list --short --last 1 {repo})"
                ),
                format!("{borg} check --verify-data {repo}"),
                format!("{borg} prune --keep-last 1 {repo}; {borg} compact {repo}"),
            ],
        ),
    ]
}

/// All tools that are installed.
pub(super) fn all(bench: &Bench) -> Vec<Tool> {
    let work = bench.work.display().to_string();
    let mut tools = copiers(&work);
    tools.extend(ours(bench, &work));
    tools.extend(peers(bench, &work).into_iter().filter(|tool| {
        let program = tool.name.split(|c: char| !c.is_ascii_alphabetic()).next();
        bench.installed.iter().any(|installed| Some(*installed) == program)
    }));
    tools
}
