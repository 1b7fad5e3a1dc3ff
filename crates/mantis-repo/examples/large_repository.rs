//! Makes a large repository, for measuring what listing and pruning cost: many small backups of many segments.
//!
//! usage: large_repository FOLDER [BACKUPS=10000] [SEGMENTS=10] [FORGOTTEN=1000]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageNo, PageRun, PageSize};
use mantis_repo::{
    BackupMeta, BackupWriter, Purpose, RepoError, Repository, Session, UnixMillis, WriteOptions,
};
use mantis_sink::LocalSink;

const PAGE: usize = 4096;

fn seed(number: u64) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

async fn one(repo: &Repository, number: u64, segments: u64) -> Result<(), RepoError> {
    let at = UnixMillis(1_700_000_000_000 + number as i64 * 3_600_000);
    let session = Session::begin_after(repo, number, Purpose::Backup, seed(number), "example", at);
    let meta = BackupMeta {
        source: format!("tenant-{}", number % 100),
        engine: "file".into(),
        object: "/srv/example".into(),
        lsn: number,
        timeline: String::new(),
        way: "closed".into(),
        created_at: at,
        tags: BTreeMap::new(),
        page_size: PAGE as u32,
        page_count: segments,
        byte_len: segments * PAGE as u64,
    };
    let options = WriteOptions { segment_len: PAGE as u64, ..WriteOptions::default() };
    let writer = BackupWriter::new(session.await?, meta, None, options);
    let mut writer = writer.map_err(|failed| failed.1)?;
    for page in 0..segments {
        let mut bytes = vec![number as u8 | 1; PAGE];
        bytes[..8].copy_from_slice(&(number * segments + page).to_le_bytes());
        let wrong = |error: String| RepoError::WrongPages { what: error };
        let first = PageNo::from_index(page).ok_or_else(|| wrong("no such page".into()))?;
        let run = PageRun::new(first, PageSize::DEFAULT, Bytes::from(bytes));
        writer.push(run.map_err(|error| wrong(error.to_string()))?).await?;
    }
    writer.flush().await?;
    writer.commit(1, None).await.map(|_| ())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments
        .first()
        .ok_or("usage: large_repository FOLDER [BACKUPS] [SEGMENTS] [FORGOTTEN]")?;
    let number =
        |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let (backups, segments, forgotten) = (number(1, 10_000)?, number(2, 10)?, number(3, 1000)?);
    let sink = Arc::new(LocalSink::new(folder));
    let repo = Repository::init(sink, seed(u64::MAX), UnixMillis(1), None).await?;
    for number in 0..backups {
        one(&repo, number, segments).await?;
    }
    let catalogue = repo.catalogue().await?;
    let old: Vec<_> =
        catalogue.backups.iter().take(forgotten as usize).map(|backup| backup.id).collect();
    repo.forget(&catalogue, &old, seed(u64::MAX - 1), UnixMillis(1)).await?;
    println!("{backups} backups, {} segments, {forgotten} forgotten", backups * segments);
    Ok(())
}
