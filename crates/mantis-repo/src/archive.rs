//! One backup as one file: the objects that it needs, one after another, just as they are in the repository.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `MNTSEXP1` |
//! | 4, 8 | of each object: the lengths of its name and of its bytes, little-endian |
//! | … | its name, its bytes |
//! | 4, 8 | 0, 32 |
//! | 32 | BLAKE3 of all bytes before these 44 |
//!
//! It is written without going back, and whoever reads it may read a repository: [`ArchiveSink`] is a store
//! with those objects. An encrypted backup stays encrypted, and opens with the repository's passwords.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mantis_sink::{
    Capabilities, ObjectInfo, ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span,
};

use crate::manifest::MAX_MANIFEST_LEN;
use crate::{BackupInfo, ObjectHash, Place, RepoError, Repository};

const MAGIC: &[u8; 8] = b"MNTSEXP1";
/// The most objects of an archive.
const MAX_OBJECTS: usize = 1 << 22;
/// The largest object of an archive, in bytes: a segment's limit.
const MAX_LEN: u64 = 1 << 30;

/// Where an archive is written to.
pub type Out = Box<dyn Write + Send>;

/// Writes an archive.
struct Writer {
    out: Out,
    hasher: blake3::Hasher,
    len: u64,
}

fn target(source: io::Error) -> RepoError {
    RepoError::Target { source: source.into() }
}

fn bounds(name: usize, data: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&(name as u32).to_le_bytes());
    bytes[4..].copy_from_slice(&data.to_le_bytes());
    bytes
}

impl Writer {
    /// Writes pieces, on a thread that may block.
    async fn write(mut self, pieces: Vec<Bytes>) -> Result<Self, RepoError> {
        let written = tokio::task::spawn_blocking(move || {
            for piece in pieces {
                self.hasher.update(&piece);
                self.out.write_all(&piece)?;
                self.len += piece.len() as u64;
            }
            Ok(self)
        });
        let failed = |error: tokio::task::JoinError| target(io::Error::other(error));
        written.await.map_err(failed)?.map_err(target)
    }

    async fn object(self, key: &ObjectKey, bytes: Bytes) -> Result<Self, RepoError> {
        let name = Bytes::copy_from_slice(key.as_str().as_bytes());
        let bounds = Bytes::copy_from_slice(&bounds(name.len(), bytes.len() as u64));
        self.write(vec![bounds, name, bytes]).await
    }

    async fn finish(self) -> Result<(Out, u64), RepoError> {
        let hash = *self.hasher.finalize().as_bytes();
        let end = [&bounds(0, 32)[..], &hash].concat();
        let mut ended = self.write(vec![end.into()]).await?;
        ended.out.flush().map_err(target)?;
        Ok((ended.out, ended.len))
    }
}

impl Repository {
    /// Writes one backup as an archive; gives back where it was written to, and its length in bytes.
    ///
    /// Every object is proved by its name on the way. Whoever needs the archive to be durable syncs it.
    ///
    /// # Errors
    /// What is damaged, what the store reports, or what keeps the archive from being written.
    pub async fn export(&self, backup: &BackupInfo, out: Out) -> Result<(Out, u64), RepoError> {
        let manifest = self.manifest(backup).await?;
        let mut writer = Writer { out, hasher: blake3::Hasher::new(), len: 0 };
        writer = writer.write(vec![Bytes::from_static(MAGIC)]).await?;
        let key =
            |place: Place| place.key().map_err(|error| RepoError::damaged("an object", error));
        let mut keys = vec![key(Place::Params)?, key(Place::Outcome(backup.session))?];
        if self.is_encrypted() {
            keys.extend(self.sink().list(Place::KEYS).await?.into_iter().map(|object| object.key));
        }
        let folder = format!("{}/{}", Place::MANIFESTS, backup.session);
        keys.extend(self.sink().list(&folder).await?.into_iter().map(|object| object.key));
        keys.extend(manifest.keys()?);
        for key in keys {
            let limit =
                if key.as_str().starts_with(Place::SEGMENTS) { MAX_LEN } else { MAX_MANIFEST_LEN };
            let bytes = self.sink().get(&key, Span::Whole { limit }).await?;
            if Place::written_by(&key).is_some_and(|(_, hash)| ObjectHash::of([&bytes[..]]) != hash)
            {
                return Err(RepoError::damaged(key, "its bytes do not match its name"));
            }
            writer = writer.object(&key, bytes).await?;
        }
        writer.finish().await
    }
}

/// The objects of an archive, as a store that cannot be written.
#[derive(Debug, Clone)]
pub struct ArchiveSink {
    name: String,
    file: Arc<File>,
    /// Where the bytes of each object begin, and how many they are.
    objects: Arc<BTreeMap<ObjectKey, (u64, u64)>>,
}

/// Reads an archive from its beginning, and hashes what it reads.
struct Scan<R> {
    from: R,
    hasher: blake3::Hasher,
    at: u64,
}

impl<R: Read> Scan<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        self.at += N as u64;
        Ok(bytes)
    }

    /// Passes over bytes.
    fn pass(&mut self, len: u64) -> io::Result<()> {
        let mut left = len;
        let mut buf = vec![0; 1 << 16];
        while left > 0 {
            let count = left.min(buf.len() as u64) as usize;
            self.from.read_exact(&mut buf[..count])?;
            self.hasher.update(&buf[..count]);
            left -= count as u64;
        }
        self.at += len;
        Ok(())
    }
}

impl ArchiveSink {
    /// The archive in a file; reads it once, and proves it by its checksum.
    ///
    /// # Errors
    /// [`RepoError::Damaged`] where it is no archive, cut short or changed; [`RepoError::Target`] where it
    /// cannot be read.
    pub fn open(name: &str, file: File) -> Result<Self, RepoError> {
        let objects = scan(name, BufReader::with_capacity(1 << 20, &file))?;
        Ok(Self { name: name.to_owned(), file: Arc::new(file), objects: Arc::new(objects) })
    }

    fn find(&self, key: &ObjectKey) -> Result<(u64, u64), SinkError> {
        let missing = || SinkError::new(SinkErrorKind::NotFound, "read", key, &self.name);
        self.objects.get(key).copied().ok_or_else(missing)
    }
}

fn scan(name: &str, from: impl Read) -> Result<BTreeMap<ObjectKey, (u64, u64)>, RepoError> {
    let damaged = |what: &str| RepoError::damaged(name, what);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => RepoError::damaged(name, "it is cut short"),
        _ => target(error),
    };
    let mut scan = Scan { from, hasher: blake3::Hasher::new(), at: 0 };
    if scan.take::<8>().map_err(failed)? != *MAGIC {
        return Err(damaged("it does not begin as an exported backup does"));
    }
    let mut objects = BTreeMap::new();
    loop {
        let hash = scan.hasher.finalize();
        let [n0, n1, n2, n3, rest @ ..] = scan.take::<12>().map_err(failed)?;
        let (name_len, len) = (u32::from_le_bytes([n0, n1, n2, n3]), u64::from_le_bytes(rest));
        if name_len == 0 {
            let stored = scan.take::<32>().map_err(failed)?;
            if len != 32 || stored != *hash.as_bytes() {
                return Err(damaged("its checksum does not match"));
            }
            let more = scan.from.read(&mut [0]).map_err(failed)?;
            return if more == 0 { Ok(objects) } else { Err(damaged("bytes follow its end")) };
        }
        if name_len > 512 || len > MAX_LEN || objects.len() >= MAX_OBJECTS {
            return Err(damaged("an object in it is larger than objects get"));
        }
        let mut text = vec![0; name_len as usize];
        scan.from.read_exact(&mut text).map_err(failed)?;
        scan.hasher.update(&text);
        scan.at += u64::from(name_len);
        let key = String::from_utf8(text).ok().and_then(|text| ObjectKey::new(text).ok());
        let key = key.ok_or_else(|| damaged("an object in it has no valid name"))?;
        if objects.insert(key, (scan.at, len)).is_some() {
            return Err(damaged("an object is in it twice"));
        }
        scan.pass(len).map_err(failed)?;
    }
}

#[async_trait]
impl Sink for ArchiveSink {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive_create: false, durable: true, remote: false }
    }

    async fn put_new(&self, key: &ObjectKey, _: Payload) -> Result<(), SinkError> {
        Err(SinkError::new(SinkErrorKind::Unsupported, "create", key, &self.name))
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        use std::os::unix::fs::FileExt;
        let (start, len) = self.find(key)?;
        let wrong = |wanted| Err(SinkError::wrong_length(key, &self.name, len, wanted));
        let (from, count) = match span.within(len) {
            Ok(found) => found,
            Err(wanted) => return wrong(wanted),
        };
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; count as usize];
            file.read_exact_at(&mut bytes, start + from).map(|()| bytes)
        });
        let other = |error: Box<dyn std::error::Error + Send + Sync>| {
            SinkError::new(SinkErrorKind::Other, "read", key, &self.name).caused_by(error)
        };
        let read = read.await.map_err(|error| other(error.into()))?;
        read.map(Bytes::from).map_err(|error| other(error.into()))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.find(key).map(|(_, len)| len)
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let within = |key: &ObjectKey| {
            folder.is_empty()
                || key.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        let found = self.objects.iter().filter(|(key, _)| within(key));
        Ok(found.map(|(key, (_, len))| ObjectInfo { key: key.clone(), len: *len }).collect())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        Err(SinkError::new(SinkErrorKind::Unsupported, "delete", key, &self.name))
    }
}
