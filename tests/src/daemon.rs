//! `mantis serve` as a process, to be looked at, talked to and killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::{World, wait_until};

/// A daemon that runs in a world's folder, where `mantis.toml` is. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where its log begins, as those before it wrote to the same file.
    from: usize,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts it, and waits until it runs.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    pub fn start(world: &World) -> Self {
        Self::start_of(world, "mantis.toml", "serve.log")
    }

    /// Starts one with a configuration and a log of its own, and waits until it runs.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    pub fn start_of(world: &World, config: &str, log: &str) -> Self {
        let log = world.path(log);
        let from = std::fs::read(&log).map_or(0, |text| text.len());
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let mut command = world.command(&["serve", "--listen", "127.0.0.1:0", "--config", config]);
        let child = command.stderr(file).stdout(Stdio::null()).spawn().unwrap();
        let mut daemon = Self { child, log, from };
        wait_until("the daemon's start", || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", daemon.log());
            daemon.log().contains("running")
        });
        daemon
    }

    /// What it logged.
    ///
    /// # Panics
    /// Where its log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&text[self.from..]).into_owned()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Without `kill`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Asks it to stop; whether it ended well.
    ///
    /// # Panics
    /// Where it does not within a minute.
    #[must_use]
    pub fn stop(mut self) -> bool {
        self.signal("-TERM");
        let mut ended = None;
        wait_until("the daemon's end", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().success()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Where it does not.
    #[must_use]
    pub fn address(&self) -> String {
        let log = self.log();
        let from = log.rfind("metrics at http").unwrap();
        log[from..].split('/').nth(2).unwrap().to_owned()
    }

    /// The status and the body of a page.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn page(&self, path: &str) -> (u32, String) {
        let (head, body) = self.asked_as(&self.address(), path);
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// The head and the body of the answer to who asks for a page of this host.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn asked_as(&self, host: &str, path: &str) -> (String, String) {
        self.asked(&format!("GET {path} HTTP/1.1\r\nHost: {host}"), "")
    }

    /// The status, the head and the body of the answer to a request with these further headers, and this body.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn request(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u32, String, String) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}", self.address());
        for (name, value) in headers {
            head.push_str(&format!("\r\n{name}: {value}"));
        }
        let (head, body) = self.asked(&head, body);
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, body)
    }

    fn asked(&self, head: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let request =
            format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The value of a metric whose line begins so.
    #[must_use]
    pub fn metric(&self, start: &str) -> Option<f64> {
        let (_, page) = self.page("/metrics");
        page.lines().find(|line| line.starts_with(start))?.rsplit(' ').next()?.parse().ok()
    }
}

/// What the daemon of a world ran, oldest first.
#[must_use]
pub fn history(world: &World) -> Vec<Value> {
    let history = world.ok(&["schedule", "history", "--limit", "100000"]);
    history.as_array().cloned().unwrap_or_default()
}

/// Whether a record is of a job and has an outcome.
#[must_use]
pub fn is(record: &Value, job: &str, outcome: &str) -> bool {
    record["job"] == job && record["outcome"] == outcome
}
