//! The format's document is enough: a reader in another language, written from it, restores every fixture and what
//! the command makes today.

use std::path::{Path, PathBuf};
use std::process::Command;

use mantis_tests::{World, make_bank};
use serde_json::Value;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the reader; its packages are where `cargo xtask test` puts them, or installed.
fn read(repo: &Path, arguments: &[&str]) -> String {
    let identity = repo.with_file_name("identity.txt");
    let output = Command::new("python3")
        .arg(here().join("reader/mantis_reader.py"))
        .arg(repo)
        .args(arguments)
        .env("PYTHONPATH", here().join("../target/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MANTIS_PASSWORD", "fixture")
        .env(
            "MANTIS_IDENTITY_FILE",
            if identity.exists() { identity.as_os_str() } else { "".as_ref() },
        )
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", repo.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn another_reader_restores_every_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("restored");
    let mut backups = 0;
    for entry in std::fs::read_dir(here().join("fixtures/v1")).unwrap() {
        let kind = entry.unwrap().path();
        let expected = std::fs::read(kind.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let ids: Vec<&str> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| backup["id"].as_str().unwrap())
            .collect();
        let listed = read(&kind.join("repo"), &["list"]);
        assert_eq!(listed.lines().collect::<Vec<_>>(), ids);
        for backup in expected.as_array().unwrap() {
            let id = backup["id"].as_str().unwrap();
            read(&kind.join("repo"), &["restore", id, target.to_str().unwrap()]);
            let bytes = std::fs::read(&target).unwrap();
            assert_eq!(backup["len"], bytes.len());
            assert_eq!(backup["crc32"], crc32fast::hash(&bytes), "{id} of {}", kind.display());
            backups += 1;
        }
    }
    assert!(backups >= 16, "{backups} backups");
}

#[test]
fn another_reader_restores_what_the_command_makes() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 1024);
    for codec in ["none", "lz4", "zstd", "gzip"] {
        let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
        db.execute("update account set balance = balance + 0 where id = 1", []).unwrap();
        let backup = world.ok(&["backup", "bank.db", "--compression", codec, "--full"]);
        let id = backup["id"].as_str().unwrap();
        read(&world.path("repo"), &["restore", id, world.path("r.db").to_str().unwrap()]);
        let same = std::fs::read(world.path("r.db")).unwrap()
            == std::fs::read(world.path("bank.db")).unwrap();
        assert!(same, "{codec}");
    }
}
