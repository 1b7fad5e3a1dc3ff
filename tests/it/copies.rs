//! Several places for one database's backups.

use mantis_tests::{World, make_bank, prove_bank, start_python};

fn at(world: &World, place: &str, arguments: &[&str]) -> serde_json::Value {
    let mut all = arguments.to_vec();
    let url = world.path(place).display().to_string();
    all.extend(["--repo", &url]);
    world.ok(&all)
}

#[test]
fn backups_are_copied_and_restore_from_there_alone() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let writer = start_python(&world.path("bank.db"), false);
    for _ in 0..3 {
        world.ok(&["backup", "bank.db"]);
    }
    drop(writer);
    let copied = world.ok(&["copy", "--to", "replica"]);
    assert_eq!(
        (copied["copied"].as_array().unwrap().len(), &copied["decoded"]),
        (3, &false.into())
    );
    let again = world.ok(&["copy", "--to", "replica"]);
    assert_eq!((again["there"].as_array().unwrap().len(), &again["segments"]), (3, &0.into()));
    let ids = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|backup| backup["id"].to_string()).collect()
    };
    assert_eq!(ids(&at(&world, "replica", &["list"])), ids(&world.ok(&["list"])));
    std::fs::rename(world.path("repo"), world.path("lost")).unwrap();
    at(&world, "replica", &["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
    assert_eq!(at(&world, "replica", &["verify"])["damaged"].as_array().unwrap().len(), 0);
    // What is made there meanwhile comes back.
    at(&world, "replica", &["backup", "bank.db"]);
    std::fs::rename(world.path("lost"), world.path("repo")).unwrap();
    let back = world.path("repo").display().to_string();
    let copied = at(&world, "replica", &["copy", "--to", &back, "latest"]);
    assert_eq!(copied["copied"].as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["list"]).as_array().unwrap().len(), 4);
    assert_eq!(world.ok(&["verify"])["damaged"].as_array().unwrap().len(), 0);
}

#[test]
fn to_another_repository_they_are_stored_anew_under_its_own_keys() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 4096);
    world.ok(&["backup", "bank.db", "--tag", "a=b"]);
    std::fs::write(world.path("pw"), "p").unwrap();
    at(&world, "other", &["init", "--password-file", "pw"]);
    assert!(world.fails(&["copy", "--to", "other"], 12).contains("help: "));
    let copy = ["copy", "--to", "other", "--to-password-file", "pw"];
    let copied = world.ok(&copy);
    assert_eq!((copied["copied"].as_array().unwrap().len(), &copied["decoded"]), (1, &true.into()));
    assert_eq!(world.ok(&copy)["there"].as_array().unwrap().len(), 1);
    let listed = at(&world, "other", &["list", "--password-file", "pw"]);
    assert_eq!(listed[0]["tags"]["a"], "b");
    let restore = ["restore", "latest", "--to", "r.db", "--check", "--password-file", "pw"];
    at(&world, "other", &restore);
    prove_bank(&world.path("r.db"));
}

#[test]
fn a_backup_goes_to_several_places_of_which_one_may_fail() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    std::fs::write(world.path("file"), "no folder").unwrap();
    let made = world.ok(&["backup", "bank.db", "--copy-to", "replica"]);
    assert_eq!(made["copies"][0]["ok"], true);
    // One replica cannot be reached: the others get it, and the exit code says so.
    let two = ["backup", "bank.db", "--copy-to", "file/x", "--copy-to", "replica"];
    let output = world.run(&two);
    assert_eq!(output.status.code(), Some(3));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["copies"][0]["ok"], &made["copies"][1]["ok"]), (&false.into(), &true.into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("file/x"));
    // The repository itself is away: the backup is made in a replica.
    std::fs::rename(world.path("repo"), world.path("away")).unwrap();
    let output = world.run(&["backup", "bank.db", "--copy-to", "replica"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(made["made_in"].as_str().unwrap().ends_with("replica"));
    assert_eq!(made["kind"], "incremental", "built on what was copied");
    assert_eq!(at(&world, "replica", &["list"]).as_array().unwrap().len(), 3);
    at(&world, "replica", &["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&world.path("r.db"));
    // Nothing can be reached, or a place is named twice.
    assert!(world.fails(&["backup", "bank.db", "--copy-to", "file/x"], 1).contains("help: "));
    assert!(
        world
            .fails(&["backup", "bank.db", "--copy-to", "a", "--copy-to", "a"], 2)
            .contains("twice")
    );
}
