//! A backup as one file, out of one repository and into another.

use std::process::{Command, Stdio};

use mantis_tests::{World, make_bank, mantis, prove_bank};
use serde_json::Value;

fn json(output: &std::process::Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Backups of a bank in a world's repository, the last one an incremental.
fn filled(world: &World) -> Value {
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db", "--tag", "type=manual"]);
    let db = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    db.execute_batch("update account set balance = balance + 1 where id = 1; update account set balance = balance - 1 where id = 2").unwrap();
    world.ok(&["backup", "bank.db", "--tag", "type=manual"])
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let (from, to) = (World::new(), World::new());
    let backup = filled(&from);
    let file = from.path("bank.mantis");
    let exported = from.ok(&["export", "latest", "--to", "bank.mantis"]);
    assert_eq!(exported["id"], backup["id"]);
    assert_eq!(exported["bytes"], std::fs::metadata(&file).unwrap().len());
    assert!(from.fails(&["export", "latest", "--to", "bank.mantis"], 1).contains("help: "));
    let imported = to.ok(&["import", file.to_str().unwrap()]);
    for field in ["source", "engine", "lsn", "pages", "created_at", "tags", "bytes"] {
        assert_eq!(imported[field], backup[field], "{field}");
    }
    to.ok(&["restore", "latest", "--to", "r.db", "--check"]);
    prove_bank(&to.path("r.db"));
    to.ok(&["verify"]);
    // Again, on top of what is there: nothing is stored twice.
    let again = to.ok(&["import", file.to_str().unwrap()]);
    assert_eq!((&again["kind"], &again["bytes_stored"]), (&"incremental".into(), &0.into()));
}

#[test]
fn through_a_pipe_and_from_an_encrypted_repository_into_another() {
    let (from, to) = (World::empty(), World::empty());
    let with = |world: &World, password: &str, arguments: &[&str]| {
        world.command(arguments).env("MANTIS_PASSWORD", password).output().unwrap()
    };
    json(&with(&from, "here", &["init"]));
    json(&with(&to, "there", &["init"]));
    make_bank(&from.path("bank.db"), "wal", 4096);
    json(&with(&from, "here", &["backup", "bank.db"]));
    std::fs::write(to.path("here"), "here").unwrap();
    let mut export = Command::new(mantis())
        .args(["export", "latest", "--to", "-"])
        .env("MANTIS_REPO", from.path("repo"))
        .env("MANTIS_PASSWORD", "here")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let import = to
        .command(&["import", "-", "--from-password-file", "here"])
        .env("MANTIS_PASSWORD", "there")
        .stdin(export.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(export.wait().unwrap().success());
    json(&import);
    json(&with(&to, "there", &["restore", "latest", "--to", "r.db", "--check"]));
    prove_bank(&to.path("r.db"));
    // With the wrong password nothing is imported.
    let exported = with(&from, "here", &["export", "latest", "--to", "bank.mantis"]);
    json(&exported);
    let file = from.path("bank.mantis");
    let output = with(&to, "there", &["import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(12));
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"account"), "it stays encrypted");
}

#[test]
fn every_damage_to_the_file_is_found_and_nothing_of_it_is_imported() {
    let (from, to) = (World::new(), World::new());
    filled(&from);
    from.ok(&["export", "latest", "--to", "bank.mantis"]);
    let whole = std::fs::read(from.path("bank.mantis")).unwrap();
    let before = to.repository_files();
    let mut spoiled: Vec<Vec<u8>> = (0..40)
        .map(|n| {
            let mut bytes = whole.clone();
            let at = (bytes.len() - 1) * n / 39;
            bytes[at] ^= 1 << (n % 8);
            bytes
        })
        .collect();
    spoiled.extend([0, 5, 20, whole.len() / 2, whole.len() - 1].map(|cut| whole[..cut].to_vec()));
    spoiled.push([&whole[..], b"x"].concat());
    spoiled.push(b"just some text that is no archive at all".to_vec());
    for bytes in spoiled {
        std::fs::write(to.path("bad"), &bytes).unwrap();
        let errors = to.fails(&["import", "bad"], 1);
        assert!(errors.contains("help: "), "{errors}");
        assert_eq!(to.repository_files(), before);
    }
    assert!(to.fails(&["import", "nowhere"], 1).contains("help: "));
}
