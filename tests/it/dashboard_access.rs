//! Who comes in to the daemon's pages, and what they may do there.

use std::path::Path;

use mantis_tests::daemon::{Daemon, history};
use mantis_tests::house::{FORM, House, JSON, form};
use mantis_tests::{World, committed, prove_bank, start_python, wait_until};
use serde_json::{Value, json};

fn act(house: &House, cookie: &str, csrf: &str, more: &[(&str, &str)]) -> u32 {
    let body = form(&[("csrf", csrf), ("do", "run"), ("name", "save"), ("back", "/schedules")]);
    let headers = [&[FORM, ("Cookie", cookie)], more].concat();
    house.daemon.request(("POST", "/act"), &headers, &body).0
}

fn by_token(house: &House, way: (&str, &str), body: &Value) -> (u32, Value) {
    let bearer = format!("Bearer {}", house.token);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Authorization", bearer.as_str()), JSON];
    let (status, _, body) = house.daemon.request(way, &headers, &body);
    (status, serde_json::from_str(&body).unwrap_or_default())
}

fn changes(house: &House) -> Vec<(String, String, bool)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let changes = house.changes();
    let changes = changes.iter().rev();
    changes.map(|it| (text(&it["user"]), text(&it["what"]), it["error"].is_string())).collect()
}

fn noted(user: &str, what: &str, refused: bool) -> (String, String, bool) {
    (user.into(), what.into(), refused)
}

#[test]
fn nobody_comes_in_without_a_login_and_nothing_is_done_for_a_page_from_elsewhere() {
    let house = House::new("");
    for path in ["/", "/backups", "/restore", "/restores/1", "/log", "/nothing"] {
        let (status, head, _) = house.daemon.request(("GET", path), &[], "");
        assert!(status == 303 && head.contains("location: /login"), "{path}: {head}");
    }
    for path in ["overview", "jobs", "runs", "backups", "changes", "restores", "events"] {
        let (status, body) = house.get(&format!("/api/v1/{path}"), "mantis=0");
        assert_eq!(status, 401, "{path}: {body}");
    }
    for path in ["/act", "/restore", "/logout", "/api/v1/actions", "/api/v1/restores"] {
        assert!(matches!(house.daemon.request(("POST", path), &[FORM], "").0, 303 | 401), "{path}");
    }
    for path in ["/login", "/style.css", "/live.js", "/icon.svg"] {
        assert_eq!(house.get(path, "").0, 200, "{path}");
    }
    // Programs that watch the daemon need none.
    assert_eq!(house.get("/metrics", "").0, 200);
    let cookie = house.login("anna", "open sesame");
    let csrf = house.csrf(&cookie);
    let elsewhere = [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    for header in elsewhere {
        assert_eq!(act(&house, &cookie, &csrf, &[header]), 403, "{header:?}");
        assert_eq!(house.try_login("anna", "open sesame", &[header]).0, 403, "{header:?}");
    }
    for wrong in ["", "0", &csrf[1..], &house.csrf(&house.login("rita", "just looking"))] {
        assert_eq!(act(&house, &cookie, wrong, &[]), 403, "{wrong:?}");
    }
    let action = json!({ "do": "run", "name": "save" }).to_string();
    let way = ("POST", "/api/v1/actions");
    let by_cookie = [JSON, ("Cookie", &cookie)];
    assert_eq!(house.daemon.request(way, &by_cookie, &action).0, 403, "no token of the session");
    let long = "x".repeat(100_000);
    assert_eq!(house.daemon.request(way, &by_cookie, &long).0, 413);
    assert!(history(&house.world).is_empty(), "nothing of that was done");
    let with_token = [JSON, ("Cookie", &cookie), ("X-CSRF-Token", &csrf)];
    assert_eq!(house.daemon.request(way, &with_token, &action).0, 200);
    wait_until("the run", || history(&house.world).len() == 1);
    assert_eq!(act(&house, &cookie, &csrf, &[("Sec-Fetch-Site", "same-origin")]), 303);
    wait_until("the second run", || history(&house.world).len() == 2);
    // Names that lead here count; others do not, whoever asks.
    let as_host = |host: &str| house.daemon.asked_as(host, "/login").0;
    assert!(as_host("backups.example").contains(" 200 "));
    assert!(as_host("rebound.example").contains(" 421 "));
    let out = form(&[("csrf", &csrf)]);
    let logout = house.daemon.request(("POST", "/logout"), &[FORM, ("Cookie", &cookie)], &out);
    assert!(logout.0 == 303 && logout.1.contains("Max-Age=0"), "{}", logout.1);
    assert_eq!(house.get("/", &cookie).0, 303, "it has ended");
    assert!(house.daemon.stop());
}

#[test]
fn passwords_are_not_tried_without_end_and_each_try_is_noted() {
    let house = House::new("");
    for (user, password) in [("anna", "open"), ("anna", ""), ("nobody", "x"), ("ci", &house.token)]
    {
        let (status, head) = house.try_login(user, password, &[]);
        assert!(status == 401 && !head.contains("set-cookie"), "{user}: {head}");
    }
    for _ in 0..3 {
        assert_eq!(house.try_login("anna", "wrong", &[]).0, 401);
    }
    let (status, head) = house.try_login("anna", "open sesame", &[]);
    assert!(status == 429 && head.contains("retry-after: "), "{head}");
    let _ = house.login("rita", "just looking");
    let changes = changes(&house);
    assert_eq!(changes.iter().filter(|it| **it == noted("anna", "login", true)).count(), 5);
    assert_eq!(changes.last(), Some(&noted("rita", "login", false)));
    let log = std::fs::read_to_string(house.world.path("state/audit.jsonl")).unwrap();
    for secret in ["wrong", "just looking", &house.token] {
        assert!(!log.replace("a wrong name or password", "").contains(secret), "{secret}");
        assert!(!house.daemon.log().replace("a wrong name", "").contains(secret), "{secret}");
    }
    assert!(house.daemon.stop());
}

#[test]
fn a_reader_changes_nothing_and_who_is_taken_out_is_out() {
    let house = House::new("");
    let (anna, rita) = (house.login("anna", "open sesame"), house.login("rita", "just looking"));
    let buttons = |cookie| house.get("/schedules", cookie).1.contains("Run now");
    assert!(buttons(&anna) && !buttons(&rita));
    assert_eq!(act(&house, &rita, &house.csrf(&rita), &[]), 403);
    let wish = form(&[("csrf", &house.csrf(&rita)), ("repository", "main")]);
    let headers = [FORM, ("Cookie", rita.as_str())];
    assert_eq!(house.daemon.request(("POST", "/restore"), &headers, &wish).0, 403);
    assert_eq!(house.get("/api/v1/overview", &rita).0, 200);
    // The configuration decides, at once: anna may only look, rita is gone.
    let file = house.world.path("mantis.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"operator\"", "\"read-only\"");
    let (before, after) = text.split_once("[dashboard.users.rita]").unwrap();
    let after = &after[after.find("[dashboard.users.ci]").unwrap()..];
    std::fs::write(&file, format!("{before}{after}")).unwrap();
    house.daemon.signal("-HUP");
    wait_until("the new configuration", || house.get("/", &rita).0 == 303);
    assert!(!buttons(&anna));
    assert_eq!(act(&house, &anna, &house.csrf(&anna), &[]), 403);
    let action = json!({ "do": "run", "name": "save" });
    assert_eq!(by_token(&house, ("POST", "/api/v1/actions"), &action).0, 403);
    assert!(history(&house.world).is_empty());
    assert!(house.daemon.stop());
}

#[test]
fn a_program_runs_pauses_cancels_and_restores() {
    // At this rate a backup takes its time.
    let house = House::new("limit_rate = \"4MB/s\"\nspool_limit = \"0\"\n");
    house.grow(48);
    let _writer = start_python(&house.world.path("bank.db"), false);
    let act = |what: &str, name: &str| {
        by_token(&house, ("POST", "/api/v1/actions"), &json!({ "do": what, "name": name }))
    };
    let jobs =
        |key: &str| by_token(&house, ("GET", "/api/v1/jobs"), &Value::Null).1[0][key].clone();
    assert_eq!(act("pause", "save"), (200, json!({ "jobs": ["save/bank"] })));
    assert_eq!(jobs("paused"), true);
    assert_eq!(act("resume", "save/bank").0, 200);
    assert_eq!(jobs("paused"), false);
    let (status, answer) = act("run", "other");
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("other"), "{answer}");
    assert_eq!(act("cancel", "save").0, 409, "nothing runs");
    assert_eq!(act("explode", "save").0, 422);
    act("run", "save");
    let running =
        || by_token(&house, ("GET", "/api/v1/overview"), &Value::Null).1["running"].clone();
    let mut seen = Value::Null;
    wait_until("progress", || {
        seen = running().get(0).cloned().unwrap_or_default();
        seen["bytes"].as_u64().unwrap_or(0) > 0
    });
    assert!(seen["bytes_total"].as_u64() > seen["bytes"].as_u64(), "{seen}");
    assert_eq!((&seen["job"], &seen["do"]), (&json!("save/bank"), &json!("backup")));
    assert_eq!(seen["writers_held_ms"], 0, "a database with a WAL");
    // The same, as it is told to who watches.
    let bearer = format!("Bearer {}", house.token);
    let mut stream = std::net::TcpStream::connect(house.daemon.address()).unwrap();
    let head = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\r\n"
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut told = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    while !told.contains("\"bytes_per_second\"") {
        told = lines.next().unwrap().unwrap();
    }
    assert!(told.starts_with("data: ") && told.contains("save/bank"), "{told}");
    assert_eq!(act("cancel", "save/bank").0, 200);
    wait_until("its end", || history(&house.world).len() == 1);
    assert_eq!(history(&house.world)[0]["outcome"], "cancelled");
    assert!(house.world.ok(&["list"]).as_array().unwrap().is_empty(), "nothing is left of it");
    let made = house.world.ok(&["backup", "bank.db", "--name", "bank"]);
    let id = made["id"].as_str().or_else(|| made[0]["id"].as_str()).unwrap().to_owned();
    restore_by_program(&house, &id);
    let changes = changes(&house);
    for what in ["run", "pause", "resume", "cancel", "restore"] {
        assert!(changes.contains(&noted("ci", what, false)), "{what}: {changes:?}");
    }
    assert!(changes.contains(&noted("ci", "run", true)), "what is not there");
    assert!(house.daemon.stop());
}

#[test]
fn a_program_verifies_and_prunes_a_repository() {
    let house = House::new("");
    let _writer = start_python(&house.world.path("bank.db"), false);
    let act = |what: &str, name: &str| {
        by_token(&house, ("POST", "/api/v1/actions"), &json!({ "do": what, "name": name }))
    };
    let (status, answer) = act("verify", "else");
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("else"), "{answer}");
    for _ in 0..2 {
        house.world.ok(&["backup", "bank.db", "--name", "bank"]);
    }
    assert_eq!(act("verify", "main"), (200, json!({ "jobs": ["verify:main"] })));
    wait_until("the verify", || history(&house.world).len() == 1);
    let ran = history(&house.world)[0].clone();
    assert_eq!((&ran["schedule"], &ran["do"]), (&json!("verify:main"), &json!("verify")), "{ran}");
    assert_eq!((&ran["outcome"], &ran["manual"]), (&json!("done"), &json!(true)), "{ran}");
    assert!(ran["summary"].as_str().unwrap().contains("2 backups"), "{ran}");
    assert_eq!(act("prune", "main").0, 200);
    wait_until("the prune", || history(&house.world).len() == 2);
    assert_eq!(history(&house.world)[1]["outcome"], "done");
    assert_eq!(house.world.ok(&["list"]).as_array().unwrap().len(), 2);
    // What is damaged is found, and told as of any run.
    let segment = walk(&house.world.path("repo/seg"));
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert_eq!(act("verify", "main").0, 200);
    wait_until("the second verify", || history(&house.world).len() == 3);
    assert_eq!(history(&house.world)[2]["outcome"], "failed");
    let page =
        by_token(&house, ("GET", "/api/v1/runs?job=verify:main&outcome=failed"), &Value::Null);
    assert_eq!(page.1.as_array().unwrap().len(), 1);
    // There is no next run that would put it right: it is told, and alerts of jobs do not stand for ever.
    let (_, metrics) = house.daemon.page("/metrics");
    let stands = |line: &&str| line.starts_with("mantis_job_ok") && line.contains("verify:main");
    assert_eq!(metrics.lines().find(stands), None);
    assert!(metrics.lines().any(|line| line.starts_with("mantis_verify_damaged_objects")));
    assert!(house.daemon.stop());
}

/// A file below a folder.
fn walk(folder: &std::path::Path) -> std::path::PathBuf {
    let entry = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { walk(&entry) } else { entry }
}

#[test]
fn a_program_changes_schedules_and_rules() {
    let house = House::new("");
    let of = |path: &str| by_token(&house, ("GET", path), &Value::Null).1;
    let put = |path: &str, body: Value, version: Option<&str>| {
        let bearer = format!("Bearer {}", house.token);
        let mut headers = vec![("Authorization", bearer.as_str()), JSON];
        headers.extend(version.map(|version| ("If-Match", version)));
        house.daemon.request(("PUT", path), &headers, &body.to_string()).0
    };
    let before = std::fs::read_to_string(house.world.path("mantis.toml")).unwrap();
    let bearer = format!("Bearer {}", house.token);
    let headers = [("Authorization", bearer.as_str())];
    let (_, head, _) = house.daemon.request(("GET", "/api/v1/schedules"), &headers, "");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let mut schedule = of("/api/v1/schedules")["save"].clone();
    assert_eq!((&schedule["cron"], &schedule["enabled"]), (&json!("0 0 29 2 *"), &json!(true)));
    schedule["cron"] = json!("0 3 * * *");
    schedule["retention"] = json!("usual");
    let save = "/api/v1/schedules/save";
    assert_eq!(put(save, schedule.clone(), Some("\"other\"")), 412);
    assert_eq!(put(save, schedule.clone(), Some(etag)), 204);
    assert_eq!(put(save, schedule.clone(), Some(etag)), 412, "it was changed meanwhile");
    assert_eq!(put(save, schedule.clone(), None), 204);
    assert_eq!(of("/api/v1/schedules")["save"], schedule, "it counts at once");
    assert_eq!(of("/api/v1/jobs")[0]["cron"], "0 3 * * *");
    assert_eq!(put(save, json!({ "cron": "soon" }), None), 422);
    assert_eq!(put(save, json!({ "cron": "@daily", "command": "rm" }), None), 422);
    assert_eq!(put("/api/v1/schedules/a%20b", json!({ "cron": "@daily" }), None), 422);
    assert_eq!(
        put("/api/v1/schedules/check", json!({ "cron": "@weekly", "do": "verify" }), None),
        204
    );
    let mut rules = of("/api/v1/retention")["usual"].clone();
    assert_eq!((&rules["keep_daily"], &rules["keep_last"]), (&json!(7), &Value::Null));
    rules["keep_daily"] = Value::Null;
    rules["keep_within"] = json!("48h");
    assert_eq!(put("/api/v1/retention/usual", rules.clone(), None), 204);
    assert_eq!(of("/api/v1/retention")["usual"], rules);
    assert_eq!(put("/api/v1/retention/usual", json!({}), None), 422, "rules that keep nothing");
    assert_eq!(put("/api/v1/retention/usual", json!({ "keep_daily": 0 }), None), 422);
    let after = std::fs::read_to_string(house.world.path("mantis.toml")).unwrap();
    let rest = |text: &str| text.split("[dashboard]").nth(1).unwrap().to_owned();
    assert_eq!(rest(&after), rest(&before));
    assert!(
        after.contains("keep_within = \"48h\"") && after.contains("do = \"verify\""),
        "{after}"
    );
    let changes = changes(&house);
    for what in ["schedule", "retention"] {
        assert!(changes.contains(&noted("ci", what, false)), "{changes:?}");
    }
    assert!(house.daemon.stop());
}

#[test]
fn the_command_talks_to_a_daemon_elsewhere() {
    let house = House::new("");
    // Nothing of the daemon is in this folder: neither its configuration nor its state.
    let elsewhere = World::empty();
    let url = format!("http://{}", house.daemon.address());
    let file = elsewhere.path("token");
    std::fs::write(&file, format!("{}\n", house.token)).unwrap();
    let token = file.display().to_string();
    let by = |arguments: &[&str]| {
        let more = ["--daemon", &url, "--token-file", &token];
        elsewhere.ok(&[&["schedule"], arguments, &more].concat())
    };
    assert_eq!(by(&["list"])[0]["job"], "save/bank");
    assert_eq!(by(&["pause", "save"])["jobs"][0], "save/bank");
    assert_eq!(by(&["list"])[0]["paused"], true);
    by(&["resume", "save"]);
    by(&["run", "save"]);
    wait_until("the run", || by(&["history"])[0]["outcome"] == "done");
    assert_eq!(by(&["history", "--failed"]), json!([]));
    let without = elsewhere.fails(&["schedule", "list", "--daemon", &url], 2);
    assert!(without.contains("nobody is logged in") && without.contains("mantis config token"));
    let wrong = ["schedule", "cancel", "save", "--daemon", &url, "--token-file", &token];
    assert!(elsewhere.fails(&wrong, 2).contains("nothing of"), "nothing runs");
    let nowhere = ["schedule", "list", "--daemon", "http://localhost:1"];
    assert!(elsewhere.fails(&nowhere, 1).contains("talk to the daemon"));
    let openly = ["schedule", "list", "--daemon", "http://192.0.2.1", "--token-file", &token];
    assert!(elsewhere.fails(&openly, 2).contains("plain HTTP"));
    assert!(house.daemon.stop());
}

#[test]
fn https_is_spoken_where_it_is_configured_and_a_renewed_certificate_counts() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls");
    let world = World::empty();
    world.ok(&["init"]);
    let made = world.ok(&["config", "token"]);
    std::fs::write(world.path("token"), made["token"].as_str().unwrap()).unwrap();
    let put = |name: &str| {
        for kind in ["pem", "key"] {
            let there = world.path(&format!("own.{kind}"));
            std::fs::copy(format!("{fixtures}/{name}.{kind}"), there).unwrap();
        }
    };
    put("first");
    let config = format!(
        "state_dir = \"state\"\n[repositories.main]\nurl = \"repo\"\n[dashboard]\ntls = {{ certificate = \"own.pem\", key = \"own.key\" }}\n[dashboard.users.ci]\nrole = \"read-only\"\ntoken_hash = {}\n",
        made["token_hash"]
    );
    std::fs::write(world.path("mantis.toml"), config).unwrap();
    let daemon = Daemon::start(&world);
    let port = daemon.address().rsplit(':').next().unwrap().to_owned();
    let url = format!("https://localhost:{port}");
    let lists = |trusted: &str| {
        let arguments = ["schedule", "list", "--daemon", &url, "--token-file", "token"];
        let mut command = world.command(&arguments);
        command.env("SSL_CERT_FILE", format!("{fixtures}/{trusted}.pem"));
        command.output().unwrap().status.success()
    };
    assert!(lists("first") && !lists("second"));
    put("second");
    daemon.signal("-HUP");
    wait_until("the new certificate", || lists("second"));
    assert!(!lists("first"));
    // What does not belong together is told, and what was there stays in use.
    std::fs::copy(format!("{fixtures}/first.key"), world.path("own.key")).unwrap();
    daemon.signal("-HUP");
    wait_until("what is wrong", || daemon.log().contains("stays as it was"));
    assert!(lists("second"));
    assert!(daemon.stop());
}

fn restore_by_program(house: &House, id: &str) {
    let folder = house.world.path("restored");
    let wish = |folder: &Path, file: &str| json!({ "repository": "main", "backup": id, "folder": folder, "file": file, "check": true });
    let begin = |wish: &Value| by_token(house, ("POST", "/api/v1/restores"), wish);
    // What was seen of the repository is some seconds old at most.
    let mut begun = (0, Value::Null);
    wait_until("the backup to be seen", || {
        begun = begin(&wish(&folder, "then.db"));
        begun.0 != 404
    });
    assert_eq!(begun, (200, json!({ "id": 1 })));
    let state = || by_token(house, ("GET", "/api/v1/restores"), &Value::Null).1[0].clone();
    wait_until("the restore", || state()["state"] != "running");
    assert_eq!(state()["state"], "done", "{}", state());
    assert!(prove_bank(&folder.join("then.db")) <= committed(&house.world.path("bank.db")));
    for (folder, file) in [
        (folder.as_path(), "then.db"),
        (folder.as_path(), "../then.db"),
        (house.world.folder.path(), "then.db"),
        (Path::new("/etc"), "then.db"),
    ] {
        let (status, answer) = begin(&wish(folder, file));
        assert_eq!(status, 409, "{folder:?} {file}: {answer}");
    }
    let unknown = json!({ "repository": "main", "backup": "00", "folder": folder, "file": "b.db" });
    assert_eq!(begin(&unknown).0, 404);
    assert_eq!(by_token(house, ("POST", "/api/v1/restores/1/cancel"), &Value::Null).0, 409);
    assert_eq!(by_token(house, ("POST", "/api/v1/restores/9/cancel"), &Value::Null).0, 404);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "one file was made");
}
