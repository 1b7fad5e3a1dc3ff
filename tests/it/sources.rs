//! Odd sources: refused with a reason, or backed up right.

use std::os::unix::fs::symlink;
use std::process::Command;

use mantis_tests::{World, make_bank, prove_bank};

#[test]
fn what_is_no_database_is_refused_with_help() {
    let world = World::new();
    std::fs::write(world.path("empty"), "").unwrap();
    std::fs::write(world.path("text"), "just some text").unwrap();
    std::fs::write(world.path("magic"), b"SQLite format 3\0").unwrap();
    std::fs::create_dir(world.path("folder")).unwrap();
    symlink("nothing", world.path("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(world.path("fifo")).status().unwrap().success());
    for (source, code) in [
        ("none", 1),
        ("empty", 2),
        ("text", 2),
        ("magic", 1),
        ("folder", 1),
        ("dangling", 1),
        ("fifo", 1),
        ("sqlite:text", 1),
        ("redb:text", 1),
        ("sqlite:fifo", 1),
        ("file:folder", 1),
    ] {
        assert!(world.fails(&["backup", source], code).contains("help: "), "{source}");
    }
    assert!(world.ok(&["list"]).as_array().unwrap().is_empty());
}

#[test]
fn a_truncated_database_is_not_passed_off_as_whole() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 4096);
    let file = std::fs::OpenOptions::new().write(true).open(world.path("bank.db")).unwrap();
    file.set_len(6000).unwrap();
    assert!(world.fails(&["backup", "bank.db"], 1).contains("integrity_check"));
    assert!(world.ok(&["list"]).as_array().unwrap().is_empty());
}

#[test]
fn a_damaged_database_fails_its_check_at_the_restore() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "delete", 1024);
    let mut bytes = std::fs::read(world.path("bank.db")).unwrap();
    bytes[1024 * 5..1024 * 9].fill(0xA5);
    std::fs::write(world.path("bank.db"), bytes).unwrap();
    world.ok(&["backup", "bank.db"]);
    let errors = world.fails(&["restore", "latest", "--to", "r.db", "--check"], 1);
    assert!(errors.contains("help: "), "{errors}");
    assert!(!world.path("r.db").exists(), "a restore that failed its check shows nothing");
    world.ok(&["restore", "latest", "--to", "r.db"]);
}

#[test]
fn names_with_spaces_letters_of_all_kinds_and_links() {
    let world = World::new();
    let name = "Grüße an \u{65e5}\u{672c} 'quoted' %20?#.db";
    make_bank(&world.path(name), "wal", 4096);
    symlink(name, world.path("link.db")).unwrap();
    for source in [name, "link.db"] {
        world.ok(&["backup", source]);
        world.ok(&["restore", "latest", "--to", "r \u{e4}.db", "--force", "--check"]);
        prove_bank(&world.path("r \u{e4}.db"));
    }
}

#[test]
fn an_empty_database_and_raw_files_come_back() {
    let world = World::new();
    std::fs::write(world.path("empty"), "").unwrap();
    std::fs::write(world.path("raw"), vec![7; 12_345]).unwrap();
    for source in ["sqlite:empty", "file:empty", "file:raw"] {
        world.ok(&["backup", source]);
        world.ok(&["restore", "latest", "--to", "r", "--force"]);
        let path = source.split_once(':').unwrap().1;
        assert!(
            std::fs::read(world.path("r")).unwrap() == std::fs::read(world.path(path)).unwrap(),
            "{source}"
        );
    }
}

#[test]
fn a_closed_redb_comes_back_and_an_open_one_is_refused() {
    const TABLE: redb::TableDefinition<'_, u64, &str> = redb::TableDefinition::new("t");
    let world = World::new();
    let database = redb::Database::create(world.path("a.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(TABLE).unwrap().insert(1, "one").unwrap();
    write.commit().unwrap();
    assert!(world.fails(&["backup", "a.redb"], 1).contains("help: "));
    drop(database);
    let backup = world.ok(&["backup", "a.redb"]);
    assert_eq!(backup["engine"], "redb");
    world.ok(&["restore", "latest", "--to", "r.redb", "--check"]);
    let restored = redb::ReadOnlyDatabase::open(world.path("r.redb")).unwrap();
    use redb::{ReadableDatabase, ReadableTable};
    let read = restored.begin_read().unwrap();
    assert_eq!(read.open_table(TABLE).unwrap().get(1).unwrap().unwrap().value(), "one");
    assert_eq!(read.open_table(TABLE).unwrap().iter().unwrap().count(), 1);
}

#[test]
fn a_database_that_is_open_is_not_replaced() {
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db"]);
    let open = rusqlite::Connection::open(world.path("bank.db")).unwrap();
    open.query_row("select seq from state", [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(
        world
            .fails(&["restore", "latest", "--to", "bank.db", "--force"], 1)
            .contains("has it open")
    );
    drop(open);
    world.ok(&["restore", "latest", "--to", "bank.db", "--force"]);
    prove_bank(&world.path("bank.db"));
}

/// Runs as a user without rights, which root can be; others are without rights already.
#[test]
fn missing_rights_are_told_and_cured() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let folder = world.path("media");
    std::fs::create_dir(&folder).unwrap();
    make_bank(&folder.join("bank.db"), "wal", 4096);
    std::fs::copy(folder.join("bank.db"), folder.join("secret.db")).unwrap();
    std::fs::copy(mantis_tests::mantis(), world.path("mantis")).unwrap();
    mode(world.folder.path(), 0o755);
    mode(&world.path("mantis"), 0o755);
    mode(&folder.join("bank.db"), 0o444);
    mode(&folder.join("secret.db"), 0o000);
    mode(&folder, 0o555);
    let repo = world.path("nobodys");
    std::fs::create_dir(&repo).unwrap();
    mode(&repo, 0o777);
    let as_nobody = |arguments: &[&str]| {
        let program = world.path("mantis");
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let output = command
            .args(arguments)
            .env("MANTIS_REPO", repo.join("r"))
            .current_dir(&folder)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(as_nobody(&["init"]).0, Some(0));
    let (code, errors) = as_nobody(&["backup", "secret.db"]);
    assert!(code == Some(1) && errors.contains("help: run as a user"), "{errors}");
    let (code, errors) = as_nobody(&["backup", "bank.db"]);
    assert!(code == Some(1) && errors.contains("--immutable"), "{errors}");
    assert_eq!(as_nobody(&["backup", "bank.db", "--immutable"]).0, Some(0));
    let (code, errors) = as_nobody(&["restore", "latest", "--to", "r.db"]);
    assert!(code == Some(1) && errors.contains("help: "), "{errors}");
    mode(&folder, 0o755);
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
