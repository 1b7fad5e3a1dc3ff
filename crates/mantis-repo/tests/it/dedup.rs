//! Pages that are stored already are not stored again.

use mantis_repo::{
    BackupInfo, BackupWriter, CompactOptions, PruneOptions, Purpose, Repository, Session,
    UnixMillis, VerifyOptions, WriteOptions,
};
use mantis_sink::Sink;
use mantis_stream::{CancellationToken, Compression};
use proptest::prelude::*;

use crate::world::{
    SIZE, backup, content, in_memory, incremental, meta, plain, restore, touch, write,
};

/// Pages that are all different, and do not compress.
fn noise(seed: u64, pages: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::new();
    for _ in 0..pages * SIZE.bytes() as u64 / 8 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes
}

async fn first_of(repo: &Repository, entropy: u8, source: &str, bytes: &[u8]) -> BackupInfo {
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], "test", UnixMillis(0));
    let session = session.await.unwrap();
    let others = session.others(source, 16).await.unwrap();
    let meta = meta(source, entropy.into(), bytes);
    let mut writer = BackupWriter::new(session, meta, None, plain(Compression::None)).unwrap();
    for other in &others {
        writer.learn(other).await.unwrap();
    }
    write(&mut writer, bytes, 300).await.unwrap();
    writer.commit(1, None).await.unwrap()
}

#[test]
fn identical_pages_of_a_backup_are_stored_once() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let one = noise(3, 500);
        let mut bytes = one.clone();
        bytes.extend_from_slice(&noise(4, 2000));
        bytes.extend_from_slice(&one);
        // One page a thousand times.
        for _ in 0..1000 {
            bytes.extend_from_slice(&one[512..1024]);
        }
        let info = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let info = info.await.unwrap();
        let stored = 2500 * 512;
        assert!(
            info.bytes_stored < stored + stored / 10,
            "{} of {}",
            info.bytes_stored,
            bytes.len()
        );
        assert!(restore(&repo, &info).await.unwrap() == bytes);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        let options = WriteOptions { known_pages: 0, ..plain(Compression::None) };
        let without = backup(&repo, 3, meta("b", 1, &bytes), &bytes, options).await.unwrap();
        assert!(without.bytes_stored > bytes.len() as u64);
        assert_eq!(without.fingerprint, info.fingerprint);
        // A backup that is built on it, and one built on that.
        let mut later = bytes.clone();
        for (entropy, page) in [(4u8, 2600u64), (5, 10)] {
            touch(&mut later, page, entropy);
            let meta = meta("a", entropy.into(), &later);
            let next = incremental(&repo, entropy, meta, &later, None).await.unwrap();
            assert_eq!(next.pages_changed, 1);
            assert!(restore(&repo, &next).await.unwrap() == later);
        }
    });
}

#[test]
fn a_database_made_of_the_same_template_costs_what_differs() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let template = noise(7, 3000);
        let one = first_of(&repo, 2, "tenant-1", &template).await;
        let mut other = template.clone();
        for page in 0..30 {
            touch(&mut other, page * 97, 200);
        }
        let two = first_of(&repo, 3, "tenant-2", &other).await;
        assert!(
            two.bytes_stored < one.bytes_stored / 20,
            "{} of {}",
            two.bytes_stored,
            one.bytes_stored
        );
        assert!(restore(&repo, &two).await.unwrap() == other);
        // Whoever is forgotten, the other stays whole.
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &[one.id], [9; 32], UnixMillis(0)).await.unwrap();
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        repo.prune(options, [10; 32], UnixMillis(1 << 40)).await.unwrap();
        assert!(restore(&repo, &two).await.unwrap() == other);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        // What it borrows is lost: that is found, and named.
        let manifest = repo.manifest(&two).await.unwrap();
        let borrowed = manifest.segments().find(|segment| segment.session == one.session).unwrap();
        let key = mantis_repo::Place::Segment(borrowed.session, borrowed.hash).key().unwrap();
        sink.delete(&key).await.unwrap();
        assert!(restore(&repo, &two).await.unwrap_err().is_damage());
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert!(report.damaged.iter().any(|damage| damage.backups == [two.id]));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]
    /// Databases of few kinds of page, so that nearly everything is borrowed; kept, forgotten, put together.
    #[test]
    fn whatever_is_borrowed_restores(
        steps in prop::collection::vec((prop::collection::vec(0u8..6, 1..60), 0u8..2, 0u8..5), 1..8),
    ) {
        let (runtime, _, repo) = in_memory();
        runtime.block_on(async {
            let mut made: Vec<(BackupInfo, Vec<u8>)> = Vec::new();
            let pattern = content(8, 12);
            for (entropy, (pages, source, what)) in (2u8..).zip(steps) {
                let bytes: Vec<u8> = pages
                    .iter()
                    .flat_map(|page| pattern[usize::from(*page) * 1024..][..512].to_vec())
                    .collect();
                let source = format!("s{source}");
                let info = if what == 0 {
                    first_of(&repo, entropy, &source, &bytes).await
                } else {
                    incremental(&repo, entropy, meta(&source, entropy.into(), &bytes), &bytes, None).await.unwrap()
                };
                made.push((info, bytes));
                if what == 1 {
                    let (gone, _) = made.remove(0);
                    let catalogue = repo.catalogue().await.unwrap();
                    repo.forget(&catalogue, &[gone.id], [entropy; 32], UnixMillis(0)).await.unwrap();
                }
                if what == 2 {
                    let options = CompactOptions {
                        max_unused: 0.0,
                        dry_run: false,
                        owner: "test".into(),
                        cancel: CancellationToken::new(),
                    };
                    repo.compact(&options, [entropy + 100; 32], UnixMillis(0)).await.unwrap();
                    let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
                    repo.prune(options, [entropy + 50; 32], UnixMillis(1 << 40)).await.unwrap();
                }
            }
            let backups = repo.catalogue().await.unwrap().backups;
            assert_eq!(backups.len(), made.len());
            for (info, wanted) in &made {
                let now = backups.iter().find(|backup| backup.id == info.id).unwrap();
                assert!(restore(&repo, now).await.unwrap() == *wanted);
            }
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        });
    }
}
