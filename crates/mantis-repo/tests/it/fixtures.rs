//! Repositories of format version 1, as they were written when it was made: readable for ever.
//!
//! `tests/fixtures/v1/<kind>/repo` is a repository, and `expected.json` beside it what its backups hold. They
//! are never made again; the test that makes them is there to show how they came about, and for kinds to come.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mantis_repo::{Repository, UnixMillis, VerifyOptions};
use mantis_sink::{LocalSink, Sink};
use mantis_stream::Compression;
use serde_json::{Value, json};

use crate::world::{backup, content, incremental, meta, plain, restore, touch};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v1")
}

/// Content is compared by a hash that is none of the format's own.
fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A copy, so that nothing can write to the fixture.
fn copied(kind: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&kind.join("repo"), folder.path());
    folder
}

/// The identity that opens a fixture, where it is for one.
#[cfg(feature = "encryption")]
fn identity(kind: &Path) -> Option<mantis_repo::Identity> {
    let text = std::fs::read_to_string(kind.join("identity.txt")).ok()?;
    mantis_repo::Identity::parse_file(&text).unwrap().pop()
}

async fn open(sink: Arc<dyn Sink>, kind: &Path) -> Option<Repository> {
    if !Repository::is_encrypted_at(&*sink).await.unwrap() {
        return Some(Repository::open(sink, None).await.unwrap());
    }
    #[cfg(feature = "encryption")]
    {
        let credential = match identity(kind) {
            Some(identity) => mantis_repo::Credential::Identities(vec![identity]),
            None => mantis_repo::Password::new("fixture".into()).into(),
        };
        Some(Repository::open(sink, Some(&credential)).await.unwrap())
    }
    #[cfg(not(feature = "encryption"))]
    {
        let _ = kind;
        None
    }
}

#[test]
fn every_kind_restores_verifies_and_is_built_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut kinds = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let kind = entry.unwrap().path();
        let expected = std::fs::read(kind.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let copy = copied(&kind);
        runtime.block_on(async {
            let sink: Arc<dyn Sink> = Arc::new(LocalSink::new(copy.path()));
            let Some(repo) = open(sink, &kind).await else { return };
            let backups = repo.catalogue().await.unwrap().backups;
            let wanted = expected.as_array().unwrap();
            assert_eq!(backups.len(), wanted.len(), "{}", kind.display());
            for (backup, wanted) in backups.iter().zip(wanted) {
                assert_eq!(wanted["id"], backup.id.to_string());
                let bytes = restore(&repo, backup).await.unwrap();
                assert_eq!(wanted["len"], bytes.len());
                assert_eq!(wanted["crc32"], crc(&bytes), "{}", kind.display());
            }
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
            let last = backups.last().unwrap();
            let mut bytes = restore(&repo, last).await.unwrap();
            touch(&mut bytes, 2, 0x5A);
            let meta = meta(&last.meta.source, i64::MAX, &bytes);
            let next = incremental(&repo, 200, meta, &bytes, None).await.unwrap();
            assert_eq!((next.parent, next.pages_changed), (Some(last.id), 1));
            assert!(restore(&repo, &next).await.unwrap() == bytes);
        });
        kinds += 1;
    }
    assert!(kinds >= 9, "{kinds} kinds");
}

/// An exported backup is a repository in one file.
#[test]
fn an_exported_backup_restores() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = folder().join("incremental/exported.mantis");
    let expected = std::fs::read(folder().join("incremental/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    runtime.block_on(async {
        let file = std::fs::File::open(&path).unwrap();
        let sink = mantis_repo::ArchiveSink::open("exported", file).unwrap();
        let repo = Repository::open(Arc::new(sink), None).await.unwrap();
        let backups = repo.catalogue().await.unwrap().backups;
        let wanted = expected.as_array().unwrap().last().unwrap();
        assert_eq!((backups.len(), &wanted["id"]), (1, &Value::from(backups[0].id.to_string())));
        assert_eq!(wanted["crc32"], crc(&restore(&repo, &backups[0]).await.unwrap()));
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
    });
}

async fn write_expected(kind: &Path, repo: &Repository) {
    let mut expected = Vec::new();
    for backup in repo.catalogue().await.unwrap().backups {
        let bytes = restore(repo, &backup).await.unwrap();
        let id = backup.id.to_string();
        expected.push(json!({ "id": id, "len": bytes.len(), "crc32": crc(&bytes) }));
    }
    std::fs::write(kind.join("expected.json"), format!("{:#}\n", Value::Array(expected))).unwrap();
}

/// Made for this: it opens nothing else.
#[cfg(feature = "encryption")]
const IDENTITY: &str =
    "AGE-SECRET-KEY-1VMC4DGJTMRYD5095E0PWQSUFS0T47EQCNKQ6DERWCU4WJF0N3CFS7QH793\n";

#[cfg(feature = "encryption")]
#[test]
#[ignore = "the fixtures of a version are made once"]
fn make_the_fixtures() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kinds = [
        ("none", Compression::None),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd(3)),
        ("gzip", Compression::Gzip(6)),
        ("incremental", Compression::Zstd(3)),
        ("encrypted", Compression::Zstd(3)),
        ("listed", Compression::Zstd(3)),
        ("borrowed", Compression::Zstd(3)),
        ("recipient", Compression::Lz4),
    ];
    for (name, compression) in kinds {
        let kind = folder().join(name);
        if kind.exists() {
            continue;
        }
        runtime.block_on(async {
            let sink: Arc<dyn Sink> = Arc::new(LocalSink::new(kind.join("repo")));
            let lock = match name {
                "encrypted" => Some(mantis_repo::KeyLock::Password(mantis_repo::Password::new(
                    "fixture".into(),
                ))),
                "recipient" => {
                    std::fs::create_dir_all(&kind).unwrap();
                    std::fs::write(kind.join("identity.txt"), IDENTITY).unwrap();
                    let recipient = identity(&kind).unwrap().recipient();
                    Some(mantis_repo::KeyLock::Recipient(recipient))
                }
                _ => None,
            };
            let key = lock.map(|lock| mantis_repo::NewKey { lock, label: "fixture".into() });
            let repo = Repository::init(sink, [7; 32], UnixMillis(1), key).await.unwrap();
            // Enough for more segments than a manifest lists itself; nearly all of it is zeros.
            let mut bytes = content(1, 50);
            if name == "listed" {
                bytes.resize(90 << 20, 0);
            }
            if name == "borrowed" {
                // Runs of pages that are there before, and single ones in any order.
                let once = bytes.clone();
                bytes.extend_from_slice(&once);
                for page in (0..40).rev() {
                    bytes.extend_from_slice(&once[page * 512..(page + 1) * 512]);
                }
            }
            backup(&repo, 2, meta("a", 1000, &bytes), &bytes, plain(compression)).await.unwrap();
            if matches!(name, "incremental" | "encrypted") {
                for (entropy, pages) in [(3u8, 60u64), (4, 30), (5, 45)] {
                    bytes.resize(pages as usize * 512, 3);
                    touch(&mut bytes, u64::from(entropy), entropy);
                    let meta = meta("a", i64::from(entropy) * 1000, &bytes);
                    incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
                }
                let (rotated, _) = match name {
                    "encrypted" => repo.rotate([8; 32]).await.unwrap(),
                    _ => (repo.clone(), 0),
                };
                touch(&mut bytes, 9, 9);
                let last = meta("a", 9000, &bytes);
                incremental(&rotated, 6, last, &bytes, None).await.unwrap();
                write_expected(&kind, &rotated).await;
                if name == "incremental" {
                    let backups = rotated.catalogue().await.unwrap().backups;
                    let out = std::fs::File::create(kind.join("exported.mantis")).unwrap();
                    rotated.export(backups.last().unwrap(), Box::new(out)).await.unwrap();
                }
            } else {
                write_expected(&kind, &repo).await;
            }
        });
    }
}
