//! Every call on the disk fails once: the first, the second, and so on until a command gets through without meeting the fault; and from
//! each call on, for good. Nothing that was told is lost, nothing is left behind, no command hangs or panics, and each says what to do.

use std::path::Path;

use mantis_tests::disk::{Disk, Image, lay_out};
use mantis_tests::trace::{Operation, Verdict, is_allowed, trace};
use mantis_tests::{World, make_bank};
use nix::libc::{EACCES, EDQUOT, EINTR, EIO, EMFILE, ENOSPC, EROFS};
use tokio::runtime::Runtime;

use super::crash_stage::{Expected, Held, Stage, write_data};

/// A way for calls to fail.
#[derive(Debug, Clone, Copy)]
struct Fault {
    errno: i32,
    /// All calls from the n-th on that can fail so, too.
    for_good: bool,
    meets: fn(&Operation) -> bool,
}

fn any(_: &Operation) -> bool {
    true
}

fn changes(operation: &Operation) -> bool {
    !operation.only_looks()
}

/// What takes up space.
fn grows(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Write { .. }
            | Operation::MakeFolder { .. }
            | Operation::Open { create: true, .. }
            | Operation::Rename { .. }
            | Operation::Link { .. }
            | Operation::Sync { .. }
    )
}

fn opens(operation: &Operation) -> bool {
    matches!(operation, Operation::Open { .. })
}

/// What a signal can interrupt before anything was done.
fn transfers(operation: &Operation) -> bool {
    matches!(operation, Operation::Write { .. } | Operation::Read { .. })
}

fn once(errno: i32, meets: fn(&Operation) -> bool) -> Fault {
    Fault { errno, for_good: false, meets }
}

/// What a command may leave of what there was, and what it may add.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// One more backup, of what this file holds.
    BacksUp(&'static str),
    /// All backups but the newest may go.
    Forgets,
    /// Everything stays as it is.
    Keeps,
}

/// The worlds that commands are tried in, as they were before; and what must be in their repository.
struct Ground {
    image: Image,
    held: Held,
    newest: String,
}

fn ground() -> Ground {
    let mut stage = Stage::new(false);
    for version in [1, 2, 3] {
        stage.back_up(version);
    }
    let newest = stage.world.ok(&["show", "latest"])["id"].as_str().unwrap().to_owned();
    write_data(&stage.world.path("data"), 4);
    make_bank(&stage.world.path("bank.db"), "delete", 4096);
    std::fs::create_dir(stage.world.path("out")).unwrap();
    let image = Disk::of(stage.world.folder.path()).after_a_crash().remove(0).1;
    let state = |path: &Path| path.starts_with("state") || path.starts_with("cache");
    let image = image.into_iter().filter(|(path, _)| !state(path)).collect();
    Ground { image, held: stage.held, newest }
}

impl Ground {
    /// A world of its own, as it was.
    fn stage(&self) -> Stage {
        let world = World::empty();
        lay_out(&self.image, world.folder.path());
        Stage { world, credentials: Vec::new(), flags: Vec::new(), held: self.held.clone() }
    }

    /// Runs a command whose n-th call that a fault meets fails; `false` where it made fewer.
    fn fail(&self, arguments: &[&str], does: Does, fault: Fault, n: usize) -> bool {
        let stage = self.stage();
        let world = &stage.world;
        let errors = tempfile::NamedTempFile::new().unwrap();
        let mut command = world.command(arguments);
        command.stdout(std::process::Stdio::null()).stderr(errors.reopen().unwrap());
        let watched = ["repo", "data", "bank.db", "out", "replica"].map(|name| world.path(name));
        let mut disk = Disk::of(&world.path("repo"));
        let (mut count, mut met) = (0, None);
        let ended = trace(command, &watched, &mut |operation| {
            count += usize::from((fault.meets)(operation));
            let here =
                (fault.meets)(operation) && (count == n + 1 || (fault.for_good && met.is_some()));
            if !here {
                return Verdict::Go;
            }
            met.get_or_insert_with(|| operation.clone());
            Verdict::Fail(fault.errno)
        });
        let Some(met) = met else {
            assert_eq!(ended.code, Some(0), "{arguments:?} fails without a fault");
            return false;
        };
        let told = std::fs::read_to_string(errors.path()).unwrap();
        let story =
            format!("{arguments:?}, {fault:?} at call {n}, {met:?}: {:?}: {told}", ended.code);
        assert!(!ended.hung, "it hangs: {story}");
        assert!(!told.contains("panicked"), "{story}");
        match ended.code {
            Some(0) => {}
            Some(_) => assert!(told.contains("help: "), "it does not say what to do: {story}"),
            None => panic!("it was killed: {story}"),
        }
        let left = |folder: &str| {
            let names = std::fs::read_dir(world.path(folder))
                .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>());
            names.unwrap_or_default()
        };
        assert!(fault.errno != EINTR || ended.code == Some(0), "it does not try again: {story}");
        // Who cannot take anything away leaves it to the next prune, which does; what a restore cannot look at may be somebody else's,
        // and the next restore goes on with it.
        let cannot_tidy = fault.for_good
            || matches!(
                met,
                Operation::Unlink { .. } | Operation::Open { .. } | Operation::Look { .. }
            );
        assert!(cannot_tidy || left("repo/.tmp").is_empty(), "{:?}: {story}", left("repo/.tmp"));
        if ended.code != Some(0) {
            // A file that may not be durable yet is there, whole.
            let unknown = left("out").into_iter().filter(|name| name != "r.db").count();
            assert!(cannot_tidy || unknown == 0, "{:?}: {story}", left("out"));
        }
        ended.effects.iter().for_each(|effect| disk.apply(effect));
        let mut images = disk.after_a_crash();
        // What was told to be done is safe from a power cut, too, whatever failed on the way.
        images.truncate(if ended.code == Some(0) { 2 } else { 1 });
        self.look(&stage, does, &images, &story);
        true
    }

    /// What must hold of what a command left of the repository: of one state where it failed, else of two.
    fn look(&self, stage: &Stage, does: Does, images: &[(String, Image)], story: &str) {
        let succeeded = images.len() > 1;
        let mut expected = Expected { must: self.held.clone(), may: Held::new() };
        match does {
            Does::Keeps => {}
            Does::Forgets => {
                (expected.must, expected.may) =
                    self.held.clone().into_iter().partition(|(id, _)| *id == self.newest);
            }
            Does::BacksUp(source) => {
                let bytes = std::fs::read(stage.world.path(source)).unwrap();
                let list = stage.world.ok(&["list"]);
                let ids = list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap());
                let new: Vec<&str> = ids.filter(|id| !self.held.contains_key(*id)).collect();
                assert!(new.len() == 1 || (new.is_empty() && !succeeded), "{new:?}: {story}");
                expected.must.extend(new.into_iter().map(|id| (id.to_owned(), bytes.clone())));
            }
        }
        let runtime = Runtime::new().unwrap();
        for (left, image) in images {
            let looked = runtime.block_on(stage.look(image, &expected));
            looked.unwrap_or_else(|what| panic!("{story}: with {left}: {what}"));
        }
        if stage.world.path("out/r.db").exists() {
            let restored = std::fs::read(stage.world.path("out/r.db")).unwrap();
            assert_eq!(restored, self.held[&self.newest], "{story}");
        }
    }

    /// Lets every call that a fault meets fail, in turn.
    fn fail_each(&self, arguments: &[&str], does: Does, fault: Fault) {
        let mut n = 0;
        while self.fail(arguments, does, fault, n) {
            n += 1;
        }
        eprintln!("{arguments:?}: {n} calls failed, {fault:?}");
    }
}

const COMMANDS: [(&[&str], Does); 8] = [
    (&["backup", "file:data"], Does::BacksUp("data")),
    (&["backup", "file:data", "--full"], Does::BacksUp("data")),
    (&["backup", "bank.db"], Does::BacksUp("bank.db")),
    (&["forget", "--keep-last", "1"], Does::Forgets),
    (&["forget", "--keep-last", "1", "--prune", "--grace", "0s"], Does::Forgets),
    (&["restore", "latest", "--to", "out/r.db"], Does::Keeps),
    (&["verify"], Does::Keeps),
    (&["copy", "--to", "replica"], Does::Keeps),
];

#[test]
fn every_change_of_the_disk_fails_once() {
    if !is_allowed() {
        return;
    }
    let ground = ground();
    for (arguments, does) in COMMANDS {
        ground.fail_each(arguments, does, once(EIO, changes));
    }
}

/// A test of each way to fail, over all commands.
macro_rules! every_call_fails {
    ($($name:ident: $fault:expr;)*) => {$(
        #[test]
        #[ignore = "takes minutes: cargo xtask faults"]
        fn $name() {
            let ground = ground();
            for (arguments, does) in COMMANDS {
                ground.fail_each(arguments, does, $fault);
            }
        }
    )*};
}

every_call_fails! {
    every_call_fails_with_eio: once(EIO, any);
    every_call_fails_with_eacces: once(EACCES, any);
    every_opening_fails_with_emfile: once(EMFILE, opens);
    every_transfer_fails_with_eintr: once(EINTR, transfers);
    everything_that_grows_fails_with_enospc: once(ENOSPC, grows);
    everything_that_grows_fails_with_edquot: once(EDQUOT, grows);
    every_change_fails_with_erofs: once(EROFS, changes);
    every_call_from_the_nth_on_fails_with_eio: Fault { errno: EIO, for_good: true, meets: any };
    everything_that_grows_from_the_nth_on_fails_with_enospc: Fault { errno: ENOSPC, for_good: true, meets: grows };
    every_change_from_the_nth_on_fails_with_erofs: Fault { errno: EROFS, for_good: true, meets: changes };
}
