//! What the end-to-end tests share: the command, a live database under a foreign writer, and the
//! checks of what comes back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

pub mod contents;
pub mod daemon;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod disk;
pub mod house;
pub mod rounds;
pub mod servers;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod trace;
pub mod watch;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The command, as built from this source.
///
/// # Panics
/// Where it was not built: `cargo xtask test` builds it.
#[must_use]
pub fn mantis() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("mantis");
    assert!(
        path.exists(),
        "{} is not there: run `cargo xtask test`, which builds it",
        path.display()
    );
    path
}

/// A folder with a repository in it.
#[derive(Debug)]
pub struct World {
    /// Removed at the end.
    pub folder: tempfile::TempDir,
    /// Where the repository is.
    pub repo: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A folder with an empty repository in it.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let world = Self::empty();
        world.ok(&["init"]);
        world
    }

    /// A folder in which a repository is to be made, at `repo`.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo").display().to_string();
        Self { folder, repo }
    }

    /// A folder, and an address where a repository is to be made.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), repo: url.to_owned() }
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command with these arguments, on the repository, in the folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(mantis());
        command.args(arguments).arg("--json").env("MANTIS_REPO", &self.repo);
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs the command.
    ///
    /// # Panics
    /// Where it cannot be run.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command, which must succeed; its JSON.
    ///
    /// # Panics
    /// Where it fails.
    pub fn ok(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the command, which must fail with this exit code; what it printed on standard error.
    ///
    /// # Panics
    /// Where it succeeds, panics, or says nothing of what to do.
    #[must_use]
    pub fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(
            errors.contains("error: ") && !errors.contains("panicked"),
            "{arguments:?}: {errors}"
        );
        errors
    }

    /// Every file of the repository, relative to it.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn repository_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut waiting = vec![self.path("repo")];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { waiting.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// Takes the repository away, as a disk that is unmounted is gone.
    ///
    /// # Panics
    /// Where it is not there.
    pub fn take_repository_away(&self) {
        std::fs::rename(self.path("repo"), self.path("away")).unwrap();
    }

    /// Brings back what was taken away.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn bring_repository_back(&self) {
        let back = || std::fs::rename(self.path("away"), self.path("repo"));
        if back().is_err() {
            // An object that was just being put made its folder anew. That it is in another store now is noticed before it is told to be safe.
            std::thread::sleep(Duration::from_secs(3));
            std::fs::remove_dir_all(self.path("repo")).unwrap();
            back().unwrap();
        }
    }
}

/// A writer in another process, leader of a group of its own; the group is killed when this is dropped.
#[derive(Debug)]
pub struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

const PYTHON_WRITER: &str = r"
import random, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute('pragma synchronous=off')
r, seq = random.Random(), db.execute('select seq from state').fetchone()[0]
while True:
    seq += 1
    db.execute('begin immediate')
    a, b, n = r.randrange(2000), r.randrange(2000), r.randrange(50)
    db.execute('update account set balance = balance - ? where id = ?', (n, a))
    db.execute('update account set balance = balance + ? where id = ?', (n, b))
    db.execute('insert into ledger values (?, ?)', (seq, 'x' * r.randrange(400)))
    db.execute('delete from ledger where seq <= ?', (seq - 500,))
    db.execute('update state set seq = ?', (seq,))
    db.execute('commit')
    if seq % 97 == 0: db.execute('pragma wal_checkpoint(passive)')
    if sys.argv[2] == 'paced': time.sleep(0.001)
    if seq % 4001 == 0 and sys.argv[2] == 'vacuum':
        try: db.execute('vacuum')
        except sqlite3.OperationalError: pass
";

/// Makes the bank that writers write: 2,000 accounts whose balances sum to 2,000,000 at every commit,
/// and a ledger of the last 500 transactions without a gap.
///
/// # Panics
/// Where SQLite refuses.
pub fn make_bank(path: &Path, mode: &str, page_size: u32) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.pragma_update(None, "page_size", page_size).unwrap();
    db.pragma_update(None, "journal_mode", mode).unwrap();
    db.execute_batch(
        "create table account(id integer primary key, balance integer);
         create table ledger(seq integer primary key, note text);
         create table state(seq integer);
         insert into state values(0);
         with recursive n(i) as (select 0 union all select i + 1 from n where i < 1999)
         insert into account select i, 1000 from n;",
    )
    .unwrap();
}

/// Starts Python's sqlite3 module writing without a pause, and waits for its first transactions.
///
/// # Panics
/// Without Python.
#[must_use]
pub fn start_python(path: &Path, vacuum: bool) -> Writer {
    start_python_as(path, if vacuum { "vacuum" } else { "plain" })
}

/// Starts the same, with a pause of a millisecond after each transaction.
///
/// # Panics
/// Without Python.
#[must_use]
pub fn start_paced_python(path: &Path) -> Writer {
    start_python_as(path, "paced")
}

fn start_python_as(path: &Path, mode: &str) -> Writer {
    let child = Command::new("python3")
        .args(["-c", PYTHON_WRITER])
        .arg(path)
        .arg(mode)
        .process_group(0)
        .spawn();
    let writer = Writer(child.unwrap());
    wait_until("the writer's first transactions", || seq_of(path) > 20);
    writer
}

/// Starts the sqlite3 shell writing without a pause.
///
/// # Panics
/// Without the shell.
#[must_use]
pub fn start_shell(path: &Path) -> Writer {
    let script = r#"(echo '.timeout 60000'; while :; do echo 'begin immediate; update account set balance = balance - 1 where id = abs(random()) % 1000 + 1 and 0; update state set seq = seq + 1; insert into ledger select seq, hex(randomblob(90)) from state; delete from ledger where seq <= (select seq - 500 from state); commit;'; done) | sqlite3 "$0""#;
    let child = Command::new("bash")
        .args(["-c", script])
        .arg(path)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn();
    let writer = Writer(child.unwrap());
    wait_until("the shell's first transactions", || seq_of(path) > 20);
    writer
}

fn seq_of(path: &Path) -> i64 {
    let db = rusqlite::Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    db.query_row("select seq from state", [], |row| row.get(0)).unwrap()
}

/// The last committed transaction, as a reader beside the writer sees it.
#[must_use]
pub fn committed(path: &Path) -> i64 {
    seq_of(path)
}

/// Waits, for a minute at most.
///
/// # Panics
/// Where it does not come true.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < patience, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Proves that a restored bank is one moment; its last transaction.
///
/// # Panics
/// Where it is not.
pub fn prove_bank(path: &Path) -> i64 {
    for suffix in ["-wal", "-shm", "-journal"] {
        let sidecar = PathBuf::from(format!("{}{suffix}", path.display()));
        assert!(!sidecar.exists(), "{} lies beside the result", sidecar.display());
    }
    let db = rusqlite::Connection::open(path).unwrap();
    let one =
        |sql: &str| db.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap().unwrap_or(0);
    let check: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let seq = one("select seq from state");
    assert_eq!(one("select sum(balance) from account"), 2_000_000, "money was made or lost");
    assert_eq!(one("select max(seq) from ledger"), seq, "state and ledger are of two moments");
    let kept = seq.min(500);
    assert_eq!(one("select count(*) from ledger"), kept, "the ledger has gaps");
    seq
}
