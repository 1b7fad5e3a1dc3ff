//! A backup to an S3 server on this machine, beside the same one to its disk, and a peer's upload of as many bytes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::report::{Report, number};
use super::shell::{Cost, measure, middle, shell};
use super::{Bench, mib_of};
use crate::command::{Done, cargo, output, root};

/// A server that is killed at the end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// boto3's own parallel upload of one file.
const PEER: &str = "
import boto3, sys
from boto3.s3.transfer import TransferConfig
store = boto3.client('s3', endpoint_url=sys.argv[2], region_name='us-east-1')
config = TransferConfig(multipart_chunksize=16 << 20, max_concurrency=4)
store.upload_file(sys.argv[1], 'bucket', 'peer', Config=config)
";

/// A relay that acknowledges at once.
const QUICK_ACK: &str = include_str!("quick_ack.py");

fn start(bench: &Bench, port: u16) -> Result<Server, String> {
    let folder = bench.work.join("s3");
    fs::create_dir_all(folder.join("bucket")).map_err(|error| error.to_string())?;
    let program = root().join("target/servers/s3s/bin/s3s-fs");
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", "bench", "--secret-key", "bench"]).arg(folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server(child.map_err(|error| format!("cannot run s3s-fs: {error}"))?);
    wait_for("s3s-fs", port)?;
    Ok(server)
}

/// An S3 server on this machine, and a bucket on it for one repository.
pub(super) struct S3 {
    #[expect(dead_code, reason = "held, not used")]
    servers: Vec<Server>,
    endpoint: String,
    /// The repository's address, as it stands in a shell.
    pub(super) url: String,
    /// What makes a shell have the right to use it.
    pub(super) credentials: &'static str,
}

fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(free.map_err(|error| error.to_string())?.port())
}

/// Waits until somebody listens.
fn wait_for(name: &str, port: u16) -> Done {
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{name} does not come up"))
}

/// Starts one; with `delay`, behind a relay that acknowledges at once, for what waits for one answer after another, and lets each request wait for so many
/// milliseconds.
pub(super) fn start_s3(bench: &Bench, delay: Option<u32>) -> Result<S3, String> {
    crate::integration::install_s3s()?;
    let mut port = free_port()?;
    let mut servers = vec![start(bench, port)?];
    if let Some(delay) = delay {
        let relay = free_port()?;
        let mut command = Command::new("python3");
        command.args(["-c", QUICK_ACK]);
        command.args([&relay.to_string(), &port.to_string(), &delay.to_string()]);
        let child = command.spawn().map_err(|error| format!("python3: {error}"))?;
        servers.push(Server(child));
        wait_for("the relay", relay)?;
        port = relay;
    }
    let endpoint = format!("http://127.0.0.1:{port}");
    let url = format!("'s3://bucket/repo?endpoint={endpoint}'");
    let credentials = "export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench";
    Ok(S3 { servers, endpoint, url, credentials })
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    crate::integration::install_moto()?;
    cargo(&["build", "--locked", "--release", "-p", "mantis-backup", "--features", "full"])?;
    let base = bench.database("base.db", mib)?;
    let server = start_s3(bench, None)?;
    let S3 { endpoint, url: s3, credentials, .. } = &server;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let local = format!("{work}/repo");
    let python = root().join("target/servers/moto").display().to_string();
    let peer = bench.work.join("peer.py");
    fs::write(&peer, PEER).map_err(|error| error.to_string())?;
    let fresh = format!(
        "{credentials}; rm -rf {local} {work}/s3/bucket/* {work}/out; mkdir {work}/out; cat {work}/base.db >/dev/null"
    );
    let backup = |repo: &str, codec: &str| {
        format!(
            "{credentials}; {mantis} -q backup {work}/base.db --repo {repo} --compression {codec}"
        )
    };
    let restore = |repo: &str| {
        format!(
            "{credentials}; {mantis} -q restore latest --to {work}/out/r.db --repo {repo} --no-cache"
        )
    };
    let init = |repo: &str| format!("{fresh}; {mantis} -q init --repo {repo} >/dev/null");
    let filled = |repo: &str| format!("{}; {}", init(repo), backup(repo, "none"));
    let ways = [
        ("backup to disk, none", init(&local), backup(&local, "none")),
        ("backup to S3, none", init(s3), backup(s3, "none")),
        (
            "boto3's upload of the file to S3",
            fresh.clone(),
            format!(
                "{credentials}; PYTHONPATH={python} python3 {} {work}/base.db {endpoint}",
                peer.display()
            ),
        ),
        ("backup to disk, zstd:1", init(&local), backup(&local, "zstd:1")),
        ("backup to S3, zstd:1", init(s3), backup(s3, "zstd:1")),
        ("restore from disk", filled(&local), restore(&local)),
        ("restore from S3", filled(s3), restore(s3)),
    ];
    let mut found: Vec<Vec<Cost>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for ((_, before, run), costs) in ways.iter().zip(&mut found) {
            output(&mut shell(before))?;
            output(&mut shell("sync"))?;
            costs.push(measure(run)?);
        }
    }
    let mut report = Report::new("stores", "A store over a network");
    report.say(&format!(
        "{} MiB SQLite, s3s-fs on the same machine, which takes its share of the cores; medians of {rounds}. boto3 sends the same bytes in parts of 16 MiB, four at a time, as we do; it neither reads them from a live database nor proves them.",
        mib_of(&base)?
    ));
    let heads = ["work", "s", "of the same on disk", "CPU s", "peak MiB"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let medians: Vec<f64> = found.iter().map(|costs| middle(costs, |cost| cost.wall)).collect();
    let disk = [0, 0, 0, 3, 3, 5, 5];
    for ((((name, ..), seconds), costs), disk) in ways.iter().zip(&medians).zip(&found).zip(disk) {
        let peak = costs.iter().map(|cost| cost.peak).fold(0.0, f64::max);
        let cpu = middle(costs, |cost| cost.cpu);
        let numbers = [*seconds, seconds / medians[disk], cpu].map(number);
        rows.push([&[(*name).to_owned()], &numbers[..], &[format!("{peak:.0}")]].concat());
    }
    report.table(&rows);
    slow(bench, (credentials, s3), &mut report)?;
    drop(server);
    let _ = fs::remove_dir_all(bench.work.join("s3"));
    report.write()
}

/// How long a database is held, and its WAL grows, while the store is slow.
fn slow(bench: &Bench, (credentials, s3): (&str, &str), report: &mut Report) -> Done {
    cargo(&["build", "--locked", "--release", "-p", "mantis-tests", "--example", "hot_writer"])?;
    let writer = root().join("target/release/examples/hot_writer").display().to_string();
    let base = bench.database("hot-base.db", 512)?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let slow = s3.replace("?endpoint", "?upload_rate=20MB/s&endpoint");
    report.say(&format!(
        "A store that takes 20 MB/s: one backup of a SQLite of {} MiB with zstd:1 while it is written as in the table above; what waits for the store does so on the local disk, or in memory.",
        mib_of(&base)?
    ));
    let heads = ["what may wait on the disk", "backup, s", "longest WAL MiB", "peak MiB"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (name, limit) in [("nothing", "0"), ("1 GiB, as is usual", "1GiB")] {
        output(&mut shell(&format!(
            "{credentials}; rm -rf {work}/hot.db* {work}/s3/bucket/*; cp {work}/hot-base.db {work}/hot.db; {mantis} -q init --repo {slow} >/dev/null; sync"
        )))?;
        let mut hot = shell(&format!("exec {writer} sqlite {work}/hot.db 25"));
        let hot = hot.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let cost = measure(&format!(
            "{credentials}; {mantis} -q backup {work}/hot.db --repo {slow} --compression zstd:1 --spool-limit {limit} --temp-folder {work}"
        ))?;
        let seen = hot.wait_with_output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        let wal = text.split_whitespace().nth(5).unwrap_or_default().to_owned();
        rows.push(vec![name.into(), number(cost.wall), wal, format!("{:.0}", cost.peak)]);
    }
    report.table(&rows);
    output(&mut shell(&format!("rm -rf {work}/hot.db*"))).map(drop)
}
