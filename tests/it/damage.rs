//! Damage in a repository on disk is found, named, and never restored.

use mantis_tests::{World, make_bank};

#[test]
fn a_flipped_byte_in_any_file_is_found_by_verify() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let good = world.ok(&["backup", "bank.db", "--name", "a"]);
    for file in world.repository_files() {
        let name = file.strip_prefix(world.path("repo")).unwrap().to_string_lossy().into_owned();
        let whole = std::fs::read(&file).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&file, &bytes).unwrap();
            if name.starts_with("mantis.repo") {
                world.ok(&["verify"]);
            } else {
                let output = world.run(&["verify"]);
                assert_eq!(output.status.code(), Some(1), "{name} at {at}");
                let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert!(!report["damaged"].as_array().unwrap().is_empty(), "{name} at {at}");
            }
        }
        std::fs::write(&file, whole).unwrap();
    }
    world.ok(&["verify"]);
    let id = good["id"].as_str().unwrap();
    for file in
        world.repository_files().iter().filter(|file| file.to_string_lossy().contains("/seg/"))
    {
        std::fs::remove_file(file).unwrap();
    }
    assert!(world.fails(&["restore", id, "--to", "r.db"], 1).contains("help: "));
    assert!(!world.path("r.db").exists());
    // A backup of which not even the manifest is left does not stand in the way for ever.
    let files = world.repository_files();
    let manifest = files.iter().find(|file| file.to_string_lossy().contains("/man/")).unwrap();
    std::fs::write(manifest, "no manifest").unwrap();
    let refused = world.fails(&["prune", "--grace", "0s"], 1);
    assert!(refused.contains("man/") && refused.contains("forgotten by its id"), "{refused}");
    let forgot = world.ok(&["forget", &id[..8]]);
    assert_eq!(forgot["remove"][0]["id"], id);
    assert!(forgot["remove"][0]["problem"].as_str().unwrap().contains("man/"), "{forgot}");
    world.ok(&["prune", "--grace", "0s"]);
    assert_eq!(world.ok(&["verify"])["checked"], 0);
    let left = world.repository_files();
    assert!(left.iter().all(|file| !file.to_string_lossy().contains("/man/")), "{left:?}");
}

#[test]
fn damage_is_repaired_from_another_copy_or_salvaged_page_by_page() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let backup = world.ok(&["backup", "bank.db", "--compression", "none"]);
    let id = backup["id"].as_str().unwrap();
    let segment = || {
        let files = world.repository_files();
        files.into_iter().find(|file| file.to_string_lossy().contains("/seg/")).unwrap()
    };
    let whole = std::fs::read(segment()).unwrap();
    let mut spoiled = whole.clone();
    spoiled[9000] ^= 1;
    std::fs::write(segment(), &spoiled).unwrap();
    assert!(world.fails(&["restore", id, "--to", "r.db"], 1).contains("help: "));
    let output = world.run(&["repair"]);
    assert_eq!(output.status.code(), Some(1), "there is no other copy");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!report["lost"][0]["pages"].as_array().unwrap().is_empty(), "{report}");
    let output = world.run(&["repair", "--salvage", id, "--to", "rescued.db"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["pages_lost"].as_u64().unwrap() > 0);
    assert_eq!(std::fs::metadata(world.path("rescued.db")).unwrap().len(), backup["bytes"]);
    // Only a full backup relies on nothing that is damaged: it is another copy.
    world.ok(&["backup", "bank.db", "--name", "other", "--full"]);
    let planned = world.ok(&["repair", "--dry-run"]);
    let repaired = world.ok(&["repair"]);
    assert_eq!(planned["segments"], repaired["segments"]);
    assert!(repaired["pages_refilled"].as_u64().unwrap() > 0);
    world.ok(&["restore", id, "--to", "r.db", "--check"]);
    mantis_tests::prove_bank(&world.path("r.db"));
    world.ok(&["prune", "--grace", "0s"]);
    world.ok(&["verify"]);
    world.ok(&["restore", id, "--to", "r.db", "--check", "--force"]);
}
