//! `sftp://user@host:port/path`: a folder on a machine that OpenSSH leads to.
//!
//! The system's own `ssh` makes the connection: its configuration, agent, keys and known hosts count. An object is
//! written under a temporary name in `.tmp`, synced, and then linked to its own name, which fails where there is
//! something: of two creators one wins, and nobody sees half an object. OpenSSH's server has the extensions for both
//! (`fsync@openssh.com`, `hardlink@openssh.com`, its PROTOCOL file); a server without them is refused. What a crash of
//! that machine leaves, step by step: a rest in `.tmp`; the object or nothing, as its file system keeps names.
//!
//! OpenDAL's service for this writes to the final name, where a broken connection leaves half an object; hence this one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use openssh::{KnownHosts, SessionBuilder};
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Error, Sftp, SftpOptions};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::anchor::{Anchor, gone};
use crate::{
    Capabilities, ObjectInfo, ObjectKey, Payload, RetrySink, Sink, SinkError, SinkErrorKind, Span,
    StreamConfig, stream_config,
};

const TEMPORARY: &str = ".tmp";
/// How deep folders are looked into: keys have three parts.
const MAX_DEPTH: usize = 16;
const OPTIONS: &str = "key_file, known_hosts, known_hosts_file";

/// A folder on another machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SftpSink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    destination: String,
    session: SessionBuilder,
    root: PathBuf,
    location: String,
    connection: Mutex<Option<Arc<Connection>>>,
    anchor: Anchor,
}

struct Connection(Sftp);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(..)")
    }
}

fn is_kind(error: &Error, wanted: SftpErrorKind) -> bool {
    use std::mem::discriminant;
    matches!(error, Error::SftpError(kind, _) if discriminant(kind) == discriminant(&wanted))
}

/// The sink that an address names.
pub(crate) fn open(mut address: Address) -> Result<Arc<dyn Sink>, SinkError> {
    let config = StreamConfig::take_from(&mut address)?;
    let (user, host) = match address.place.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host.to_owned()),
        None => (None, address.place.clone()),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => {
            let port = port.parse().map_err(|_| address.invalid("its port is no number"))?;
            (host.to_owned(), Some(port))
        }
        _ => (host, None),
    };
    let plain = |text: &str| !text.is_empty() && !text.starts_with('-');
    if !plain(&host) || user.as_deref().is_some_and(|user| !plain(user)) {
        return Err(address.invalid("it names no host: sftp://user@host:port/path"));
    }
    let mut session = SessionBuilder::default();
    session.connect_timeout(config.connect_timeout).server_alive_interval(config.idle_timeout);
    if let Some(user) = user {
        session.user(user);
    }
    if let Some(port) = port {
        session.port(port);
    }
    if let Some(key) = address.take("key_file") {
        session.keyfile(key);
    }
    session.known_hosts_check(match address.take("known_hosts").as_deref() {
        None | Some("strict") => KnownHosts::Strict,
        Some("add") => KnownHosts::Add,
        Some(_) => return Err(address.invalid("`known_hosts` is strict or add")),
    });
    if let Some(file) = address.take("known_hosts_file") {
        session.user_known_hosts_file(file);
    }
    address.clone().finish(&format!("{OPTIONS}, {}", stream_config::OPTIONS))?;
    let root = PathBuf::from(format!("/{}", address.path));
    let inner = Inner {
        destination: host,
        session,
        root,
        location: address.location(),
        connection: Mutex::default(),
        anchor: Anchor::default(),
    };
    Ok(Arc::new(RetrySink::new(Arc::new(SftpSink(Arc::new(inner))), config)))
}

impl SftpSink {
    fn path(&self, key: &str) -> PathBuf {
        self.0.root.join(key)
    }

    fn new_error(
        &self,
        kind: SinkErrorKind,
        doing: &'static str,
        object: impl ToString,
    ) -> SinkError {
        SinkError::new(kind, doing, object, &self.0.location)
    }

    async fn connection(&self) -> Result<Arc<Connection>, SinkError> {
        let mut held = self.0.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(Arc::clone(connection));
        }
        let doing = |kind| self.new_error(kind, "connect to", "the machine");
        let session = self.0.session.connect(&self.0.destination).await.map_err(|error| {
            let text = error.to_string();
            let denied = text.contains("Permission denied") || text.contains("Host key");
            let kind =
                if denied { SinkErrorKind::PermissionDenied } else { SinkErrorKind::Unavailable };
            doing(kind).caused_by(error)
        })?;
        let sftp = Sftp::from_session(session, SftpOptions::default());
        let sftp =
            sftp.await.map_err(|error| doing(SinkErrorKind::Unavailable).caused_by(error))?;
        if !sftp.support_fsync() || !sftp.support_hardlink() {
            let why = "its server has no fsync@openssh.com or no hardlink@openssh.com";
            return Err(doing(SinkErrorKind::Unsupported).caused_by(why));
        }
        let connection = Arc::new(Connection(sftp));
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// What an error is; one that is not the server's word on the object ends the connection, which the next call makes
    /// anew.
    async fn fail(&self, doing: &'static str, object: impl ToString, error: Error) -> SinkError {
        let kind = match &error {
            Error::SftpError(SftpErrorKind::NoSuchFile, _) => SinkErrorKind::NotFound,
            Error::SftpError(SftpErrorKind::PermDenied, _) => SinkErrorKind::PermissionDenied,
            Error::SftpError(SftpErrorKind::OpUnsupported, _) => SinkErrorKind::Unsupported,
            Error::SftpError(..) => SinkErrorKind::Other,
            _ => {
                *self.0.connection.lock().await = None;
                SinkErrorKind::Unavailable
            }
        };
        self.new_error(kind, doing, object).caused_by(error)
    }

    /// A disk that is unmounted there must not become a new store under the old name.
    async fn check_anchor(&self, doing: &'static str, object: &str) -> Result<(), SinkError> {
        let Some(anchor) = self.0.anchor.get() else { return Ok(()) };
        match self.len(doing, &anchor).await {
            Err(error) if error.is_not_found() => {
                Err(self.new_error(SinkErrorKind::NotFound, doing, object).caused_by(gone(&anchor)))
            }
            there => there.map(drop),
        }
    }

    /// Makes a folder and those above it. That one is there already shows in what is done in it.
    async fn make_folder(fs: &mut Fs, folder: &Path) -> Result<(), Error> {
        let mut missing = Vec::new();
        for above in folder.ancestors() {
            match fs.metadata(above).await {
                Ok(_) => break,
                Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => missing.push(above),
                Err(error) => return Err(error),
            }
        }
        for folder in missing.into_iter().rev() {
            match fs.create_dir(folder).await {
                // Someone else made it meanwhile.
                Err(error) if is_kind(&error, SftpErrorKind::Failure) => {}
                made => made?,
            }
        }
        Ok(())
    }

    async fn write_temporary(sftp: &Sftp, path: &Path, payload: &Payload) -> Result<(), Error> {
        let mut options = sftp.options();
        let opened = options.write(true).create_new(true).open(path).await;
        let mut file = match opened {
            Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => {
                Self::make_folder(&mut sftp.fs(), path.parent().unwrap_or(path)).await?;
                options.open(path).await?
            }
            opened => opened?,
        };
        for piece in payload.pieces() {
            file.write_all(piece).await?;
        }
        file.sync_all().await?;
        file.close().await
    }

    /// Links a written file to its name; `false` where there is something.
    async fn link(sftp: &Sftp, from: &Path, to: &Path) -> Result<bool, Error> {
        let mut fs = sftp.fs();
        // A folder may be removed again between being made and being used.
        for _ in 0..8 {
            match fs.hard_link(from, to).await {
                Ok(()) => return Ok(true),
                Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => {
                    Self::make_folder(&mut fs, to.parent().unwrap_or(to)).await?;
                }
                // The protocol has no word for what is there already.
                Err(error) if is_kind(&error, SftpErrorKind::Failure) => {
                    return match fs.metadata(to).await {
                        Ok(_) => Ok(false),
                        Err(_) => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        fs.hard_link(from, to).await.map(|()| true)
    }

    async fn walk(sftp: &Sftp, root: &Path, folder: &str) -> Result<Vec<ObjectInfo>, Error> {
        use futures::TryStreamExt;
        let mut found = Vec::new();
        let mut waiting = vec![(folder.to_owned(), 0)];
        while let Some((folder, depth)) = waiting.pop() {
            let dir = match sftp.fs().open_dir(root.join(&folder)).await {
                Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => continue,
                dir => dir?,
            };
            let entries: Vec<_> = dir.read_dir().try_collect().await?;
            for entry in entries {
                let Some(name) = entry.filename().to_str() else { continue };
                let name =
                    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                // `.`, `..`, `.tmp` and their like are no keys.
                let Ok(key) = ObjectKey::new(name.clone()) else { continue };
                let (about, kind) = (entry.metadata(), entry.file_type());
                if kind.is_some_and(|kind| kind.is_dir()) && depth < MAX_DEPTH {
                    waiting.push((name, depth + 1));
                } else if kind.is_some_and(|kind| kind.is_file()) {
                    found.push(ObjectInfo { key, len: about.len().unwrap_or(0) });
                }
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// The protocol has no locks: by age.
    async fn sweep_folder(sftp: &Sftp, folder: &Path, before: SystemTime) -> Result<u64, Error> {
        use futures::TryStreamExt;
        let dir = match sftp.fs().open_dir(folder).await {
            Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => return Ok(0),
            dir => dir?,
        };
        let entries: Vec<_> = dir.read_dir().try_collect().await?;
        let mut swept = 0;
        for entry in entries {
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            let changed =
                entry.metadata().modified().map(openssh_sftp_client::UnixTimeStamp::as_system_time);
            if is_file && changed.is_some_and(|changed| changed < before) {
                sftp.fs().remove_file(folder.join(entry.filename())).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn len(&self, doing: &'static str, key: &ObjectKey) -> Result<u64, SinkError> {
        let connection = self.connection().await?;
        match connection.0.fs().metadata(self.path(key.as_str())).await {
            Ok(about) => Ok(about.len().unwrap_or(0)),
            Err(error) => Err(self.fail(doing, key, error).await),
        }
    }
}

#[async_trait]
impl Sink for SftpSink {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exclusive_create: true, durable: true, remote: true }
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.check_anchor("create", key.as_str()).await?;
        let connection = self.connection().await?;
        let sftp = &connection.0;
        let number = getrandom::u64().map_err(|error| {
            self.new_error(SinkErrorKind::Other, "create", key).caused_by(error)
        })?;
        let temporary = self.path(TEMPORARY).join(format!("{number:016x}"));
        let done = match Self::write_temporary(sftp, &temporary, &payload).await {
            Ok(()) => Self::link(sftp, &temporary, &self.path(key.as_str())).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sftp.fs().remove_file(&temporary).await {
            tracing::debug!(%error, "a temporary file stays behind");
        }
        match done {
            Ok(true) => {
                self.check_anchor("create", key.as_str()).await?;
                self.0.anchor.seen(key);
                Ok(())
            }
            Ok(false) => Err(self.new_error(SinkErrorKind::AlreadyExists, "create", key)),
            Err(error) => Err(self.fail("create", key, error).await),
        }
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        let len = self.len("read", key).await?;
        let wrong = |wanted| Err(SinkError::wrong_length(key, &self.0.location, len, wanted));
        let (start, count) = match span.within(len) {
            Ok(found) => found,
            Err(wanted) => return wrong(wanted),
        };
        let connection = self.connection().await?;
        let read = async {
            let mut file = connection.0.open(self.path(key.as_str())).await?;
            let mut file_at = std::pin::pin!(&mut file);
            tokio::io::AsyncSeekExt::seek(&mut *file_at, std::io::SeekFrom::Start(start)).await?;
            let bytes =
                file.read_all(count as usize, BytesMut::with_capacity(count as usize)).await?;
            file.close().await?;
            Ok::<_, Error>(bytes.freeze())
        };
        match read.await {
            Ok(bytes) => {
                self.0.anchor.seen(key);
                Ok(bytes)
            }
            Err(error) => Err(self.fail("read", key, error).await),
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.len("look at", key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        let connection = self.connection().await?;
        // A disk that is not mounted there is no empty store.
        if let Err(error) = connection.0.fs().metadata(&self.0.root).await {
            return Err(self.fail("list", folder, error).await);
        }
        self.check_anchor("list", folder).await?;
        match Self::walk(&connection.0, &self.0.root, folder).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.fail("list", folder, error).await),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.check_anchor("delete", key.as_str()).await?;
        self.0.anchor.forget(key);
        let connection = self.connection().await?;
        let mut fs = connection.0.fs();
        let path = self.path(key.as_str());
        match fs.remove_file(&path).await {
            Err(error) if is_kind(&error, SftpErrorKind::NoSuchFile) => return Ok(()),
            Err(error) => return Err(self.fail("delete", key, error).await),
            Ok(()) => {}
        }
        if let Some(folder) = path.parent().filter(|folder| *folder != self.0.root)
            && let Err(error) = fs.remove_dir(folder).await
        {
            tracing::trace!(%error, "the folder stays");
        }
        Ok(())
    }

    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        let connection = self.connection().await?;
        match Self::sweep_folder(&connection.0, &self.path(TEMPORARY), before).await {
            Ok(swept) => Ok(swept),
            Err(error) => Err(self.fail("tidy up", TEMPORARY, error).await),
        }
    }
}
