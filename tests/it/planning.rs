//! Retention rules and cron expressions, by the command.

use mantis_tests::{World, make_bank};
use serde_json::{Value, json};

fn write_backups(world: &World, backups: &Value) {
    std::fs::write(world.path("backups.json"), backups.to_string()).unwrap();
}

fn ids(backups: &Value) -> Vec<&str> {
    backups.as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap()).collect()
}

#[test]
fn a_file_of_backups_is_planned_without_a_repository() {
    let world = World::empty();
    let mut backups: Vec<Value> = (1..=28)
        .map(|day| json!({ "id": format!("b{day}"), "source": "orders", "created_at": format!("2026-02-{day:02}T02:00:00Z") }))
        .collect();
    backups.push(json!({ "id": "old", "source": "orders", "created_at": "2024-05-01T02:00:00Z", "tags": { "keep": "yes" } }));
    backups.push(json!({ "id": 7, "source": "other", "created_at": "2020-05-01T02:00:00Z" }));
    backups.push(json!({ "id": "bad", "source": "orders", "created_at": "2026-02-28T09:00:00Z", "state": "failed" }));
    write_backups(&world, &json!(backups));
    let plan = |more: &[&str]| {
        let base = [
            "retention",
            "simulate",
            "--backups",
            "backups.json",
            "--now",
            "2026-02-28T12:00:00Z",
            "--tz",
            "UTC",
        ];
        world.ok(&[&base[..], more].concat())
    };
    let kept = plan(&["--keep-daily", "2", "--keep-weekly", "2", "--keep-tag", "keep=yes"]);
    assert_eq!(ids(&kept["keep"]), ["old", "b22", "b27", "b28", "7"]);
    assert_eq!(kept["keep"][0]["reasons"], json!(["tag keep=yes"]));
    assert_eq!(
        kept["keep"][3]["reasons"],
        json!(["daily 2026-02-28", "weekly 2026-W09", "newest of its source"])
    );
    assert_eq!((ids(&kept["remove"]).len(), ids(&kept["ignored"])), (25, vec!["bad"]));
    let capped = plan(&["--keep-daily", "5", "--max-count", "3", "--max-age", "1y"]);
    assert_eq!(ids(&capped["keep"]), ["b26", "b27", "b28", "7"]);
    let warnings = capped["warnings"].to_string();
    assert!(
        warnings.contains("keep_daily wants 5") && warnings.contains("newest backup of other"),
        "{warnings}"
    );
    let over =
        capped["remove"].as_array().unwrap().iter().find(|backup| backup["id"] == "b25").unwrap();
    assert_eq!(
        (&over["why"], &over["despite"]),
        (&json!("more than max_count"), &json!(["daily 2026-02-25"]))
    );
    let year = world.ok(&[
        "retention",
        "simulate",
        "--schedule",
        "0 2 * * *",
        "--now",
        "2026-02-28T12:00:00Z",
        "--keep-monthly",
        "12",
    ]);
    assert_eq!(ids(&year["keep"]).len(), 12);
}

#[test]
fn what_is_no_file_of_backups_is_refused_with_help() {
    let world = World::empty();
    let simulate = ["retention", "simulate", "--backups", "backups.json", "--keep-last", "1"];
    assert!(world.fails(&simulate, 1).contains("help: "));
    let twice = json!([
        { "id": "a", "source": "s", "created_at": "2026-02-28T12:00:00Z" },
        { "id": "a", "source": "s", "created_at": "2026-02-28T13:00:00Z" },
    ]);
    for (wrong, code) in [
        (json!({}), 1),
        (json!([{ "id": "a" }]), 1),
        (json!([{ "id": "a", "source": "s", "created_at": "yesterday" }]), 2),
        (twice, 1),
    ] {
        write_backups(&world, &wrong);
        let _ = world.fails(&simulate, code);
    }
    write_backups(&world, &json!([]));
    assert!(world.fails(&simulate[..4], 2).contains("help: "), "there is no rule");
    assert!(
        world
            .fails(&["retention", "simulate", "--backups", "x", "--keep-within", "30m"], 2)
            .contains("months or minutes")
    );
}

#[test]
fn rules_forget_what_is_in_a_repository_and_say_why() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let backups: Vec<Value> =
        (0..4).map(|at| world.ok(&["backup", "bank.db", "--tag", &format!("at={at}")])).collect();
    let plan = world.ok(&["forget", "--keep-yearly", "3", "--keep-tag", "at=1", "--dry-run"]);
    assert_eq!(
        ids(&plan["keep"]),
        [backups[1]["id"].as_str().unwrap(), backups[3]["id"].as_str().unwrap()]
    );
    assert!(plan["keep"][1]["reasons"].to_string().contains("yearly 20"), "{plan}");
    assert_eq!(plan["remove"][0]["why"], "no rule keeps it");
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 4);
    let id = backups[0]["id"].as_str().unwrap();
    assert!(world.fails(&["forget", id, "--keep-daily", "1"], 2).contains("help: "));
    assert!(
        world
            .fails(&["forget", "--keep-daily", "1", "--tz", "Nowhere"], 2)
            .contains("Europe/Berlin")
    );
    world.ok(&["forget", "--max-count", "2"]);
    let left = world.ok(&["list"]);
    assert_eq!(
        ids(&left),
        [backups[2]["id"].as_str().unwrap(), backups[3]["id"].as_str().unwrap()]
    );
    world.ok(&["forget", "--keep-within", "1y"]);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 2);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.ok(&["forget", "--max-age", "1s"]);
    assert_eq!(ids(&world.ok(&["list"])), [backups[3]["id"].as_str().unwrap()], "the newest stays");
    world.ok(&["restore", "latest", "--to", "r.db", "--check"]);
}

#[test]
fn schedules_show_their_next_times() {
    let world = World::empty();
    let next = |more: &[&str]| world.ok(&[&["schedule", "next"][..], more].concat());
    let berlin = ["--tz", "Europe/Berlin", "--from", "2026-10-24T12:00:00Z", "--count", "2"];
    assert_eq!(
        next(&[&["30 2 * * *"][..], &berlin].concat()),
        json!(["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"])
    );
    let utc = ["--tz", "UTC", "--from", "2026-11-25T00:00:00Z", "--count", "1"];
    assert_eq!(next(&[&["0 9 * * 7"][..], &utc].concat()), json!(["2026-11-29T09:00:00Z"]));
    assert_eq!(next(&["@hourly"]).as_array().unwrap().len(), 5);
    assert!(world.fails(&["schedule", "next", "0 0 30 2 *"], 2).contains("never comes true"));
    assert!(world.fails(&["schedule", "next", "0 0 * * 8"], 2).contains("day of week"));
}
