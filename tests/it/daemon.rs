//! The daemon: what is due is done, what fails is told, and nothing stops the rest.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use mantis_tests::daemon::{Daemon, history, is};
use mantis_tests::{World, make_bank, prove_bank, start_python, wait_until};
use serde_json::Value;

/// A world with a configuration; its schedules are due in a century, but for those that a test has due.
fn configured(rest: &str) -> World {
    let world = World::empty();
    write(&world, rest);
    world.ok(&["init"]);
    world
}

fn write(world: &World, rest: &str) {
    let text = format!(
        "state_dir = \"state\"\nlisten = \"127.0.0.1:0\"\n[repositories.main]\nurl = \"repo\"\n{rest}"
    );
    std::fs::write(world.path("mantis.toml"), text).unwrap();
}

const RARELY: &str = "0 0 29 2 *";

/// What records say in short.
fn short(records: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    records
        .iter()
        .map(|record| format!("{}:{}", text(&record["job"]), text(&record["outcome"])))
        .collect()
}

#[test]
fn schedules_are_run_by_hand_and_what_they_did_is_known() {
    let world = configured(&format!(
        "[sources.bank]\npath = \"bank.db\"\ntags = {{ from = \"{{source}}\" }}\n[retention.two]\nkeep_last = 2\n\
         [schedules.save]\ncron = \"{RARELY}\"\nretention = \"two\"\nname = \"{{source}}-of-{{schedule}}\"\n\
         tags = {{ day = \"{{date}}\" }}\nread_back = true\n\
         [schedules.prove]\ncron = \"{RARELY}\"\ndo = \"verify\"\n\
         [schedules.try]\ncron = \"{RARELY}\"\ndo = \"drill\"\nname = \"bank-of-save\"\n\
         [schedules.free]\ncron = \"{RARELY}\"\ndo = \"prune\"\n"
    ));
    make_bank(&world.path("bank.db"), "wal", 4096);
    let _writer = start_python(&world.path("bank.db"), false);
    for _ in 0..3 {
        let done = world.ok(&["schedule", "run", "save"]);
        assert_eq!(short(done.as_array().unwrap()), ["save/bank:done"]);
    }
    let list = world.ok(&["list"]);
    assert_eq!(list.as_array().unwrap().len(), 2, "retention keeps two");
    assert_eq!(list[0]["source"], "bank-of-save");
    assert_eq!(list[0]["tags"]["from"], "bank");
    assert_eq!(list[0]["tags"]["day"].as_str().unwrap().len(), "2026-11-26".len());
    assert_eq!(list[0]["proved"], Value::Null);
    for name in ["prove", "try", "free"] {
        world.ok(&["schedule", "run", name]);
    }
    let list = world.ok(&["list"]);
    assert_eq!(
        (&list[0]["proved"]["by"], &list[1]["proved"]["by"]),
        (&"verify".into(), &"drill".into())
    );
    assert_eq!(list[1]["proved"]["ok"], true);
    assert_eq!(history(&world).len(), 6);
    world.ok(&["restore", "latest", "--to", "out.db", "--check"]);
    prove_bank(&world.path("out.db"));
    // A replica has the same id, and is not proved by that.
    world.ok(&["copy", "--to", "replica"]);
    assert_eq!(world.ok(&["list", "--repo", "replica"])[1]["proved"], Value::Null);
    let listed = world.ok(&["schedule", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 4);
    assert_eq!(listed[1]["last"]["outcome"], "done", "{listed:#}");
    let errors = world.fails(&["schedule", "run", "nothing"], 2);
    assert!(errors.contains("save/bank"), "{errors}");
}

#[test]
fn damage_that_a_schedule_finds_is_told_and_seen_in_the_list() {
    let world = configured(&format!(
        "[sources.bank]\npath = \"bank.db\"\n[schedules.save]\ncron = \"{RARELY}\"\n\
         [schedules.prove]\ncron = \"{RARELY}\"\ndo = \"verify\"\n\
         [notifications.n]\non = [\"damage\", \"failure\"]\ncommand = {{ run = 'echo \"$MANTIS_EVENT $MANTIS_MESSAGE\" >> told' }}\n"
    ));
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["schedule", "run", "save"]);
    let segment = world
        .repository_files()
        .into_iter()
        .find(|file| file.display().to_string().contains("/seg/"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let daemon = Daemon::start(&world);
    world.ok(&["schedule", "run", "prove", "--detach"]);
    wait_until("the verify's end", || {
        history(&world).iter().any(|record| is(record, "prove", "failed"))
    });
    wait_until("someone is told", || world.path("told").exists());
    assert_eq!(daemon.metric("mantis_verify_damaged_objects{"), Some(1.0));
    assert_eq!(daemon.metric("mantis_job_ok{schedule=\"prove\""), Some(0.0));
    assert!(daemon.stop());
    let told = std::fs::read_to_string(world.path("told")).unwrap();
    assert!(told.starts_with("damage ") && told.lines().count() == 1, "{told}");
    assert_eq!(world.ok(&["list"])[0]["proved"]["ok"], false);
}

#[test]
fn one_that_fails_stops_no_other_and_a_place_that_fails_is_told() {
    let world = configured(&format!(
        "[repositories.gone]\nurl = \"no-folder\"\n[repositories.locked]\nurl = \"locked\"\npassword = {{ env = \"NO_SUCH_VARIABLE\" }}\n[repositories.full]\nurl = \"full\"\nmin_free_space = \"9000TB\"\n\
         [sources.bank]\npath = \"bank.db\"\n[sources.lost]\npath = \"lost.db\"\n\
         [schedules.save]\ncron = \"{RARELY}\"\nrepository = \"gone\"\ncopy_to = [\"main\", \"full\"]\nattempts = 1\n\
         [schedules.safe]\ncron = \"{RARELY}\"\nrepository = \"locked\"\ncopy_to = [\"main\"]\nsources = [\"bank\"]\n\
         [schedules.plain]\ncron = \"{RARELY}\"\nrepository = \"main\"\nsources = [\"lost\"]\nattempts = 1\n\
         [schedules.tight]\ncron = \"{RARELY}\"\nrepository = \"full\"\nsources = [\"bank\"]\nattempts = 1\n\
         [notifications.n]\non = [\"failure\", \"nearly-full\", \"recovery\", \"success\"]\n\
         command = {{ run = 'echo \"$MANTIS_EVENT $MANTIS_SOURCE $MANTIS_MESSAGE\" >> told' }}\n"
    ));
    make_bank(&world.path("bank.db"), "wal", 4096);
    std::fs::write(world.path("no-folder"), "a file").unwrap();
    let daemon = Daemon::start(&world);
    for schedule in ["save", "tight", "safe", "plain"] {
        world.ok(&["schedule", "run", schedule, "--detach"]);
    }
    wait_until("five ends", || history(&world).len() == 5);
    let mut ends = short(&history(&world));
    ends.sort();
    let expected = [
        "plain/lost:failed",
        "safe/bank:part",
        "save/bank:part",
        "save/lost:failed",
        "tight/bank:failed",
    ];
    assert_eq!(ends, expected);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 2, "the next place took it");
    make_bank(&world.path("lost.db"), "wal", 4096);
    world.ok(&["schedule", "run", "plain", "--detach"]);
    wait_until("its recovery", || history(&world).len() == 6);
    assert!(daemon.stop());
    let told = std::fs::read_to_string(world.path("told")).unwrap();
    for (start, word) in [
        ("failure lost", "lost.db"),
        ("failure bank", "gone: "),
        ("failure bank", "NO_SUCH_VARIABLE"),
        ("nearly-full", "full is nearly full"),
        ("success lost", "full backup"),
        ("recovery lost", "full backup"),
    ] {
        assert!(
            told.lines().any(|line| line.starts_with(start) && line.contains(word)),
            "{start}: {told}"
        );
    }
    // By hand the same tells by its exit code what happened.
    let output = world.run(&["schedule", "run", "save"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(world.run(&["schedule", "run", "tight"]).status.code(), Some(1));
}

#[test]
fn the_configuration_is_read_again_and_a_run_under_way_goes_on() {
    let slow = "[sources.bank]\npath = \"bank.db\"\n[schedules.slow]\ncron = \"0 0 29 2 *\"\nfull = true\nlimit_rate = \"2MB/s\"\ncompression = \"none\"\n";
    let world = configured(slow);
    make_big_bank(&world);
    let daemon = Daemon::start(&world);
    assert_eq!(daemon.page("/health").0, 200);
    assert_eq!(daemon.page("/ready"), (200, "ready\n".into()));
    assert_eq!(daemon.page("/nothing").0, 404);
    world.ok(&["schedule", "run", "slow", "--detach"]);
    wait_until("the run", || daemon.metric("mantis_running ") == Some(1.0));
    // A wrong one changes nothing, and is told.
    std::fs::write(world.path("mantis.toml"), "nonsense = 1\n").unwrap();
    daemon.signal("-HUP");
    wait_until("the refusal", || daemon.metric("mantis_config_ok ") == Some(0.0));
    assert!(daemon.log().contains("1:1: unknown key `nonsense`"), "{}", daemon.log());
    // The schedule that runs goes, another comes.
    write(&world, &slow.replace("schedules.slow", "schedules.other"));
    daemon.signal("-HUP");
    wait_until("the new one", || daemon.metric("mantis_config_ok ") == Some(1.0));
    world.ok(&["schedule", "run", "other", "--detach"]);
    wait_until("both ends", || history(&world).len() == 2);
    assert_eq!(short(&history(&world)), ["slow/bank:done", "other/bank:done"]);
    assert!(daemon.stop());
    assert!(!world.path("state/control.sock").exists());
}

fn make_big_bank(world: &World) {
    make_bank(&world.path("bank.db"), "wal", 4096);
    let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    db.execute_batch("create table big(b); insert into big values(randomblob(8000000));").unwrap();
}

#[test]
fn a_daemon_that_is_stopped_or_killed_begins_again_what_it_was_at() {
    let world = World::empty();
    let text = |rate: &str| {
        format!(
            "state_dir = \"state\"\nlisten = \"\"\nstop_timeout = \"0s\"\n[repositories.main]\nurl = \"repo\"\n\
             [sources.bank]\npath = \"bank.db\"\n[schedules.slow]\ncron = \"{RARELY}\"\nfull = true\n\
             limit_rate = \"{rate}\"\ncompression = \"none\"\n"
        )
    };
    std::fs::write(world.path("mantis.toml"), text("200KB/s")).unwrap();
    world.ok(&["init"]);
    make_big_bank(&world);
    let running = |world: &World| world.ok(&["schedule", "list"])[0]["running"] == true;
    let daemon = Daemon::start(&world);
    let errors = world.fails(&["serve"], 1);
    assert!(errors.contains("another daemon"), "{errors}");
    world.ok(&["schedule", "run", "slow", "--detach"]);
    wait_until("the run", || running(&world));
    assert!(daemon.stop(), "within a bound, and well");
    assert!(!running(&world), "there is no daemon to run it");
    // Begun again at once, and killed.
    let daemon = Daemon::start(&world);
    wait_until("the run", || running(&world));
    daemon.signal("-KILL");
    drop(daemon);
    std::fs::write(world.path("mantis.toml"), text("1GB/s")).unwrap();
    let daemon = Daemon::start(&world);
    wait_until("its end", || history(&world).iter().any(|record| is(record, "slow/bank", "done")));
    assert_eq!(
        short(&history(&world)),
        ["slow/bank:interrupted", "slow/bank:interrupted", "slow/bank:done"]
    );
    assert!(daemon.stop());
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
    world.ok(&["restore", "latest", "--to", "out.db", "--check"]);
    prove_bank(&world.path("out.db"));
}

#[test]
fn a_paused_schedule_stays_so_with_and_without_a_daemon() {
    let world = configured(&format!(
        "[sources.bank]\npath = \"bank.db\"\n[schedules.save]\ncron = \"{RARELY}\"\n"
    ));
    let paused = |world: &World| world.ok(&["schedule", "list"])[0]["paused"] == true;
    world.ok(&["schedule", "pause", "save"]);
    assert!(paused(&world));
    let daemon = Daemon::start(&world);
    wait_until("the gauge", || daemon.metric("mantis_job_paused{") == Some(1.0));
    world.ok(&["schedule", "resume", "save"]);
    assert!(!paused(&world));
    world.ok(&["schedule", "pause", "save/bank"]);
    drop(daemon);
    assert!(paused(&world), "it was kept before it was answered");
    let errors = world.fails(&["schedule", "run", "save", "--detach"], 2);
    assert!(errors.contains("no daemon"), "{errors}");
    let errors = world.fails(&["schedule", "pause", "nothing"], 2);
    assert!(errors.contains("save/bank"), "{errors}");
}

/// A server of webhooks: the requests that it got.
fn hooks() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let got = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let len =
                    head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
                        rest.split("\r\n").next().and_then(|len| len.parse().ok()).unwrap_or(0)
                    });
                if body.len() >= len || read == 0 {
                    keep.lock().unwrap().push(text);
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    (address, got)
}

#[test]
fn webhooks_are_told_and_one_that_cannot_be_fails_nothing() {
    let (address, got) = hooks();
    let world = configured(&format!(
        "[sources.bank]\npath = \"bank.db\"\n[schedules.save]\ncron = \"{RARELY}\"\n\
         [notifications.json]\non = [\"success\"]\nwebhook = {{ url = {{ file = \"hook\" }} }}\n\
         [notifications.ping]\non = [\"success\"]\nwebhook = {{ url = \"http://{address}/ping\", style = \"healthchecks\", headers = {{ X-Token = {{ command = \"echo s3cret\" }} }} }}\n\
         [notifications.dead]\non = [\"success\"]\nwebhook = {{ url = \"http://127.0.0.1:1/token-in-url\" }}\n"
    ));
    std::fs::write(world.path("hook"), format!("http://{address}/json\n")).unwrap();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let daemon = Daemon::start(&world);
    world.ok(&["schedule", "run", "save", "--detach"]);
    wait_until("two are told", || got.lock().unwrap().len() == 2);
    wait_until("the third is given up", || {
        daemon.metric("mantis_notifications_total{notification=\"dead\",outcome=\"failed\"}")
            == Some(1.0)
    });
    assert!(!daemon.log().contains("token-in-url"), "an address may be a secret: {}", daemon.log());
    assert!(daemon.stop());
    assert_eq!(short(&history(&world)), ["save/bank:done"]);
    let mut got = got.lock().unwrap().clone();
    got.sort();
    let (json, ping) = (&got[0], &got[1]);
    assert!(
        json.starts_with("POST /json ")
            && ping.starts_with("POST /ping ")
            && ping.contains("x-token: s3cret"),
        "{got:#?}"
    );
    let body: Value = serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        (&body["event"], &body["source"], &body["schedule"]),
        (&"success".into(), &"bank".into(), &"save".into())
    );
}

#[test]
fn the_log_is_json_where_it_is_wanted() {
    let world = configured("[log]\nformat = \"json\"\nlevel = \"info\"\n");
    let daemon = Daemon::start(&world);
    for line in daemon.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["level"].is_string()
                && line["message"].is_string()
                && line["timestamp"].is_string()
        );
    }
    assert!(daemon.stop());
}
