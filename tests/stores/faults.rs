//! Stores that fail: every backup completes right, or fails clearly and the next run goes on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use mantis_sink::{FaultProxy, ProxyFault};
use mantis_tests::servers::{Kind, Server};
use mantis_tests::{World, make_bank, prove_bank, start_python};

/// A bank with some megabytes that no compression makes small.
fn big_bank(world: &World, megabytes: u32) {
    let path = world.path("bank.db");
    make_bank(&path, "wal", 4096);
    let db = rusqlite::Connection::open(path).unwrap();
    let sql = format!(
        "create table big(b blob); with recursive n(i) as (select 1 union all select i + 1 from n where i < {}) \
         insert into big select randomblob(100000) from n",
        megabytes * 10
    );
    db.execute_batch(&sql).unwrap();
}

/// Of a hundred requests some fail, in every way there is.
fn through_faults(kind: Kind) {
    let server = Server::start(kind);
    let mut met = 0;
    for seed in 0..3 {
        let proxy = FaultProxy::start(server.address(), (&ProxyFault::ALL, 80), seed).unwrap();
        let url = server.url_by(proxy.address(), &format!("repo{seed}")) + "&delay=5ms";
        let world = World::at(&url);
        // What is tried again is told where one fails.
        let ok = |arguments: &[&str]| world.ok(&[&["-v"], arguments].concat());
        big_bank(&world, 20);
        ok(&["init"]);
        let writer = start_python(&world.path("bank.db"), false);
        for _ in 0..3 {
            ok(&["backup", "bank.db"]);
            ok(&["restore", "latest", "--to", "r.db", "--check", "--force"]);
            prove_bank(&world.path("r.db"));
        }
        drop(writer);
        assert_eq!(ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
        ok(&["forget", "--keep-last", "1"]);
        ok(&["prune", "--grace", "0s", "--exclusive"]);
        ok(&["restore", "latest", "--to", "r.db", "--check", "--force"]);
        let direct = World::at(&server.url(&format!("repo{seed}")));
        assert_eq!(direct.ok(&["list"]).as_array().unwrap().len(), 1);
        assert_eq!(direct.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
        met += proxy.counts().1;
    }
    assert!(met > 30, "{met} faults");
}

#[test]
#[ignore = "cargo xtask integration"]
fn s3_with_faults_on_the_way() {
    through_faults(Kind::Moto);
}

#[test]
#[ignore = "cargo xtask integration"]
fn azure_with_faults_on_the_way() {
    through_faults(Kind::Azurite);
}

#[test]
#[ignore = "cargo xtask integration"]
fn gcs_with_faults_on_the_way() {
    through_faults(Kind::OwnGcs);
}

/// How many segments a store has.
fn segments(url: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sink = mantis_sink::open_url(url).unwrap();
    runtime.block_on(sink.list("seg")).unwrap().len()
}

#[test]
#[ignore = "cargo xtask integration"]
fn a_store_that_is_gone_is_an_error_in_time_and_the_next_run_goes_on() {
    let server = Server::start(Kind::Moto);
    let proxy = FaultProxy::start(server.address(), (&[], 0), 0).unwrap();
    let world = World::at(&(server.url_by(proxy.address(), "repo") + "&timeout=3s&delay=50ms"));
    big_bank(&world, 60);
    world.ok(&["init"]);
    let slow = ["backup", "bank.db", "--compression", "none", "--limit-rate", "20MB/s"];
    let child = world.command(&slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Not by the clock: a slow server has stored nothing yet when a fast one is half done.
    mantis_tests::wait_until("the first segment", || segments(&server.url("repo")) > 0);
    proxy.set_down(true);
    let gone = Instant::now();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not done within 3 s") && said.contains("help: "), "{said}");
    // A call's three seconds, and little more for cleaning up what cannot be reached.
    assert!(gone.elapsed() < Duration::from_secs(12), "{:?}", gone.elapsed());
    proxy.set_down(false);
    let backup = world.ok(&["backup", "bank.db", "--compression", "none"]);
    let (stored, whole) = (backup["bytes_stored"].as_u64(), backup["bytes"].as_u64());
    assert!(stored.unwrap() < whole.unwrap() * 9 / 10, "what arrived is not sent again: {backup}");
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
}

/// A backup beside which the store goes away twice, for less time than is waited for it.
fn interrupted(world: &World, mut away: impl FnMut(bool)) {
    big_bank(world, 60);
    world.ok(&["init"]);
    let slow = ["backup", "bank.db", "--compression", "none", "--limit-rate", "20MB/s"];
    let child = world.command(&slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(900));
        away(true);
        std::thread::sleep(Duration::from_millis(600));
        away(false);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
}

#[test]
#[ignore = "cargo xtask integration"]
fn a_server_s3s_that_is_killed_and_comes_back_is_waited_for() {
    let mut server = Server::start(Kind::S3s);
    let world = World::at(&server.url("repo"));
    interrupted(&world, |away| if away { server.kill() } else { server.run() });
}

#[test]
#[ignore = "cargo xtask integration"]
fn a_server_of_sftp_that_is_killed_and_comes_back_is_waited_for() {
    let mut server = Server::start(Kind::Sshd);
    let world = World::at(&server.url("repo"));
    interrupted(&world, |away| if away { server.kill() } else { server.run() });
}

#[test]
#[ignore = "cargo xtask integration"]
fn a_store_out_of_reach_for_a_while_is_waited_for() {
    let server = Server::start(Kind::Moto);
    let proxy = FaultProxy::start(server.address(), (&[], 0), 0).unwrap();
    let world = World::at(&server.url_by(proxy.address(), "repo"));
    interrupted(&world, |away| proxy.set_down(away));
}
