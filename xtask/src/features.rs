//! Every crate with each of its features alone, with none, and the umbrella with all.

use crate::command::{Done, cargo};

/// Crates with features, and the features.
const FEATURES: &[(&str, &[&str])] = &[
    ("mantis-engine", &["sqlite", "redb", "file", "fuzzing"]),
    ("mantis-stream", &["encryption", "streams"]),
    (
        "mantis-sink",
        &["opendal", "testing", "remote", "s3", "gcs", "azblob", "webdav", "sftp", "full"],
    ),
    ("mantis-repo", &["encryption", "fuzzing"]),
    (
        "mantis-backup",
        &[
            "sqlite",
            "redb",
            "file",
            "encryption",
            "opendal",
            "s3",
            "gcs",
            "azblob",
            "webdav",
            "sftp",
            "streams",
            "daemon",
            "dashboard",
            "webhook",
            "email",
            "cli",
            "mount",
            "full",
        ],
    ),
];

/// `cargo xtask features`
pub(crate) fn run() -> Done {
    for (package, features) in FEATURES {
        let base = ["clippy", "--quiet", "--locked", "-p", package, "--no-default-features"];
        let deny = ["--", "-D", "warnings"];
        cargo(&[&base[..], &deny].concat())?;
        for feature in *features {
            cargo(&[&base[..], &["--features", feature], &deny].concat())?;
        }
    }
    Ok(())
}
