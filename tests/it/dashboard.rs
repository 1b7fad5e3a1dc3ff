//! The page of a daemon that backs a live database up: what it shows, and to whom.

use mantis_tests::daemon::{Daemon, history};
use mantis_tests::{World, make_bank, start_python, wait_until};
use serde_json::Value;

const CONFIG: &str = r#"
state_dir = "state"
listen = "127.0.0.1:0"
[repositories.main]
url = "repo"
[sources.bank]
path = "bank.db"
tags = { note = "<script>alert(1)</script>" }
[sources.gone]
path = "gone.db"
[sources.alone]
path = "alone.db"
[schedules.save]
cron = "0 0 29 2 *"
sources = ["bank", "gone"]
attempts = 1
"#;

fn of<'a>(overview: &'a Value, name: &str) -> &'a Value {
    let sources = overview["sources"].as_array().unwrap();
    sources.iter().find(|source| source["name"] == name).unwrap()
}

fn json(daemon: &Daemon, path: &str) -> Value {
    let (status, body) = daemon.page(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn it_shows_what_is_protected_and_what_is_not() {
    let world = World::empty();
    std::fs::write(world.path("mantis.toml"), CONFIG).unwrap();
    world.ok(&["init"]);
    make_bank(&world.path("bank.db"), "wal", 4096);
    let _writer = start_python(&world.path("bank.db"), false);
    let daemon = Daemon::start(&world);
    let standing = |overview: &Value, name| of(overview, name)["standing"].clone();
    let before = json(&daemon, "/api/v1/overview");
    assert_eq!(
        (standing(&before, "bank"), standing(&before, "alone")),
        ("unknown".into(), "unprotected".into())
    );
    world.ok(&["schedule", "run", "save", "--detach"]);
    wait_until("both runs", || history(&world).len() == 2);
    // What was seen of the repository is not looked at again at once.
    wait_until("the backup on the page", || {
        standing(&json(&daemon, "/api/v1/overview"), "bank") == "protected"
    });
    let overview = json(&daemon, "/api/v1/overview");
    assert_eq!(standing(&overview, "gone"), "failing");
    assert_eq!(overview["sources"][0]["name"], "gone", "what needs someone comes first");
    assert!(of(&overview, "gone")["because"].as_str().unwrap().contains("gone.db"));
    assert_eq!(of(&overview, "bank")["backups"], 1);
    let backups = json(&daemon, "/api/v1/backups?source=bank");
    let id = backups["backups"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(Value::from(id.as_str()), world.ok(&["list"])[0]["id"]);
    for none in ["source=else", "tag=else", "to=2001-01-01", "from=2999-01-01", "from=soon"] {
        let found = json(&daemon, &format!("/api/v1/backups?{none}"));
        assert!(found["backups"].as_array().unwrap().is_empty(), "{none}");
        assert_eq!(
            found["problems"].as_array().unwrap().len(),
            usize::from(none.ends_with("soon"))
        );
    }
    let all =
        json(&daemon, "/api/v1/backups?from=2001-01-01&to=2999-01-01&tag=note&repository=main");
    assert_eq!(all["backups"].as_array().unwrap().len(), 1);
    assert_eq!(json(&daemon, "/api/v1/runs?outcome=failed").as_array().unwrap().len(), 1);
    let jobs = json(&daemon, "/api/v1/jobs");
    assert_eq!(jobs[0]["words"], "at 00:00 on day 29 of the month in February");
    for (path, ways) in json(&daemon, "/api/v1/openapi.json")["paths"].as_object().unwrap() {
        let path_here = format!("/api/v1{}", path.replace("{id}", "1").replace("{name}", "x"));
        for way in ways.as_object().unwrap().keys() {
            match way.as_str() {
                // That one does not end.
                "get" if path == "/events" => {}
                "get" if path == "/cron" => {
                    let told = json(&daemon, "/api/v1/cron?cron=@daily&timezone=UTC");
                    assert_eq!(told["next"].as_array().unwrap().len(), 5);
                    assert_eq!(daemon.page("/api/v1/cron?cron=soon").0, 422);
                }
                "get" => assert_eq!(daemon.page(&path_here).0, 200, "{path} is described"),
                // Nobody can log in here, and so nobody can change anything.
                way => {
                    let way = (&*way.to_uppercase(), &*path_here);
                    assert_eq!(daemon.request(way, &[], "{}").0, 403, "{path}");
                }
            }
        }
    }
    for (path, shows) in [
        ("/", "unprotected"),
        ("/backups?tag=note", &id[..8]),
        (&format!("/backups/main/{id}"), "mantis restore"),
        ("/schedules", "save/bank"),
        ("/restore?repository=main&source=bank", "Which moment"),
        (
            &format!("/restore?repository=main&source=bank&backup={id}"),
            "Nothing can be restored to",
        ),
        ("/log", "Nothing yet"),
        ("/runs?job=save/gone", "failed"),
        ("/style.css", "--ground"),
    ] {
        let (status, page) = daemon.page(path);
        assert!(status == 200 && page.contains(shows), "{path}: {status}");
        assert!(!page.contains("<script>"), "{path}: what a tag says is no markup");
    }
    assert_eq!(daemon.page("/backups/main/0000").0, 404);
    assert_eq!(daemon.page("/nothing").0, 404);
    assert!(daemon.stop());
}

#[test]
fn it_answers_this_machine_alone() {
    let world = World::empty();
    std::fs::write(world.path("mantis.toml"), CONFIG).unwrap();
    world.ok(&["init"]);
    let daemon = Daemon::start(&world);
    for host in ["rebound.example", "localhost.rebound.example:80", "", "[::1].rebound.example"] {
        for path in ["/", "/backups", "/api/v1/overview", "/style.css"] {
            let (head, _) = daemon.asked_as(host, path);
            assert!(!head.contains(" 200 "), "{host:?} {path}: {head}");
        }
    }
    let (head, _) = daemon.asked_as("localhost:8420", "/");
    assert!(head.contains(" 200 "));
    for header in
        ["content-security-policy: default-src 'none'", "x-frame-options: DENY", "nosniff"]
    {
        assert!(head.contains(header), "{head}");
    }
    // Those are for other programs, which may have another name for this machine.
    assert!(daemon.asked_as("node.example", "/metrics").0.contains(" 200 "));
    assert!(daemon.stop());
    // Others reach this address: no page there.
    let all = CONFIG.replace("127.0.0.1:0", "0.0.0.0:0");
    std::fs::write(world.path("mantis.toml"), all).unwrap();
    let child = world.command(&["serve"]).stderr(std::process::Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("metrics at") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it ended");
    }
    let port = line.rsplit_once("0.0.0.0:").unwrap().1.split('/').next().unwrap().to_owned();
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let request = "GET /api/v1/overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
