//! Proves the picture in docs/architecture.md: which crate depends on which, and what is absent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::{Done, output, program};

/// Who points at whom. What is not here must not be there.
const ARROWS: &[(&str, &[&str])] = &[
    ("mantis-page", &[]),
    ("mantis-cow", &["mantis-page"]),
    ("mantis-snapshot", &["mantis-cow", "mantis-page"]),
    ("mantis-engine", &["mantis-cow", "mantis-page", "mantis-snapshot"]),
    ("mantis-stream", &[]),
    ("mantis-sink", &[]),
    ("mantis-repo", &["mantis-page", "mantis-sink", "mantis-stream"]),
    ("mantis-retention", &[]),
    ("mantis-schedule", &[]),
    (
        "mantis-backup",
        &[
            "mantis-cow",
            "mantis-engine",
            "mantis-page",
            "mantis-repo",
            "mantis-retention",
            "mantis-schedule",
            "mantis-sink",
            "mantis-snapshot",
            "mantis-stream",
        ],
    ),
    (
        "mantis-fuzz",
        &[
            "mantis-backup",
            "mantis-cow",
            "mantis-engine",
            "mantis-page",
            "mantis-repo",
            "mantis-schedule",
            "mantis-sink",
            "mantis-stream",
        ],
    ),
    (
        "mantis-sim",
        &[
            "mantis-cow",
            "mantis-page",
            "mantis-repo",
            "mantis-retention",
            "mantis-schedule",
            "mantis-sink",
            "mantis-snapshot",
            "mantis-stream",
        ],
    ),
    ("mantis-tests", &["mantis-backup", "mantis-sink"]),
    ("xtask", &[]),
];

/// Crates that a crate must not reach by any road, in its default build; the umbrella in that of a library, without the
/// command and its daemon, which serves metrics and calls webhooks.
const ABSENT: &[(&str, &[&str])] = &[
    ("mantis-page", &["tokio", "serde"]),
    ("mantis-cow", &["tokio", "futures", "serde"]),
    ("mantis-snapshot", &["tokio", "futures"]),
    ("mantis-engine", &["tokio"]),
    ("mantis-stream", &["mantis-page", "opendal", "aws-lc-sys"]),
    ("mantis-retention", &["tokio", "serde"]),
    ("mantis-schedule", &["tokio", "futures"]),
    ("mantis-backup", &["reqwest", "hyper", "rustls", "opendal", "openssl-sys"]),
];

/// The umbrella's features for programs that embed it.
const LIBRARY: &str = "sqlite,redb,file,encryption";

fn check_arrows(metadata: &Value) -> Done {
    let wanted: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    let ours = |name: &str| wanted.contains_key(name);
    let mut seen = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        seen.insert(name);
        let wanted = wanted
            .get(name)
            .ok_or(format!("{name} is not in the picture: add it to xtask and docs"))?;
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let found: BTreeSet<&str> = dependencies
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| ours(dependency))
            .collect();
        if found != *wanted {
            return Err(format!("{name} depends on {found:?}; the picture says {wanted:?}"));
        }
        // The umbrella is the only member whose tests may look upwards.
        let dev = package["dependencies"].as_array().into_iter().flatten();
        let up = dev.filter(|dependency| dependency["kind"].as_str() == Some("dev"));
        for dependency in up.filter_map(|dependency| dependency["name"].as_str()) {
            let allowed = !ours(dependency) || found.contains(dependency) || name == "mantis-tests";
            if !allowed {
                return Err(format!(
                    "the tests of {name} depend on {dependency}, which is no layer below it"
                ));
            }
        }
    }
    match wanted.keys().find(|name| !seen.contains(*name)) {
        Some(missing) => Err(format!("{missing} is in the picture but not in the workspace")),
        None => Ok(()),
    }
}

/// `cargo xtask arrows`
pub(crate) fn run() -> Done {
    let mut metadata =
        program("cargo", &["metadata", "--locked", "--format-version", "1", "--no-deps"]);
    let metadata = output(&mut metadata)?;
    check_arrows(&serde_json::from_str(&metadata).map_err(|error| error.to_string())?)?;
    for (package, absent) in ABSENT {
        let mut arguments = vec![
            "tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}",
        ];
        if *package == "mantis-backup" {
            arguments.extend(["--no-default-features", "--features", LIBRARY]);
        }
        let tree = output(&mut program("cargo", &arguments))?;
        let names: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        if let Some(found) = absent.iter().find(|absent| names.contains(*absent)) {
            return Err(format!("{package} reaches {found}, which it must not"));
        }
    }
    eprintln!("arrows: {} crates as drawn", ARROWS.len());
    Ok(())
}
