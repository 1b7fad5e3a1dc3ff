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
}
