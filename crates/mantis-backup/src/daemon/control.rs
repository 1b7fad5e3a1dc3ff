//! How the command talks to a daemon that runs: a socket in the state folder, a line of JSON each way.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::handle::Command;
use super::{Handle, StateDir};
use crate::Error;

/// No line is longer.
const MAX_LINE: u64 = 1 << 20;
/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a daemon can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Keep a schedule from running until it is resumed.
    Pause {
        /// The schedule, or one of its jobs.
        name: String,
    },
    /// Let it run again.
    Resume {
        /// The schedule, or one of its jobs.
        name: String,
    },
    /// Run it as soon as may be.
    Run {
        /// The schedule, or one of its jobs.
        name: String,
    },
    /// Cancel what runs of it. It is not tried again.
    Cancel {
        /// The schedule, or one of its jobs.
        name: String,
    },
    /// Say what runs.
    Status,
}

impl From<Request> for Command {
    fn from(request: Request) -> Self {
        match request {
            Request::Pause { name } => Self::Pause(name),
            Request::Resume { name } => Self::Resume(name),
            Request::Run { name } => Self::RunNow(name),
            Request::Cancel { name } => Self::Cancel(name),
            Request::Status => Self::Status,
        }
    }
}

/// Answers until dropped; then the socket goes.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Begins to answer. The caller has the folder's lock: a socket that is there belongs to nobody.
///
/// # Errors
/// Where the socket cannot be made.
pub(super) fn listen(dir: &StateDir, handle: Handle) -> Result<Socket, Error> {
    let path = dir.socket();
    let failed = |error| Error::Other {
        doing: format!("make the socket {}", path.display()),
        source: error,
        help: Some(
            "a socket's path has some 100 bytes at most: choose a shorter `state_dir`".into(),
        ),
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error.into())),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(|error| failed(error.into()))?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, &handle)).await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "nobody could be answered");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Socket { path, task })
}

async fn answer(stream: UnixStream, handle: &Handle) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(reading.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => handle.ask(request.into()).await,
        Err(error) => Err(format!("this is no request: {error}")),
    };
    let answer = match answer {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": error }),
    };
    writing.write_all(format!("{answer}\n").as_bytes()).await
}

/// Asks the daemon of a state folder. `None`: there is none.
///
/// # Errors
/// What the daemon says, or what keeps it from being asked.
pub async fn ask(dir: &StateDir, request: &Request) -> Result<Option<Value>, Error> {
    let path = dir.socket();
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(&path, error)),
    };
    let exchanged = tokio::time::timeout(PATIENCE, exchange(stream, request)).await;
    let answer = exchanged.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    let mut answer = answer.map_err(|error| failed(&path, error))?;
    read(&mut answer).map(Some)
}

/// What an answer says. Whatever else stands in it, it may be of another version.
fn read(answer: &mut Value) -> Result<Value, Error> {
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Err(Error::usage(error, "`mantis schedule list` shows what there is")),
        None => Ok(answer.get_mut("ok").map(Value::take).unwrap_or_default()),
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::Other {
        doing: format!("talk to the daemon at {}", path.display()),
        source: error.into(),
        help: Some("run this as the user that the daemon runs as".into()),
    }
}

async fn exchange(stream: UnixStream, request: &Request) -> std::io::Result<Value> {
    let (reading, mut writing) = stream.into_split();
    writing.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let mut line = Vec::new();
    BufReader::new(reading.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_read_with_a_panic() {
        for mut answer in [json!([]), json!(1), json!(null), json!("ok"), json!({})] {
            assert_eq!(read(&mut answer).unwrap(), Value::Null, "{answer}");
        }
        assert_eq!(read(&mut json!({ "ok": 3 })).unwrap(), 3);
        assert!(read(&mut json!({ "error": "no", "ok": 3 })).unwrap_err().chain().contains("no"));
    }
}
