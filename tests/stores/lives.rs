//! Whole lives of repositories in real stores, by the command, beside a live writer.

use std::process::{Command, Stdio};

use mantis_tests::servers::{Kind, Server};
use mantis_tests::{World, make_bank, prove_bank, start_python};

fn live(kind: Kind) {
    let server = Server::start(kind);
    let world = World::at(&server.url("repo"));
    make_bank(&world.path("bank.db"), "wal", 4096);
    assert_eq!(world.fails(&["list"], 10).lines().count(), 2);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.status.success() || !server.is_exclusive());
    assert!(world.ok(&["init"])["url"].as_str().unwrap().contains("repo"));
    assert!(world.fails(&["init"], 1).contains("already"));
    let writer = start_python(&world.path("bank.db"), false);
    let mut last = 0;
    for turn in 0..4 {
        let made = world.ok(&["backup", "bank.db"]);
        assert_eq!(made["kind"], if turn == 0 { "full" } else { "incremental" });
        world.ok(&["restore", "latest", "--to", "r.db", "--check", "--force"]);
        let seq = prove_bank(&world.path("r.db"));
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
    drop(writer);
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
    world.ok(&["forget", "--keep-last", "2"]);
    let mut prune = vec!["prune", "--grace", "0s", "--max-unused", "0"];
    if kind == Kind::WsgiDav {
        assert!(world.fails(&prune, 1).contains("--exclusive"));
    }
    if !server.is_exclusive() {
        prune.push("--exclusive");
    }
    let pruned = world.ok(&prune);
    assert!(pruned["freed_bytes"].as_u64().unwrap() > 0, "{pruned}");
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 2);
    world.ok(&["restore", "latest", "--to", "r.db", "--check", "--force"]);
    assert_eq!(prove_bank(&world.path("r.db")), last);
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_s3() {
    live(Kind::Moto);
}

/// What nobody may delete before its time, somebody tries to: prints how many versions went.
const THIEF: &str = r"
import boto3, sys
from botocore.exceptions import ClientError
store = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1')
gone = 0
for version in store.list_object_versions(Bucket='locked').get('Versions', []):
    if '/seg/' in version['Key']:
        try:
            store.delete_object(Bucket='locked', Key=version['Key'], VersionId=version['VersionId'])
            gone += 1
        except ClientError as error:
            assert error.response['Error']['Code'] == 'AccessDenied', error
print(gone)
";

/// The store takes 200 MB in twenty seconds; the database is let go as soon as it is read.
#[test]
#[ignore = "cargo xtask integration"]
fn in_s3_a_slow_store_does_not_hold_the_database() {
    let server = Server::start(Kind::Moto);
    let world = World::at(&format!("{}&upload_rate=10MB/s", server.url("slow")));
    world.ok(&["init"]);
    let db = rusqlite::Connection::open(world.path("large.db")).unwrap();
    db.execute_batch(
        "pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table t(raw blob);
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
         insert into t select randomblob(100000) from n;
         pragma wal_checkpoint(truncate); insert into t values(1);",
    )
    .unwrap();
    let spool = world.path("spool");
    std::fs::create_dir(&spool).unwrap();
    let arguments = ["backup", "large.db", "--compression", "none", "--temp-folder", "spool"];
    let mut backup = world.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    // The whole WAL can be checkpointed again as soon as nobody reads at a moment in it.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let is_free = || {
        let busy = db.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
        busy.unwrap() == 0
    };
    mantis_tests::wait_until("the database is let go", is_free);
    assert!(backup.try_wait().unwrap().is_none(), "the store was not slower than the disk");
    assert!(std::fs::read_dir(spool).unwrap().next().is_none(), "what waits has no name");
    assert!(backup.wait().unwrap().success());
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    let rows = rusqlite::Connection::open(world.path("r.db")).unwrap();
    let rows: i64 = rows.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2001);
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_s3_what_is_locked_stays_until_its_time_and_prune_says_when_that_is() {
    let server = Server::start(Kind::Moto);
    let endpoint = format!("http://{}", server.address());
    let script = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1] + '/locked', method='PUT', headers={'x-amz-bucket-object-lock-enabled': 'true'}))";
    let made = Command::new("python3").args(["-c", script, &endpoint]).status().unwrap();
    assert!(made.success());
    let url = server.url("repo").replace("bucket/", "locked/");
    let world = World::at(&format!("{url}&lock=compliance&lock_for=20s"));
    make_bank(&world.path("bank.db"), "delete", 4096);
    world.ok(&["init"]);
    let backup = world.ok(&["backup", "bank.db"]);
    let begun = std::time::Instant::now();
    world.ok(&["forget", backup["id"].as_str().unwrap()]);
    let prune = ["prune", "--grace", "0s"];
    let pruned = world.ok(&prune);
    assert_eq!(pruned["freed_objects"], 0);
    assert!(pruned["locked_bytes"].as_u64() >= backup["bytes_stored"].as_u64(), "{pruned}");
    assert!(pruned["locked_until"].as_str().unwrap().starts_with("20"), "{pruned}");
    let thief = Command::new("python3")
        .args(["-c", THIEF, &endpoint])
        .env("PYTHONPATH", mantis_tests::servers::installed().join("moto"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&thief.stdout).trim(),
        "0",
        "{}",
        String::from_utf8_lossy(&thief.stderr)
    );
    std::thread::sleep(std::time::Duration::from_secs(24).saturating_sub(begun.elapsed()));
    let pruned = world.ok(&prune);
    assert!(pruned["freed_bytes"].as_u64() >= backup["bytes_stored"].as_u64(), "{pruned}");
    let said = World::at(&format!("{url}&lock=compliance")).fails(&["list"], 1);
    assert!(said.contains("go together"), "{said}");
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_s3s_which_is_not_exclusive() {
    live(Kind::S3s);
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_azure() {
    live(Kind::Azurite);
}

#[test]
#[ignore = "cargo xtask integration"]
fn over_webdav() {
    live(Kind::WsgiDav);
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_gcs() {
    live(Kind::OwnGcs);
}

#[test]
#[ignore = "cargo xtask integration"]
fn over_sftp() {
    live(Kind::Sshd);
}

#[test]
#[ignore = "cargo xtask integration"]
fn sftp_lets_in_only_whom_and_to_where_it_knows() {
    let server = Server::start(Kind::Sshd);
    let url = server.url("repo");
    let world = World::at(&url);
    world.ok(&["init"]);
    std::fs::write(world.path("none"), "").unwrap();
    let (known, file) = url.rsplit_once('=').unwrap();
    let stranger = World::at(&format!("{known}={}&timeout=5s", world.path("none").display()));
    assert!(stranger.fails(&["list"], 1).contains("help: "), "the host's key is not known");
    let other = url.replace("user_key", "host_key") + "&timeout=5s";
    assert!(World::at(&other).fails(&["list"], 1).contains("help: "), "the user's key is another");
    assert!(!file.is_empty());
}

#[test]
#[ignore = "cargo xtask integration"]
fn s3s_lets_in_only_who_has_the_key() {
    let server = Server::start(Kind::S3s);
    let world = World::at(&server.url("repo"));
    world.ok(&["init"]);
    let output = world.command(&["list"]).env("AWS_SECRET_ACCESS_KEY", "hunter2").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let wrong = String::from_utf8(output.stderr).unwrap();
    assert!(wrong.contains("SignatureDoesNotMatch") && wrong.contains("help: give"), "{wrong}");
    assert!(!wrong.contains("hunter2"));
}

#[test]
#[ignore = "cargo xtask integration"]
fn who_has_no_key_and_what_is_not_there_are_told_apart() {
    let server = Server::start(Kind::Azurite);
    let world = World::at(&server.url("repo"));
    world.ok(&["init"]);
    // Another key, of the right length.
    let other =
        "Fby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let output = world.command(&["list"]).env("AZURE_STORAGE_ACCOUNT_KEY", other).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("help: give this user the right") && !said.contains("Fby8"), "{said}");
    assert_eq!(
        World::at(&server.url("repo").replace("bucket/", "no-such-bucket/"))
            .run(&["list"])
            .status
            .code(),
        Some(10)
    );
    let server = Server::start(Kind::Moto);
    let world = World::at(&server.url("repo"));
    let none = world
        .command(&["init"])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&none.stderr).contains("AWS_ACCESS_KEY_ID"));
    let nowhere = World::at(&server.url("repo").replace("bucket/", "no-such-bucket/"));
    let said = nowhere.fails(&["init"], 1);
    assert!(said.contains("NoSuchBucket") && said.contains("its bucket must be there"), "{said}");
    assert!(nowhere.fails(&["list"], 10).contains("help: "));
}
