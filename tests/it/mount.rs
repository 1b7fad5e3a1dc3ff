//! `mantis mount`: what other programs see of backups that are files in a folder.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mantis_tests::{World, committed, make_bank, prove_bank, start_paced_python, wait_until};

/// Whether this machine lets its user mount anything. Where it does not, there is nothing to be tried.
fn can_mount() -> bool {
    let device = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let succeeds = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    // Root in a container may not.
    let can = device
        && match is_root {
            true => succeeds("mount", &["-t", "tmpfs", "none", at]) && succeeds("umount", &[at]),
            false => succeeds("fusermount3", &["--version"]),
        };
    if !can {
        eprintln!("this machine does not let its user mount: nothing was tried");
    }
    can
}

struct Mount {
    child: Child,
    dir: PathBuf,
}

impl Mount {
    fn start(world: &World, dir: &str, arguments: &[&str]) -> Self {
        let dir = world.path(dir);
        fs::create_dir_all(&dir).unwrap();
        let mut command = world.command(&["mount", dir.to_str().unwrap()]);
        let log = File::create(world.path("mount.log")).unwrap();
        let child = command.args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mount = Self { child, dir };
        wait_until("the mount", || !names(&mount.dir).is_empty());
        mount
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Ends it by a signal; whether it ended well, and left an empty folder.
    fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success() && names(&self.dir).is_empty()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.dir).stderr(Stdio::null()).status();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn any_program_opens_each_backup_while_the_database_goes_on() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    let _writer = start_paced_python(&world.path("bank.db"));
    for _ in 0..2 {
        world.ok(&["backup", "bank.db"]);
    }
    let mount = Mount::start(&world, "mnt", &[]);
    assert_eq!(names(&mount.dir), ["bank"]);
    let files = names(&mount.file("bank"));
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(files[2], "latest.db");
    let first = prove_bank(&mount.file("bank").join(&files[0]));
    let second = prove_bank(&mount.file("bank/latest.db"));
    assert!(first <= second);
    let mut shell = Command::new("sqlite3");
    shell.arg(mount.file("bank/latest.db")).arg("pragma integrity_check; select seq from state");
    assert_eq!(shell.output().unwrap().stdout, format!("ok\n{second}\n").into_bytes());
    // As long as it is, as old as it is, and nobody's to change.
    let listed = world.ok(&["list"]);
    let facts = fs::metadata(mount.file("bank/latest.db")).unwrap();
    assert_eq!(listed[1]["bytes"], facts.len());
    let to = fs::read_link(mount.file("bank/latest.db")).unwrap();
    assert!(to.to_str().unwrap().contains(&listed[1]["id"].as_str().unwrap()[..8]), "{to:?}");
    assert!(File::options().write(true).open(mount.file("bank/latest.db")).is_err());
    assert!(fs::write(mount.file("bank/other"), "").is_err());
    assert!(fs::remove_file(mount.file("bank/latest.db")).is_err());
    // What is made later appears, and what is open stays as it is.
    let mut open = File::open(mount.file("bank/latest.db")).unwrap();
    let there = committed(&world.path("bank.db"));
    world.ok(&["backup", "bank.db"]);
    wait_until("the third backup", || names(&mount.file("bank")).len() == 4);
    wait_until("it to be the latest", || prove_bank(&mount.file("bank/latest.db")) >= there);
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    fs::write(world.path("copied.db"), bytes).unwrap();
    assert_eq!(prove_bank(&world.path("copied.db")), second);
    drop(open);
    assert!(mount.stop());
}

#[test]
fn a_file_is_what_is_restored_but_for_where_it_tells_of_a_wal() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 1024);
    fs::write(world.path("raw"), (0..100_003_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    world.ok(&["backup", "bank.db"]);
    world.ok(&["backup", "file:raw", "--name", "of/../raw"]);
    world.ok(&["restore", "latest", "--source", "bank", "--to", "back.db"]);
    let mut restored = fs::read(world.path("back.db")).unwrap();
    let exact = Mount::start(&world, "exact", &["--exact", "--source", "bank"]);
    assert_eq!(names(&exact.dir), ["bank"]);
    assert!(fs::read(exact.file("bank/latest.db")).unwrap() == restored);
    assert!(exact.stop());
    let mount = Mount::start(&world, "mnt", &[]);
    assert_eq!(restored[18..20], [2, 2]);
    restored[18..20].fill(1);
    assert!(fs::read(mount.file("bank/latest.db")).unwrap() == restored);
    let raw = fs::read(mount.file("of/%2E%2E/raw/latest.pages")).unwrap();
    assert!(raw == fs::read(world.path("raw")).unwrap());
    assert!(mount.stop());
}

#[test]
fn what_cannot_be_mounted_or_read_is_told() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    make_bank(&world.path("bank.db"), "wal", 4096);
    world.ok(&["backup", "bank.db"]);
    assert!(world.fails(&["mount", "nowhere"], 1).contains("make that folder first"));
    assert!(world.fails(&["mount", "repo"], 2).contains("not empty"));
    assert!(world.fails(&["mount", "bank.db"], 1).contains("empty folder"));
    let mut mount = Mount::start(&world, "mnt", &[]);
    // One that is killed leaves a folder that nobody can look into; it is told how to get rid of it.
    mount.child.kill().unwrap();
    mount.child.wait().unwrap();
    assert!(world.fails(&["mount", "mnt"], 1).contains("umount"));
    assert!(Command::new("umount").arg(world.path("mnt")).status().unwrap().success());
    drop(mount);
    let mount = Mount::start(&world, "mnt", &[]);
    let files = world.repository_files();
    let files = files.iter().map(|file| world.path("repo").join(file));
    let largest = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    let error = fs::read(mount.file("bank/latest.db")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    let log = fs::read_to_string(world.path("mount.log")).unwrap();
    assert!(log.contains("cannot be read") && log.contains("seg/"), "{log}");
    assert!(mount.stop());
}
