//! The files for operators: what they ask for is there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mantis_backup::daemon::telemetry::METRICS;
use mantis_tests::daemon::{Daemon, history};
use mantis_tests::{World, make_bank, wait_until};
use serde_json::Value;

fn read(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ops").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The metrics that a text asks for; those of a histogram by its own name.
fn asked(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("mantis_"));
    words
        .map(|word| {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            stem.unwrap_or(word).to_owned()
        })
        .collect()
}

/// The metrics that a page of them shows.
fn shown(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_a_daemon_shows() {
    let world = World::empty();
    let config = r#"
state_dir = "state"
[repositories.main]
url = "repo"
min_free_space = "1MB"
[repositories.copy]
url = "copy"
[sources.bank]
path = "bank.db"
[sources.many]
pattern = "tenants/*.db"
[fleet]
repository = "main"
sources = ["many"]
[retention.one]
keep_last = 1
[schedules.save]
cron = "0 0 29 2 *"
repository = "main"
copy_to = ["copy"]
retention = "one"
[schedules.live]
cron = "0 0 29 2 *"
repository = "main"
sources = ["bank"]
name = "live"
watch = "24h"
[schedules.prove]
cron = "0 0 29 2 *"
do = "verify"
repository = "main"
[schedules.try]
cron = "0 0 29 2 *"
do = "drill"
repository = "copy"
[schedules.free]
cron = "0 0 29 2 *"
do = "prune"
repository = "main"
[notifications.journal]
on = ["success"]
log = true
"#;
    std::fs::write(world.path("mantis.toml"), config).unwrap();
    world.ok(&["init"]);
    make_bank(&world.path("bank.db"), "wal", 4096);
    let daemon = Daemon::start(&world);
    for (at, name) in ["save", "save", "prove", "try", "free"].into_iter().enumerate() {
        world.ok(&["schedule", "run", name, "--detach"]);
        let of_watch = |it: &Value| it["job"] == "live/bank";
        wait_until("its end", || {
            history(&world).iter().filter(|it| !of_watch(it)).count() == at + 1
        });
    }
    let outcomes: Vec<Value> =
        history(&world).iter().map(|record| record["outcome"].clone()).collect();
    assert!(outcomes.iter().all(|outcome| outcome == "done"), "{outcomes:?}");
    let shown = shown(&daemon.page("/metrics").1);
    // What the table of metrics promises is shown, but for stores over networks: here there are none.
    let promised: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let of_networks = |name: &&String| name.starts_with("mantis_store_");
    let missing: Vec<&String> =
        promised.difference(&shown).filter(|name| !of_networks(name)).collect();
    assert!(missing.is_empty(), "promised and not shown: {missing:?}");
    let unknown: Vec<&String> = shown.difference(&promised).collect();
    assert!(unknown.is_empty(), "shown and not described: {unknown:?}");
    for file in ["grafana/mantis.json", "prometheus/alerts.yml"] {
        let asked = asked(&read(file));
        assert!(asked.len() > 8, "{file}");
        let unknown: Vec<&String> = asked.difference(&promised).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(&read("grafana/mantis.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let in_dashboard = asked(&dashboard.to_string());
    let kept_out = [
        "mantis_job_paused",
        "mantis_run_duration_seconds",
        "mantis_store_requests_total",
        "mantis_store_bytes_total",
        "mantis_newest_backup_timestamp_seconds",
        "mantis_backups_total",
    ];
    let unseen: Vec<&String> = promised
        .difference(&in_dashboard)
        .filter(|name| !kept_out.contains(&name.as_str()))
        .collect();
    assert!(unseen.is_empty(), "the dashboard does not show {unseen:?}");
}

#[test]
fn the_sidecars_configuration_is_right() {
    let text = read("kubernetes/sidecar.yaml");
    let (_, config) = text.split_once("mantis.toml: |\n").unwrap();
    let (config, _) = config.split_once("---\n").unwrap();
    let config: String = config.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let parsed = mantis_backup::config::parse(&config);
    let config = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(config.schedules.len(), 4);
}
