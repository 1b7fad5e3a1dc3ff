//! Exported backups: bytes as they are, and archives that somebody hostile made with a checksum that matches.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::LazyLock;

use mantis_repo::{ArchiveSink, RepoError, Repository};
use mantis_sink::{Sink, Span};

use crate::take::Take;
use crate::template::{MAX_OBJECT, RUNTIME, TEMPLATE, contents, open_template};

/// What stands at an archive's end: that there are no more objects, and how long the checksum is that follows.
const END: [u8; 12] = [0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0];
/// More than any backup of the template.
const LIMIT: usize = 1 << 20;

/// An archive of the template's newest backup, whole.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = tempfile::tempfile().unwrap();
    let out = Box::new(file.try_clone().unwrap());
    let exported = std::thread::spawn(|| {
        RUNTIME.block_on(async {
            let repo = open_template().await.unwrap();
            let catalogue = repo.catalogue().await.unwrap();
            repo.export(catalogue.backups.last().unwrap(), out).await.map(drop)
        })
    });
    exported.join().unwrap().unwrap();
    read(file)
});

/// The archive that forged ones are made of.
pub(crate) fn whole() -> Vec<u8> {
    WHOLE.clone()
}

fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

/// The template's archive with bytes changed, cut or put in, and its checksum made anew.
fn forged(take: &mut Take<'_>) -> Vec<u8> {
    let mut bytes = WHOLE.clone();
    bytes.truncate(bytes.len() - END.len() - 32);
    while !take.is_empty() && !bytes.is_empty() {
        let at = take.below(bytes.len());
        match take.byte() % 3 {
            0 => bytes[at] ^= take.byte(),
            1 => drop(bytes.splice(at..at, take.bytes().iter().copied())),
            _ => {
                let end = (at + usize::from(take.byte())).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(&END);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

pub(crate) fn archive(bytes: &[u8]) {
    let mut take = Take(bytes);
    let bytes = if take.byte() & 1 == 0 { take.0.to_vec() } else { forged(&mut take) };
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let Ok(sink) = ArchiveSink::open("an archive", file) else { return };
    let _: Result<(), RepoError> = RUNTIME.block_on(async {
        for object in sink.list("").await? {
            sink.get(&object.key, Span::Whole { limit: MAX_OBJECT }).await?;
        }
        let repo = Repository::open(std::sync::Arc::new(sink), None).await?;
        for info in &repo.catalogue().await?.backups {
            let read = contents(&repo, info, LIMIT).await;
            // Names are hashes: what was changed is found, however well the checksum of the whole matches.
            if let (Ok(read), Some(wanted)) = (read, TEMPLATE.held.get(&info.id.to_string())) {
                assert!(read == *wanted, "{} restores to something else", info.id);
            }
        }
        Ok(())
    });
}
