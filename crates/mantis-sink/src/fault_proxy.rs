//! An HTTP proxy before a real server, which lets requests fail as networks and stores do.
//!
//! For tests: plain HTTP/1.1, one request for each connection, everything in memory.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Chance;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyFault {
    /// The store says that it is busy; the request does not reach it.
    Busy,
    /// The store says that it failed; the request does not reach it.
    Internal,
    /// The connection breaks before the request reaches the store.
    Reset,
    /// The request is served, and the answer lost.
    LostAnswer,
    /// The answer breaks off in its middle.
    CutAnswer,
    /// The answer comes late.
    Slow,
}

impl ProxyFault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Busy, Self::Internal, Self::Reset, Self::LostAnswer, Self::CutAnswer, Self::Slow];
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    down: AtomicBool,
    requests: AtomicU64,
    faults: AtomicU64,
    /// The faults there are, and how many of a thousand requests meet one.
    plan: Mutex<(Vec<ProxyFault>, u64)>,
}

/// A proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes who waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// A request or an answer up to the end of its head, and what of its body came with it.
fn read_head(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((bytes, body));
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || bytes.len() > 1 << 20 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The head's lines, without those that are about the connection, and the length of the body.
fn for_one_request(head: &[u8]) -> (Vec<u8>, usize) {
    let text = String::from_utf8_lossy(head);
    let (mut out, mut len) = (String::new(), 0);
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            len = value.trim().parse().unwrap_or(0);
        }
        if !lower.starts_with("connection:") {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("Connection: close\r\n\r\n");
    (out.into_bytes(), len)
}

fn read_body(stream: &mut TcpStream, mut body: Vec<u8>, len: usize) -> io::Result<Vec<u8>> {
    let have = body.len();
    body.resize(len.max(have), 0);
    stream.read_exact(&mut body[have..])?;
    Ok(body)
}

fn refuse(stream: &mut TcpStream, status: &str, code: &str) -> io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned</Message></Error>"
    );
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nRetry-After: 0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn serve(mut client: TcpStream, upstream: SocketAddr, fault: Option<ProxyFault>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (head, body) = read_head(&mut client)?;
    let (head, len) = for_one_request(&head);
    if fault == Some(ProxyFault::Reset) {
        return client.shutdown(Shutdown::Both);
    }
    let body = read_body(&mut client, body, len)?;
    match fault {
        Some(ProxyFault::Busy) => return refuse(&mut client, "503 Slow Down", "SlowDown"),
        Some(ProxyFault::Internal) => {
            return refuse(&mut client, "500 Internal Server Error", "InternalError");
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    server.write_all(&head)?;
    server.write_all(&body)?;
    let (answer_head, mut answer_body) = read_head(&mut server)?;
    server.read_to_end(&mut answer_body)?;
    // A server need not say that it closes; who is not told keeps the connection for another request, which breaks.
    let (mut answer, _) = for_one_request(&answer_head);
    answer.extend_from_slice(&answer_body);
    match fault {
        Some(ProxyFault::LostAnswer) => return client.shutdown(Shutdown::Both),
        Some(ProxyFault::CutAnswer) => {
            let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
            let half = head + (answer.len() - head) / 2;
            client.write_all(&answer[..half])?;
            return client.shutdown(Shutdown::Both);
        }
        Some(ProxyFault::Slow) => thread::sleep(Duration::from_millis(700)),
        _ => {}
    }
    client.write_all(&answer)
}

impl FaultProxy {
    /// A proxy on a free port of this machine, before a server. Of a thousand requests, `share` meet one of `faults`,
    /// the same ones each time for a `seed`.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn start(
        upstream: SocketAddr,
        (faults, share): (&[ProxyFault], u64),
        seed: u64,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { plan: Mutex::new((faults.to_vec(), share)), ..Shared::default() });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if state.down.load(Ordering::Relaxed) {
                    continue;
                }
                let number = state.requests.fetch_add(1, Ordering::Relaxed);
                let (faults, share) =
                    state.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let drawn = Chance::nth(seed, number);
                let hit = !faults.is_empty() && drawn % 1000 < share;
                let fault = hit.then(|| faults[(drawn / 1000) as usize % faults.len()]);
                state.faults.fetch_add(hit.into(), Ordering::Relaxed);
                thread::spawn(move || serve(client, upstream, fault));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes every connection and closes it at once, or serves again.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Relaxed);
    }

    /// How many requests there were, and how many of them met a fault.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.faults.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering_server() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let (head, body) = read_head(&mut client).unwrap();
                let (_, len) = for_one_request(&head);
                let body = read_body(&mut client, body, len).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                client.write_all(&[answer.as_bytes(), &body].concat()).unwrap();
            }
        });
        address
    }

    fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(
                b"PUT /a HTTP/1.1\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\n0123",
            )
            .unwrap();
        let _ = stream.write_all(b"456789");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn passes_requests_on_and_lets_them_fail_by_plan() {
        let upstream = answering_server();
        let clean = FaultProxy::start(upstream, (&[], 0), 1).unwrap();
        assert!(ask(clean.address()).ends_with("0123456789"));
        clean.set_down(true);
        assert_eq!(ask(clean.address()), "");
        clean.set_down(false);
        assert!(ask(clean.address()).ends_with("0123456789"));
        for (fault, wanted) in [
            (ProxyFault::Busy, "503"),
            (ProxyFault::Internal, "500"),
            (ProxyFault::Slow, "0123456789"),
            (ProxyFault::CutAnswer, "200 OK"),
        ] {
            let proxy = FaultProxy::start(upstream, (&[fault], 1000), 1).unwrap();
            let answer = ask(proxy.address());
            assert!(answer.contains(wanted), "{fault:?}: {answer}");
            assert_eq!(answer.ends_with("0123456789"), fault == ProxyFault::Slow);
            assert!(answer.contains("Connection: close\r\n") || fault == ProxyFault::CutAnswer);
            assert_eq!(proxy.counts(), (1, 1));
        }
        for fault in [ProxyFault::Reset, ProxyFault::LostAnswer] {
            let proxy = FaultProxy::start(upstream, (&[fault], 1000), 1).unwrap();
            assert_eq!(ask(proxy.address()), "", "{fault:?}");
        }
    }
}
