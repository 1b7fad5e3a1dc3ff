//! A backup to an S3 server on this machine, beside the same one to its disk, and a peer's upload of as many bytes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::shell::{measure, median, shell};
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

fn start(bench: &Bench, port: u16) -> Result<Server, String> {
    let folder = bench.work.join("s3");
    fs::create_dir_all(folder.join("bucket")).map_err(|error| error.to_string())?;
    let program = root().join("target/servers/s3s/bin/s3s-fs");
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", "bench", "--secret-key", "bench"]).arg(folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server(child.map_err(|error| format!("cannot run s3s-fs: {error}"))?);
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("s3s-fs does not come up".into())
}

pub(super) fn run(bench: &Bench, mib: u64, rounds: u64) -> Done {
    crate::integration::install_s3s()?;
    crate::integration::install_moto()?;
    cargo(&["build", "--locked", "--release", "-p", "mantis-backup", "--features", "full"])?;
    let base = bench.database("base.db", mib)?;
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| error.to_string())?.port();
    let _server = start(bench, port)?;
    let (work, mantis) = (bench.work.display(), &bench.mantis);
    let endpoint = format!("http://127.0.0.1:{port}");
    let local = format!("{work}/repo");
    let s3 = format!("'s3://bucket/repo?endpoint={endpoint}'");
    let credentials = "export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench";
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
        ("backup to S3, none", init(&s3), backup(&s3, "none")),
        (
            "boto3's upload of the file to S3",
            fresh.clone(),
            format!(
                "{credentials}; PYTHONPATH={python} python3 {} {work}/base.db {endpoint}",
                peer.display()
            ),
        ),
        ("backup to disk, zstd:1", init(&local), backup(&local, "zstd:1")),
        ("backup to S3, zstd:1", init(&s3), backup(&s3, "zstd:1")),
        ("restore from disk", filled(&local), restore(&local)),
        ("restore from S3", filled(&s3), restore(&s3)),
    ];
    let mut found: Vec<(Vec<f64>, u64)> = ways.iter().map(|_| (Vec::new(), 0)).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for ((_, before, run), (times, peak)) in ways.iter().zip(&mut found) {
            output(&mut shell(before))?;
            output(&mut shell("sync"))?;
            let (seconds, memory) = measure(run)?;
            times.push(seconds);
            *peak = memory.max(*peak);
        }
    }
    println!(
        "\n## A store over a network\n\n{} MiB SQLite, s3s-fs on the same machine, medians of {rounds}.\n",
        mib_of(&base)?
    );
    println!("| work | s | of the same on disk | peak MiB |\n| --- | --- | --- | --- |");
    let medians: Vec<f64> = found.iter().map(|(times, _)| median(times.clone())).collect();
    let disk = [0, 0, 0, 3, 3, 5, 5];
    for ((((name, ..), seconds), (_, peak)), disk) in
        ways.iter().zip(&medians).zip(&found).zip(disk)
    {
        println!("| {name} | {seconds:.2} | {:.2} | {peak} |", seconds / medians[disk]);
    }
    let _ = fs::remove_dir_all(bench.work.join("s3"));
    Ok(())
}
