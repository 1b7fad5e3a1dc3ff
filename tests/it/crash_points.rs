//! Every point at which a machine may stop: the command's own calls on the disk are recorded, and what a power cut may leave after each
//! of them is opened. Nothing that was told is lost, and the next backup and the next prune succeed.

use std::collections::HashSet;
use std::path::Path;

use mantis_backup::repo::{Credential, Password};
use mantis_backup::{init_repository, open_repository};
use mantis_tests::World;
use mantis_tests::disk::{Disk, Image, lay_out};
use mantis_tests::trace::is_allowed;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::crash_stage::{Expected, Held, Stage, one_more, visible, write_data};

#[test]
fn every_crash_of_an_init_leaves_nothing_or_a_repository() {
    if !is_allowed() {
        return;
    }
    let stage = Stage {
        world: World::empty(),
        credentials: Vec::new(),
        flags: Vec::new(),
        held: Held::new(),
    };
    let root = stage.world.folder.path();
    let before = Disk::of(root);
    let (effects, _) = stage.record(&["init"], root);
    let runtime = Runtime::new().unwrap();
    let (points, states) = stage.crashes(before, &effects, |story, image, done| {
        let folder = tempfile::tempdir().unwrap();
        lay_out(image, folder.path());
        let url = folder.path().join("repo").display().to_string();
        runtime.block_on(async {
            let opened = open_repository(&url, &[]).await;
            assert!(opened.is_ok() || !done, "{story}: {opened:?}");
            // Whoever runs it again has a repository.
            if opened.is_err() {
                init_repository(&url, []).await.unwrap_or_else(|error| panic!("{story}: {error}"));
            }
        });
        let image = Disk::of(&folder.path().join("repo")).after_a_crash().remove(0).1;
        let looked = runtime.block_on(stage.look(&image, &Expected::default()));
        looked.unwrap_or_else(|what| panic!("{story}: {what}"));
    });
    eprintln!("init: {points} calls, {states} states after a crash");
}

#[test]
fn every_crash_of_backups_forgetting_and_freeing_is_survived() {
    if !is_allowed() {
        return;
    }
    for encrypted in [false, true] {
        let mut stage = Stage::new(encrypted);
        for version in [1, 2, 3] {
            // Full; then incremental ones.
            let bytes = write_data(&stage.world.path("data"), version);
            let said = stage.survives(&["backup", "file:data"], |said, done| {
                one_more(&stage.held, said, &bytes, done)
            });
            stage.held.insert(said["id"].as_str().unwrap().to_owned(), bytes);
        }
        stage.survives(&["forget", "--source", "data", "--keep-last", "1"], |said, done| {
            stage.without(said["remove"].as_array().unwrap(), done)
        });
        stage.forget_what_is_gone();
        assert_eq!(stage.held.len(), 1);
        // Layers of which little is needed are put together, and the rest is freed.
        stage.survives(&["prune", "--grace", "0s"], |_, _| Expected {
            must: stage.held.clone(),
            may: Held::new(),
        });
    }
}

#[test]
fn every_crash_of_a_change_of_keys_is_survived() {
    if !is_allowed() {
        return;
    }
    let mut stage = Stage::new(true);
    stage.back_up(1);
    let kept = |_: &Value, _: bool| Expected { must: stage.held.clone(), may: Held::new() };
    stage.survives(&["key", "rotate"], kept);
    std::fs::write(stage.world.path("new"), "a new password").unwrap();
    let password = || [Credential::from(Password::new("a new password".into()))];
    let opens = |image: &Image| {
        let folder = tempfile::tempdir().unwrap();
        lay_out(image, folder.path());
        let url = folder.path().display().to_string();
        Runtime::new().unwrap().block_on(open_repository(&url, &password())).is_ok()
    };
    let add = ["key", "add", "--new-password-file", "new"];
    let added = stage.survives_and(&add, kept, |image, done| !done || opens(image));
    let remove = ["key", "remove", added["id"].as_str().unwrap()];
    stage.survives_and(&remove, kept, |image, done| !done || !opens(image));
}

#[test]
fn every_crash_of_a_restore_leaves_the_old_file_or_the_new_one() {
    if !is_allowed() {
        return;
    }
    let mut stage = Stage::new(false);
    stage.back_up(1);
    let (id, new) = stage.held.pop_first().unwrap();
    let old = b"an older database".to_vec();
    let out = stage.world.path("out");
    for there_before in [false, true] {
        std::fs::create_dir_all(&out).unwrap();
        if there_before {
            std::fs::write(out.join("r.db"), &old).unwrap();
            std::fs::write(out.join("r.db-wal"), "its WAL").unwrap();
        }
        let before = Disk::of(&out);
        let restore = ["restore", &id, "--to", "out/r.db", "--force"];
        let (effects, _) = stage.record(&restore, &out);
        let (points, states) = stage.crashes(before, &effects, |story, image, done| {
            let target = image.get(Path::new("r.db"));
            let is = |bytes: &[u8]| target.is_some_and(|it| it.as_deref() == Some(bytes));
            assert!(is(&new) || !done, "{story}: it was told to be there");
            assert!(
                is(&new) || if there_before { is(&old) } else { target.is_none() },
                "{story}: neither the old file nor the new one"
            );
            // SQLite would replay it into the new file.
            assert!(
                !is(&new) || !image.contains_key(Path::new("r.db-wal")),
                "{story}: a foreign WAL"
            );
            let folder = tempfile::tempdir().unwrap();
            lay_out(image, folder.path());
            let to = folder.path().join("r.db");
            stage.world.ok(&["restore", &id, "--to", to.to_str().unwrap(), "--force"]);
            assert_eq!(std::fs::read(&to).unwrap(), new, "{story}: run again");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{story}: run again");
        });
        eprintln!("restore: {points} calls, {states} states after a crash");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn every_crash_of_a_copy_can_be_gone_on_with() {
    if !is_allowed() {
        return;
    }
    let mut stage = Stage::new(false);
    stage.back_up(1);
    stage.back_up(2);
    let whole = Expected { must: stage.held.clone(), may: Held::new() };
    let replica = stage.world.path("replica");
    std::fs::create_dir(&replica).unwrap();
    let before = Disk::of(&replica);
    let (effects, _) = stage.record(&["copy", "--to", "replica"], &replica);
    let runtime = Runtime::new().unwrap();
    let mut seen = HashSet::new();
    let (points, states) = stage.crashes(before, &effects, |story, image, done| {
        // Each look costs a copy: of states that differ in temporary files alone, one stands for all.
        if !seen.insert((visible(image), done)) {
            return;
        }
        if done {
            runtime
                .block_on(stage.look(image, &whole))
                .unwrap_or_else(|it| panic!("{story}: {it}"));
        }
        let folder = tempfile::tempdir().unwrap();
        lay_out(image, folder.path());
        stage.world.ok(&["copy", "--to", folder.path().to_str().unwrap()]);
        let image = Disk::of(folder.path()).after_a_crash().remove(0).1;
        runtime.block_on(stage.look(&image, &whole)).unwrap_or_else(|it| panic!("{story}: {it}"));
    });
    eprintln!("copy: {points} calls, {states} states after a crash");
}

#[test]
fn every_crash_of_an_export_leaves_nothing_or_the_whole_file() {
    if !is_allowed() {
        return;
    }
    let mut stage = Stage::new(false);
    stage.back_up(1);
    let id = stage.held.keys().next().unwrap().clone();
    let out = stage.world.path("out");
    std::fs::create_dir(&out).unwrap();
    let before = Disk::of(&out);
    let (effects, _) = stage.record(&["export", &id, "--to", "out/one.mantis"], &out);
    let whole = std::fs::read(out.join("one.mantis")).unwrap();
    let (points, states) = stage.crashes(before, &effects, |story, image, done| {
        match image.get(Path::new("one.mantis")) {
            Some(bytes) => assert_eq!(bytes.as_deref(), Some(&whole[..]), "{story}"),
            None => assert!(!done, "{story}"),
        }
    });
    eprintln!("export: {points} calls, {states} states after a crash");
}

/// A stage with three backups, made with these flags, of which those are left that `forget` leaves; and `data` changed once more.
fn after(flags: &[&str], forget: &[&str]) -> (Stage, Vec<u8>) {
    let mut stage = Stage::new(false);
    for version in [1, 2, 3] {
        stage.back_up_with(version, flags);
    }
    if !forget.is_empty() {
        stage.world.ok(forget);
    }
    stage.forget_what_is_gone();
    let bytes = write_data(&stage.world.path("data"), 4);
    (stage, bytes)
}

/// A world of its own with a repository as a crash left it.
fn another(image: &Image) -> Stage {
    let world = World::empty();
    lay_out(image, &world.path("repo"));
    write_data(&world.path("data"), 4);
    Stage { world, credentials: Vec::new(), flags: Vec::new(), held: Held::new() }
}

/// A kill at every point of a command, the command that comes next, and a power cut at every point of that one: what the killed one had
/// not synced is still at risk.
fn survives_a_kill_and_a_power_cut(
    (stage, bytes): (Stage, Vec<u8>),
    killed: &[&str],
    next: &[&str],
) {
    let repo = stage.world.path("repo");
    let mut disk = Disk::of(&repo);
    let (effects, said) = stage.record(killed, &repo);
    let first = |must: bool| match (said["id"].is_string(), said["remove"].as_array()) {
        (true, _) => one_more(&stage.held, &said, &bytes, must),
        (_, Some(removed)) => stage.without(removed, false),
        _ => Expected { must: stage.held.clone(), may: Held::new() },
    };
    for effect in effects.iter().filter(|effect| !effect.operation.only_looks()) {
        disk.apply(effect);
        let second = another(&disk.after_a_crash().remove(0).1);
        let carried = disk.clone().at(&second.world.path("repo"));
        second.survives_from(carried, next, |said, done| match said["id"].is_string() {
            true => {
                let mut expected = one_more(&first(false).must, said, &bytes, done);
                expected.may.extend(first(false).may);
                expected
            }
            false => first(false),
        });
    }
}

#[test]
fn a_kill_of_forgetting_and_a_power_cut_while_freeing_are_survived() {
    if !is_allowed() {
        return;
    }
    // Of backups that share nothing, freeing one writes nothing about the others.
    let stage = after(&["--full"], &[]);
    survives_a_kill_and_a_power_cut(
        stage,
        &["forget", "--keep-last", "1"],
        &["prune", "--grace", "0s"],
    );
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn a_kill_of_anything_and_a_power_cut_in_what_comes_next_are_survived() {
    let (backup, prune) = (&["backup", "file:data"], &["prune", "--grace", "0s"]);
    let forget = &["forget", "--keep-last", "1", "--quiet"];
    survives_a_kill_and_a_power_cut(after(&[], &[]), backup, backup);
    survives_a_kill_and_a_power_cut(after(&[], &[]), backup, prune);
    survives_a_kill_and_a_power_cut(after(&[], forget), prune, prune);
    survives_a_kill_and_a_power_cut(after(&[], forget), prune, backup);
}

/// A power cut at every point of a command, and at every point of the same command that finds what the first one left.
fn survives_two(forget: &[&str], command: &[&str]) {
    let (stage, bytes) = after(&[], forget);
    let repo = stage.world.path("repo");
    let disk = Disk::of(&repo);
    let (effects, said) = stage.record(command, &repo);
    let (mut seen, mut firsts) = (HashSet::new(), Vec::new());
    stage.crashes(disk, &effects, |_, image, done| {
        if seen.insert((visible(image), done)) {
            firsts.push((image.clone(), done));
        }
    });
    for (image, done) in firsts {
        let first = match said["id"].is_string() {
            true => one_more(&stage.held, &said, &bytes, done),
            false => Expected { must: stage.held.clone(), may: Held::new() },
        };
        another(&image).survives(command, |said, done| {
            let mut expected = match said["id"].is_string() {
                true => one_more(&first.must, said, &bytes, done),
                false => first.clone(),
            };
            expected.may.extend(first.may.clone());
            expected
        });
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn two_power_cuts_are_survived() {
    survives_two(&["forget", "--keep-last", "1", "--quiet"], &["prune", "--grace", "0s"]);
    survives_two(&[], &["backup", "file:data"]);
}
