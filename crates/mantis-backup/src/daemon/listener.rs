//! Where connections come in, with or without TLS, which may change while they do.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use mantis_stream::CancellationToken;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::Error;
use crate::config::TlsConfig;

/// How long the other side may take to agree on a key.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that agree on one at once; others wait.
const AT_ONCE: usize = 64;
/// Connections that are open at once; others wait. The process needs its files for other things.
const OPEN: usize = 512;
/// After so long without a byte a connection ends. Who watches is sent something more often, and no page takes as long.
const IDLE: Duration = Duration::from_secs(180);
/// How long to wait after the system could not accept one: it has no files left.
const PAUSE: Duration = Duration::from_millis(500);

/// The certificate and the key that are in use; none: plain HTTP. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls(Arc<RwLock<Option<Arc<ServerConfig>>>>);

fn read(config: &TlsConfig) -> Result<ServerConfig, Error> {
    let failed = |path: &std::path::Path, error: String| Error::Other {
        doing: format!("read {}", path.display()),
        source: error.into(),
        help: Some("`dashboard.tls` names a certificate and its key, both as PEM".into()),
    };
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&config.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| failed(&config.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|error| failed(&config.key, error.to_string()))?;
    let made = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
    let mut made = made.map_err(|error| failed(&config.certificate, error.to_string()))?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(made)
}

impl Tls {
    /// What a configuration says, with the files as they are now.
    ///
    /// # Errors
    /// Where they cannot be read or do not belong together.
    pub(super) fn read(config: Option<&TlsConfig>) -> Result<Option<Arc<ServerConfig>>, Error> {
        Ok(config.map(read).transpose()?.map(Arc::new))
    }

    /// New connections go by this.
    pub(super) fn replace(&self, read: Option<Arc<ServerConfig>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read;
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        config.map(TlsAcceptor::from)
    }

    /// The scheme of addresses.
    pub(super) fn scheme(&self) -> &'static str {
        if self.acceptor().is_some() { "https" } else { "http" }
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Sealed(Box<TlsStream<TcpStream>>),
}

/// A connection. One over which nothing goes for a while ends: whoever opens many and says nothing keeps no others out for long.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, idle: Box::pin(tokio::time::sleep(IDLE)), _place: place }
    }

    /// What came of reading or writing, unless nothing has come of either for too long.
    fn heed<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
            return polled;
        }
        self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Whoever is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Gives connections that are ready to be talked over. Ends with its last copy.
#[derive(Debug)]
pub(super) struct Listener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    _stop: tokio_util::sync::DropGuard,
}

impl Listener {
    /// Listens. Whoever does not get on with the key keeps nobody else waiting.
    pub(super) async fn bind(address: &str, tls: Tls) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(AT_ONCE);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = accept(listener, tls, sender) => {}
            }
        });
        Ok(Self { address, ready, _stop: guard })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, tls: Tls, ready: mpsc::Sender<(Connection, SocketAddr)>) {
    let (turns, places) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(OPEN)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(acceptor) = tls.acceptor() else {
            let _ = ready.send((Connection::new(Stream::Plain(stream), place), peer)).await;
            continue;
        };
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let ready = ready.clone();
        tokio::spawn(async move {
            let agreed = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
            drop(turn);
            match agreed {
                Ok(Ok(stream)) => {
                    let stream = Stream::Sealed(Box::new(stream));
                    let _ = ready.send((Connection::new(stream, place), peer)).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
                Err(_) => tracing::debug!(%peer, "no TLS in time"),
            }
        });
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Sealed(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        this.heed(context, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Sealed(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.heed(context, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Sealed(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Sealed(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

    fn config(certificate: &str, key: &str) -> TlsConfig {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tls");
        let file = |name: &str| std::path::Path::new(folder).join(name);
        TlsConfig { certificate: file(certificate), key: file(key) }
    }

    /// Whether somebody who trusts this certificate alone gets an answer.
    async fn is_answered(address: SocketAddr, trusted: &str) -> bool {
        let mut roots = RootCertStore::empty();
        let trusted = config(trusted, "").certificate;
        roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(mut stream) = TlsConnector::from(Arc::new(client)).connect(name, stream).await
        else {
            return false;
        };
        stream.write_all(b"?").await.unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).await.unwrap();
        answer == *b"!"
    }

    async fn answer(mut listener: Listener) {
        loop {
            let (mut stream, _) = listener.accept().await;
            tokio::spawn(async move {
                let mut asked = [0];
                stream.read_exact(&mut asked).await.unwrap();
                stream.write_all(b"!").await.unwrap();
                stream.flush().await.unwrap();
                let _ = stream.read(&mut asked).await;
            });
        }
    }

    #[tokio::test]
    async fn certificates_are_exchanged_under_way_and_nobody_waits_for_who_says_nothing() {
        let tls = Tls::default();
        tls.replace(Tls::read(Some(&config("first.pem", "first.key"))).unwrap());
        assert_eq!(tls.scheme(), "https");
        let listener = Listener::bind("127.0.0.1:0", tls.clone()).await.unwrap();
        let address = listener.address();
        tokio::spawn(answer(listener));
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(is_answered(address, "first.pem").await);
        assert!(!is_answered(address, "second.pem").await);
        tls.replace(Tls::read(Some(&config("second.pem", "second.key"))).unwrap());
        assert!(is_answered(address, "second.pem").await);
        assert!(!is_answered(address, "first.pem").await);
        tls.replace(Tls::read(None).unwrap());
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"?").await.unwrap();
        let mut answer = [0];
        plain.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer, tls.scheme()), (*b"!", "http"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_let_go_of_and_who_talks_is_not() {
        let mut listener = Listener::bind("127.0.0.1:0", Tls::default()).await.unwrap();
        let mut other = TcpStream::connect(listener.address()).await.unwrap();
        let (mut connection, _) = listener.accept().await;
        let mut byte = [0];
        for _ in 0..5 {
            tokio::time::sleep(IDLE / 2).await;
            other.write_all(b"x").await.unwrap();
            // Between two bytes time does not pass by itself: the other side is a real one.
            tokio::time::resume();
            connection.read_exact(&mut byte).await.unwrap();
            tokio::time::pause();
        }
        let ended = connection.read_exact(&mut byte).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        for (certificate, key) in [
            ("first.pem", "second.key"),
            ("first.key", "first.key"),
            ("first.pem", "first.pem"),
            ("none.pem", "first.key"),
        ] {
            let error = Tls::read(Some(&config(certificate, key))).unwrap_err();
            assert!(error.chain().contains("read ") && error.help().is_some(), "{certificate}");
        }
    }

    #[tokio::test]
    async fn the_address_is_free_when_it_is_dropped() {
        let listener = Listener::bind("127.0.0.1:0", Tls::default()).await.unwrap();
        let address = listener.address().to_string();
        assert!(Listener::bind(&address, Tls::default()).await.is_err());
        drop(listener);
        for _ in 0..200 {
            if Listener::bind(&address, Tls::default()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{address} is still held");
    }
}
