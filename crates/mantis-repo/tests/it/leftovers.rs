//! An interrupted backup is gone on with: what arrived is not sent again.

use mantis_page::{PageNo, PageRun};
use mantis_repo::{
    BackupInfo, BackupWriter, Leftovers, PruneOptions, Purpose, RepoError, Repository, Session,
    UnixMillis, VerifyOptions, WriteOptions,
};
use mantis_sink::Sink;
use mantis_stream::Compression;

use crate::world::{SIZE, in_memory, meta, plain, restore, write};

fn options() -> WriteOptions {
    // As many pages are in flight on any machine.
    WriteOptions { segment_len: 64 << 10, jobs: 2, ..plain(Compression::None) }
}

fn pages(count: u64) -> Vec<u8> {
    (0..count).flat_map(|page| blake(page).into_iter().cycle().take(512)).collect()
}

fn blake(page: u64) -> [u8; 8] {
    page.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1).to_le_bytes()
}

/// A backup of which half arrives.
async fn half(repo: &Repository, entropy: u8, bytes: &[u8]) -> BackupWriter {
    part(repo, entropy, bytes, bytes.len() as u64 / 1024).await
}

/// A backup of which so many pages arrive, some of them from backups before.
async fn part(repo: &Repository, entropy: u8, bytes: &[u8], pages: u64) -> BackupWriter {
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], "dead", UnixMillis(0));
    let mut session = session.await.unwrap();
    let leftovers = session.leftovers(None, |owner| owner == "dead").await.unwrap();
    let mut writer = BackupWriter::new(session, meta("a", 1, bytes), None, options()).unwrap();
    writer.resume(&leftovers).await.unwrap();
    for page in 0..pages {
        let at = page as usize * 512;
        let content = bytes::Bytes::copy_from_slice(&bytes[at..at + 512]);
        let run = PageRun::new(PageNo::from_index(page).unwrap(), SIZE, content);
        writer.push(run.unwrap()).await.unwrap();
    }
    writer
}

async fn go_on(
    repo: &Repository,
    entropy: u8,
    bytes: &[u8],
) -> Result<(BackupInfo, Leftovers), RepoError> {
    let session = Session::begin(repo, Purpose::Backup, [entropy; 32], "alive", UnixMillis(0));
    let mut session = session.await?;
    let leftovers = session.leftovers(None, |owner| owner == "dead").await?;
    let mut writer = BackupWriter::new(session, meta("a", 2, bytes), None, options())
        .map_err(|failed| failed.1)?;
    writer.resume(&leftovers).await?;
    write(&mut writer, bytes, 100).await?;
    Ok((writer.commit(1, None).await?, leftovers))
}

#[test]
fn what_arrived_is_not_sent_again() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = pages(40_000);
        // Killed: it is neither ended nor given up.
        std::mem::forget(half(&repo, 2, &bytes).await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let arrived: u64 = sink.list("seg").await.unwrap().iter().map(|object| object.len).sum();
        assert!(arrived > 500_000, "{arrived}");
        let (info, leftovers) = go_on(&repo, 3, &bytes).await.unwrap();
        assert!(!leftovers.is_empty());
        assert!(info.bytes_stored < bytes.len() as u64 * 2 / 3, "{}", info.bytes_stored);
        assert!(restore(&repo, &info).await.unwrap() == bytes);
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        repo.prune(options, [4; 32], UnixMillis(1 << 40)).await.unwrap();
        assert!(restore(&repo, &info).await.unwrap() == bytes);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        assert!(sink.list("sess").await.unwrap().is_empty());
    });
}

#[test]
fn one_that_was_not_dead_after_all_loses_its_backup_and_takes_nothing_away() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = pages(30_000);
        for end in ["abandon", "commit"] {
            let mut sleeper = half(&repo, if end == "abandon" { 2 } else { 4 }, &bytes).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let entropy = if end == "abandon" { 3 } else { 5 };
            let (info, leftovers) = go_on(&repo, entropy, &bytes).await.unwrap();
            assert!(!leftovers.is_empty());
            if end == "abandon" {
                sleeper.abandon().await;
            } else {
                let half = bytes.len() / 1024;
                for page in half..bytes.len() / 512 {
                    let content = bytes::Bytes::copy_from_slice(&bytes[page * 512..][..512]);
                    let page = PageNo::from_index(page as u64).unwrap();
                    sleeper.push(PageRun::new(page, SIZE, content).unwrap()).await.unwrap();
                }
                sleeper.flush().await.unwrap();
                assert!(matches!(sleeper.commit(1, None).await, Err(RepoError::Fenced)));
            }
            assert!(restore(&repo, &info).await.unwrap() == bytes, "{end}");
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        }
    });
}

#[test]
fn sessions_of_others_are_left_alone() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = pages(100);
        let theirs = Session::begin(&repo, Purpose::Backup, [2; 32], "elsewhere", UnixMillis(0));
        let theirs = theirs.await.unwrap();
        let (_, leftovers) = go_on(&repo, 3, &bytes).await.unwrap();
        assert!(leftovers.is_empty());
        assert_eq!(sink.list("out").await.unwrap().len(), 1, "theirs was not ended");
        theirs.abandon().await;
    });
}

async fn arrived(sink: &mantis_sink::MemorySink) -> u64 {
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    sink.list("seg").await.unwrap().iter().map(|object| object.len).sum()
}

#[test]
fn one_that_is_killed_again_and_again_gets_there() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = pages(40_000);
        for (entropy, count) in [(2u8, 10_000), (3, 20_000), (4, 30_000)] {
            // What was sent is written again meanwhile, here and there.
            let at = usize::from(entropy) * 1000 * 512;
            bytes[at..at + 512].fill(entropy);
            std::mem::forget(part(&repo, entropy, &bytes, count).await);
            let sent = arrived(&sink).await;
            assert!(sent < (count + 2000) * 530, "{sent} for {count} pages");
        }
        let before = arrived(&sink).await;
        let (info, leftovers) = go_on(&repo, 5, &bytes).await.unwrap();
        assert!(leftovers.len() > 20 && before > 13_000_000, "{before}");
        assert!(info.bytes_stored < 15_000 * 530, "{}", info.bytes_stored);
        assert!(restore(&repo, &info).await.unwrap() == bytes);
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        repo.prune(options, [6; 32], UnixMillis(1 << 40)).await.unwrap();
        assert!(restore(&repo, &info).await.unwrap() == bytes);
        assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
    });
}

#[test]
fn what_a_backup_after_it_has_is_not_looked_at_any_more() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = pages(20_000);
        std::mem::forget(half(&repo, 2, &bytes).await);
        let (info, _) = go_on(&repo, 3, &bytes).await.unwrap();
        let session = Session::begin(&repo, Purpose::Backup, [4; 32], "alive", UnixMillis(0));
        let mut session = session.await.unwrap();
        let left = session.leftovers(Some(info.session), |_| true).await.unwrap();
        assert!(left.is_empty());
        session.abandon().await;
    });
}

#[test]
fn damaged_leftovers_are_passed_over() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = pages(40_000);
        std::mem::forget(half(&repo, 2, &bytes).await);
        arrived(&sink).await;
        for (number, object) in sink.list("seg").await.unwrap().into_iter().enumerate() {
            let whole = mantis_sink::Span::Whole { limit: 1 << 20 };
            let mut stored = sink.get(&object.key, whole).await.unwrap().to_vec();
            match number % 4 {
                0 => stored.truncate(30),
                1 => *stored.last_mut().unwrap() ^= 1,
                2 => stored[3] ^= 1,
                _ => continue,
            }
            sink.replace(&object.key, stored.into());
        }
        let (info, leftovers) = go_on(&repo, 3, &bytes).await.unwrap();
        assert!(!leftovers.is_empty() && info.bytes_stored < bytes.len() as u64 * 19 / 20);
        assert!(restore(&repo, &info).await.unwrap() == bytes);
    });
}
