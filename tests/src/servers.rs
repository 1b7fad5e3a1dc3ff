//! Real servers of stores, on free ports of this machine, for the time of a test.
//!
//! `cargo xtask integration` installs them in `target/servers` and sets the credentials that they ask for.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::wait_until;

/// The bucket or container that every server has.
const BUCKET: &str = "bucket";

/// A server that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// moto, in Python, in memory, made to keep S3's promise that of two creators one wins.
    Moto,
    /// s3s-fs, in Rust, in a folder: fast, asks for a signature, and lets two create one object at once.
    S3s,
    /// Azurite, Microsoft's own emulator of Azure Blob Storage.
    Azurite,
    /// WsgiDAV, in Python, in a folder.
    WsgiDav,
    /// Our own small and strict server of the calls to Google Cloud Storage that are made: there is no faithful one.
    OwnGcs,
    /// OpenSSH's own server, with keys of its own.
    Sshd,
}

/// A server; it is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    port: u16,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the servers are installed.
#[must_use]
pub fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers")
}

fn credential(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: `cargo xtask integration` sets it"))
}

/// Ports below those that the system gives to whoever asks for any: a proxy of another test, or somebody's connection, could have
/// been given the port between this and the server's start, and be taken for the server.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port that nobody has, and that no other server of this process gets.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two processes begin at different places.
    let first = (std::process::id() % 199) as u16 * 100;
    for _ in PORTS {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + next % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Makes the container, which only a signed request does.
const MAKE_CONTAINER: &str = r"
import base64, datetime, hashlib, hmac, os, sys, urllib.request
account, port, name = os.environ['AZURE_STORAGE_ACCOUNT_NAME'], sys.argv[1], sys.argv[2]
date = datetime.datetime.now(datetime.timezone.utc).strftime('%a, %d %b %Y %H:%M:%S GMT')
text = 'PUT' + '\n' * 12 + f'x-ms-date:{date}\nx-ms-version:2021-08-06\n/{account}/{account}/{name}\nrestype:container'
key = base64.b64decode(os.environ['AZURE_STORAGE_ACCOUNT_KEY'])
sign = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
headers = {'x-ms-date': date, 'x-ms-version': '2021-08-06', 'Authorization': f'SharedKey {account}:{sign}', 'Content-Length': '0'}
url = f'http://127.0.0.1:{port}/{account}/{name}?restype=container'
urllib.request.urlopen(urllib.request.Request(url, method='PUT', headers=headers))
";

impl Server {
    /// Starts a server and makes the bucket in it.
    ///
    /// # Panics
    /// Where it is not installed, or does not come up.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let mut server =
            Self { kind, port: free_port(), folder: tempfile::tempdir().unwrap(), child: None };
        server.run();
        match kind {
            Kind::Moto => {
                let script = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='PUT'))";
                let url = format!("http://127.0.0.1:{}/{BUCKET}", server.port);
                let made = Command::new("python3").args(["-c", script, &url]).status().unwrap();
                assert!(made.success(), "no bucket");
            }
            Kind::Azurite => {
                let port = server.port.to_string();
                let made =
                    Command::new("python3").args(["-c", MAKE_CONTAINER, &port, BUCKET]).status();
                assert!(made.unwrap().success(), "no container");
            }
            Kind::S3s => std::fs::create_dir(server.folder.path().join(BUCKET)).unwrap(),
            Kind::WsgiDav | Kind::Sshd | Kind::OwnGcs => {}
        }
        server
    }

    fn command(&self) -> Command {
        let (port, folder) = (self.port.to_string(), self.folder.path());
        match self.kind {
            Kind::Moto => {
                let mut command = Command::new("python3");
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/exclusive_moto.py");
                command.args([script, &*port]);
                command.env("PYTHONPATH", installed().join("moto"));
                command
            }
            Kind::S3s => {
                let mut command = Command::new(installed().join("s3s/bin/s3s-fs"));
                command.args(["--host", "127.0.0.1", "--port", &port]);
                for (flag, name) in [
                    ("--access-key", "AWS_ACCESS_KEY_ID"),
                    ("--secret-key", "AWS_SECRET_ACCESS_KEY"),
                ] {
                    command.arg(flag).arg(credential(name));
                }
                command.arg(folder);
                command
            }
            Kind::Azurite => {
                let mut command =
                    Command::new(installed().join("azurite/node_modules/.bin/azurite-blob"));
                command.args([
                    "--silent",
                    "--skipApiVersionCheck",
                    "--blobPort",
                    &port,
                    "--location",
                ]);
                command.arg(folder);
                command
            }
            Kind::WsgiDav => {
                let mut command = Command::new("python3");
                command.args([
                    "-m",
                    "wsgidav.server.server_cli",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port,
                ]);
                command.args(["--auth", "anonymous", "-q", "--root"]).arg(folder);
                command.env("PYTHONPATH", installed().join("wsgidav"));
                command
            }
            Kind::OwnGcs => {
                let mut command = Command::new("python3");
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/gcs.py"));
                command.args([&*port, BUCKET]);
                command
            }
            Kind::Sshd => {
                self.prepare_sshd();
                let mut command = Command::new("/usr/sbin/sshd");
                command.args(["-D", "-e", "-f"]).arg(folder.join("config"));
                command
            }
        }
    }

    /// Keys of the server and of its user, and what either must know of the other.
    fn prepare_sshd(&self) {
        let path = |name: &str| self.folder.path().join(name);
        for name in ["host_key", "user_key"] {
            if path(name).exists() {
                return;
            }
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(name))
                .status();
            assert!(made.unwrap().success(), "no key");
        }
        let host = std::fs::read_to_string(path("host_key.pub")).unwrap();
        std::fs::write(path("known_hosts"), format!("[127.0.0.1]:{} {host}", self.port)).unwrap();
        let show = |name: &str| path(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nMaxSessions 100\nSubsystem sftp internal-sftp\n",
            self.port,
            show("host_key"),
            show("user_key.pub"),
        );
        std::fs::write(path("config"), config).unwrap();
        // Where it drops its rights, it wants an empty folder there.
        let _ = std::fs::create_dir_all("/run/sshd");
    }

    /// Starts the server again, on the same port and what it kept.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().with_extension("log")).unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `cargo xtask integration` installs it")
        }));
        let address = self.address();
        wait_until("the server", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "{:?} ended at once: {ended:?}", self.kind);
            TcpStream::connect(address).is_ok()
        });
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The address of a prefix in its bucket.
    #[must_use]
    pub fn url(&self, prefix: &str) -> String {
        self.url_by(self.address(), prefix)
    }

    /// The same by way of another address, a proxy's.
    #[must_use]
    pub fn url_by(&self, address: SocketAddr, prefix: &str) -> String {
        match self.kind {
            Kind::Moto | Kind::S3s => {
                format!("s3://{BUCKET}/{prefix}?endpoint=http://{address}&region=us-east-1")
            }
            Kind::Azurite => {
                let account = credential("AZURE_STORAGE_ACCOUNT_NAME");
                format!("azblob://{BUCKET}/{prefix}?endpoint=http://{address}/{account}")
            }
            Kind::WsgiDav => format!("webdav://{address}/{prefix}?http"),
            Kind::OwnGcs => format!("gcs://{BUCKET}/{prefix}?endpoint=http://{address}&anonymous"),
            Kind::Sshd => {
                let path = |name: &str| self.folder.path().join(name).display().to_string();
                format!(
                    "sftp://{address}{}/{prefix}?key_file={}&known_hosts_file={}",
                    path("store"),
                    path("user_key"),
                    path("known_hosts")
                )
            }
        }
    }

    /// Whether of several that create one object at once, exactly one wins.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.kind, Kind::Moto | Kind::Azurite | Kind::Sshd | Kind::OwnGcs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_one_that_the_system_gives_away() {
        let ports: std::collections::BTreeSet<u16> = (0..200).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 200, "each once");
        assert!(ports.iter().all(|port| PORTS.contains(port)));
        let given = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        assert!(!PORTS.contains(&given), "{given}");
    }
}
