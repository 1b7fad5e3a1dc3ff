//! Many databases by one pattern: taken up as their files come, let go of as they go.

use std::path::Path;

use mantis_tests::daemon::Daemon;
use mantis_tests::watch::Watch;
use mantis_tests::{World, make_bank, prove_bank, wait_until};
use serde_json::Value;

/// A tenant's database, at rest, there from one moment to the next.
fn tenant(world: &World, name: &str) {
    let folder = world.path("tenants").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    put(world, &folder.join("app.db"));
}

fn put(world: &World, path: &Path) {
    let made = world.path("made.db");
    make_bank(&made, "wal", 4096);
    std::fs::rename(made, path).unwrap();
}

fn remove(world: &World, name: &str) {
    std::fs::remove_dir_all(world.path("tenants").join(name)).unwrap();
}

/// The sources that there are backups of.
fn backed_up(world: &World) -> Vec<String> {
    let listed = world.ok(&["list"]);
    let of = |backup: &Value| backup["source"].as_str().unwrap().to_owned();
    let mut sources: Vec<String> = listed.as_array().unwrap().iter().map(of).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn prove(world: &World, source: &str) {
    let then = world.path("then.db");
    world.ok(&["restore", "--source", source, "--to", "then.db", "--check"]);
    prove_bank(&then);
    std::fs::remove_file(then).unwrap();
}

#[test]
fn a_pattern_is_watched_as_files_come_and_go() {
    let world = World::new();
    for name in ["a", "b", "tmp/x"] {
        tenant(&world, name);
    }
    let arguments = [
        "watch",
        "tenants/**/*.db",
        "--exclude",
        "tmp/**",
        "--every",
        "200ms",
        "--find-every",
        "200ms",
    ];
    let watch = Watch::start(&world, &arguments);
    watch.until("backup", 2);
    assert_eq!(backed_up(&world), ["tenants/a/app.db", "tenants/b/app.db"]);
    tenant(&world, "deep/down/c");
    watch.until("found", 3);
    watch.until("backup", 3);
    // A file that is no database yet is one a moment later.
    let early = world.path("tenants/d.db");
    std::fs::write(&early, "").unwrap();
    watch.until("found", 4);
    put(&world, &early);
    wait_until("its backup", || backed_up(&world).contains(&"tenants/d.db".to_owned()));
    remove(&world, "b");
    watch.until("gone", 1);
    // A root that is not there may be a disk that is not mounted: nothing is gone.
    std::fs::rename(world.path("tenants"), world.path("away")).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    std::fs::rename(world.path("away"), world.path("tenants")).unwrap();
    assert_eq!(watch.count("gone"), 1);
    assert_eq!(watch.stop(), Some(0));
    let all =
        ["tenants/a/app.db", "tenants/b/app.db", "tenants/d.db", "tenants/deep/down/c/app.db"];
    assert_eq!(backed_up(&world), all);
    all.iter().for_each(|source| prove(&world, source));
}

#[test]
fn a_daemon_takes_up_and_lets_go_of_databases() {
    let world = World::empty();
    let text = "state_dir = \"state\"\nlisten = \"127.0.0.1:0\"\nfind_every = \"200ms\"\n[repositories.main]\nurl = \"repo\"\n\
        [sources.all]\npattern = \"tenants/*/*.db\"\ntags = { tenant = \"{source}\" }\n\
        [schedules.live]\ncron = \"0 0 29 2 *\"\nwatch = \"200ms\"\n[schedules.nightly]\ncron = \"0 0 29 2 *\"\nname = \"nightly-{source}\"\n";
    std::fs::write(world.path("mantis.toml"), text).unwrap();
    world.ok(&["init"]);
    tenant(&world, "a");
    let daemon = Daemon::start(&world);
    wait_until("a backup of the first", || backed_up(&world) == ["all/a/app.db"]);
    assert_eq!(world.ok(&["list"])[0]["tags"]["tenant"], "all/a/app.db");
    tenant(&world, "b");
    wait_until("a backup of the second", || backed_up(&world).len() == 2);
    let jobs = || {
        let listed = world.ok(&["schedule", "list"]);
        let ids = listed.as_array().unwrap().iter();
        ids.map(|job| job["job"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let both =
        ["live/all/a/app.db", "live/all/b/app.db", "nightly/all/a/app.db", "nightly/all/b/app.db"];
    assert_eq!(jobs(), both);
    assert_eq!(daemon.metric("mantis_sources_found{source=\"all\"}"), Some(2.0));
    // A run of one of them, as of any source.
    world.ok(&["schedule", "run", "nightly/all/b/app.db", "--detach"]);
    wait_until("its backup", || backed_up(&world).contains(&"nightly-all/b/app.db".to_owned()));
    wait_until("the pages to show both", || {
        let page = daemon.page("/").1;
        page.contains("all/a/app.db") && page.contains("all/b/app.db")
    });
    assert!(daemon.page("/settings").1.contains("tenants/*/*.db"));
    remove(&world, "a");
    wait_until("that it is gone", || {
        jobs() == both[1..2].iter().chain(&both[3..]).copied().collect::<Vec<_>>()
    });
    wait_until("that it is told", || daemon.log().contains("no longer backed up"));
    // It is let go of a little after it is told to be gone.
    let at_stake = "mantis_rpo_seconds{schedule=\"live\",source=\"all/a/app.db\"";
    wait_until("that nothing of it is at stake", || {
        daemon.metric(at_stake).is_none_or(f64::is_nan)
    });
    wait_until("the page without it", || !daemon.page("/").1.contains("all/a/app.db"));
    // Reading the file again changes nothing of what was found.
    daemon.signal("-HUP");
    wait_until("it", || daemon.log().contains("the configuration was read again"));
    assert_eq!(jobs().len(), 2);
    assert!(daemon.stop());
    prove(&world, "all/a/app.db");
    prove(&world, "all/b/app.db");
}

#[test]
fn what_is_wrong_with_a_pattern_is_told() {
    let world = World::empty();
    let check = |source: &str| {
        let text = format!(
            "[repositories.main]\nurl = \"repo\"\n[sources.all]\n{source}\n[schedules.s]\ncron = \"@daily\"\n"
        );
        std::fs::write(world.path("mantis.toml"), text).unwrap();
        let output = world.command(&["config", "check"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(check("pattern = \"x/[\"").contains("is no pattern"));
    assert!(check("pattern = \"x/*\"\npath = \"a.db\"").contains("one `path`"));
    assert!(check("tags = { a = \"b\" }").contains("neither `path` nor `pattern`"));
    assert!(check("path = \"a.db\"\nexclude = [\"*\"]").contains("no meaning without `pattern`"));
    assert!(check("pattern = \"x/*.db\"").contains("\"ok\": true"));
}
