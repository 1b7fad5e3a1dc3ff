//! Small repositories of every kind: each byte of each object is flipped, and each object is cut at each length. Verify finds it, and a
//! restore gives the right bytes or an error.

use std::sync::Arc;

use bytes::Bytes;
use mantis_repo::{
    ArchiveSink, BackupInfo, BackupWriter, Purpose, RepoError, Repository, Session, UnixMillis,
    VerifyOptions, WriteOptions,
};
use mantis_sink::{MemorySink, Sink, Span};
use mantis_stream::Compression;
use tokio::runtime::Runtime;

use crate::world::{SIZE, content, make, meta, plain, restore, touch, write};

struct Small {
    runtime: Runtime,
    sink: MemorySink,
    repo: Repository,
    made: Vec<(BackupInfo, Vec<u8>)>,
}

impl Small {
    fn new(encrypted: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let (sink, repo) = runtime.block_on(make(encrypted));
        Self { runtime, sink, repo, made: Vec::new() }
    }

    /// Backs a source up: on top of what there is of it, with pages that others have.
    fn backup(mut self, source: &str, bytes: &[u8], options: WriteOptions) -> Self {
        let number = self.made.len() as u8 + 2;
        let made = self.runtime.block_on(async {
            let at = UnixMillis(number.into());
            let session = Session::begin(&self.repo, Purpose::Backup, [number; 32], "test", at);
            let session = session.await?;
            let (parent, others) =
                (session.parent(source).await?, session.others(source, 16).await?);
            let writer =
                BackupWriter::new(session, meta(source, number.into(), bytes), parent, options);
            let mut writer = writer.map_err(|failed| failed.1)?;
            for other in &others {
                writer.learn(other).await?;
            }
            write(&mut writer, bytes, 2).await?;
            writer.commit(5, Some(b"token")).await
        });
        let made: Result<BackupInfo, RepoError> = made;
        self.made.push((made.unwrap(), bytes.to_vec()));
        self
    }

    /// What is damaged is found; how many damages that were.
    fn prove(self) -> usize {
        let mut damages = 0;
        let Self { runtime, sink, repo, made } = self;
        runtime.block_on(async {
            for object in sink.list("").await.unwrap() {
                let key = object.key;
                // Of these there are two copies; what opening makes of them is tried below, and in `key_slot` and `keyring`.
                if key.as_str().starts_with("mantis.repo") || key.as_str().starts_with("keys/") {
                    continue;
                }
                let whole = sink.get(&key, Span::Whole { limit: 1 << 20 }).await.unwrap();
                let flips = (0..whole.len()).map(|at| {
                    let mut bytes = whole.to_vec();
                    bytes[at] ^= 1 << (at % 8);
                    Bytes::from(bytes)
                });
                let cuts = (0..whole.len()).map(|len| whole.slice(..len));
                let longer = Bytes::from([&whole[..], b"x"].concat());
                for (number, spoiled) in flips.chain(cuts).chain([longer]).enumerate() {
                    sink.replace(&key, spoiled);
                    let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
                    assert!(!report.damaged.is_empty(), "{key}, {number}: damage not found");
                    for (info, wanted) in &made {
                        if let Ok(restored) = restore(&repo, info).await {
                            assert!(restored == *wanted, "{key}, {number}: wrong bytes restored");
                        }
                    }
                    damages += 1;
                }
                sink.replace(&key, whole);
            }
            assert!(repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
        });
        damages
    }
}

fn some() -> Vec<u8> {
    content(5, 6)
}

#[test]
fn of_every_codec() {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Gzip(6)];
    for compression in all {
        let damages = Small::new(false).backup("a", &some(), plain(compression)).prove();
        assert!(damages > 1000, "{damages}");
    }
}

/// A change, a page more, and pages that another database has, in a list of its own.
fn several(small: Small) -> Small {
    let mut bytes = some();
    let small = small.backup("a", &bytes, plain(Compression::Zstd(1)));
    bytes.resize(7 * SIZE.bytes(), 9);
    touch(&mut bytes, 3, 3);
    // Page by page from elsewhere, with zeros between them: so many runs are on a list.
    let mut other = vec![7; SIZE.bytes()];
    for page in bytes.chunks(SIZE.bytes()).cycle().take(40) {
        other.extend_from_slice(page);
        other.resize(other.len() + SIZE.bytes(), 0);
    }
    let small = small.backup("a", &bytes, plain(Compression::None));
    let small = small.backup("b", &other, plain(Compression::Lz4));
    let lists = small.runtime.block_on(small.sink.list("lay")).unwrap();
    assert_eq!(lists.len(), 1);
    let borrowed = small.runtime.block_on(small.repo.manifest(&small.made[2].0)).unwrap();
    assert!(borrowed.layers.iter().any(|layer| !layer.borrows.is_empty()));
    small
}

#[test]
fn of_incrementals_shared_pages_and_lists() {
    several(Small::new(false)).prove();
}

#[test]
fn of_the_same_encrypted() {
    several(Small::new(true)).prove();
}

/// One damaged copy of the parameters is what the other is for.
#[test]
fn of_either_copy_of_the_parameters() {
    let Small { runtime, sink, made, .. } =
        Small::new(false).backup("a", &some(), plain(Compression::None));
    runtime.block_on(async {
        for name in ["mantis.repo", "mantis.repo.copy"] {
            let key = mantis_sink::ObjectKey::new(name).unwrap();
            let whole = sink.get(&key, Span::Whole { limit: 1 << 20 }).await.unwrap();
            for at in 0..whole.len() {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1 << (at % 8);
                for spoiled in [Bytes::from(bytes), whole.slice(..at)] {
                    sink.replace(&key, spoiled);
                    let repo = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
                    assert!(restore(&repo, &made[0].0).await.unwrap() == made[0].1, "{at}");
                }
            }
            sink.replace(&key, whole);
        }
    });
}

/// Takes what is written, for all to see.
#[derive(Clone, Default)]
struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn of_exported_files() {
    for encrypted in [false, true] {
        let small = Small::new(encrypted).backup("a", &some(), plain(Compression::Zstd(1)));
        let Small { runtime, repo, made, .. } = small;
        runtime.block_on(async {
            let (info, wanted) = &made[0];
            let exported = Shared::default();
            repo.export(info, Box::new(exported.clone())).await.unwrap();
            let whole = exported.0.lock().unwrap().clone();
            let path = tempfile::NamedTempFile::new().unwrap();
            let open = |bytes: &[u8]| {
                std::fs::write(path.path(), bytes).unwrap();
                ArchiveSink::open("exported", std::fs::File::open(path.path()).unwrap())
            };
            let sink = open(&whole).unwrap();
            if !encrypted {
                let archived = Repository::open(Arc::new(sink), None).await.unwrap();
                assert!(restore(&archived, info).await.unwrap() == *wanted);
            }
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                assert!(open(&bytes).is_err(), "flipped at {at}");
                // Where it ends is the same matter, whatever is in it.
                assert!(encrypted || open(&whole[..at]).is_err(), "cut at {at}");
            }
            assert!(open(&[&whole[..], b"x"].concat()).is_err(), "longer");
        });
    }
}
