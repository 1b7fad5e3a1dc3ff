//! Everything that is done to a repository, with each call of the store failing once, with a cancellation before each, and on a
//! repository of which each object is damaged or gone.
//!
//! Whatever comes of it: no panic, no wrong byte, and no backup lost that was not to be forgotten.

use std::sync::Arc;

use bytes::Bytes;
use mantis_repo::{PruneOptions, RepoError, Repository, UnixMillis};
use mantis_sink::{Fault, FaultSink, MemorySink, Sink, SinkErrorKind, Span};
use mantis_stream::CancellationToken;
use tokio::runtime::Runtime;

use crate::lived_in::{LivedIn, OPERATIONS, With};
use crate::world::{make, secret};

/// A store that is spoiled and put back, again and again, and repositories on it that are opened once.
struct Stage {
    memory: MemorySink,
    faulty: FaultSink,
    lived: Arc<LivedIn>,
    /// Sees the faults.
    through: Repository,
    /// Sees none.
    clean: Repository,
    origin: Repository,
    runs: u64,
}

async fn open(sink: Arc<dyn Sink>, encrypted: bool) -> Repository {
    let password = secret().into();
    Repository::open(sink, encrypted.then_some(&password)).await.unwrap()
}

impl Stage {
    async fn new(encrypted: bool) -> Self {
        let (memory, clean) = make(encrypted).await;
        let lived = Arc::new(LivedIn::new(&memory, &clean).await);
        let elsewhere = lived.objects.copy();
        let origin = open(Arc::new(elsewhere), encrypted).await;
        LivedIn::goes_on(&origin).await;
        let faulty = FaultSink::new(Arc::new(memory.clone()));
        let through = open(Arc::new(faulty.clone()), encrypted).await;
        Self { memory, faulty, lived, through, clean, origin, runs: 0 }
    }

    /// Does it on the store as it is.
    async fn run(&mut self, operation: usize, cancel: &CancellationToken) -> Result<(), RepoError> {
        self.runs += 1;
        let with = With {
            lived: &self.lived,
            repo: &self.through,
            sink: Arc::new(self.faulty.clone()),
            origin: &self.origin,
            run: self.runs,
            cancel: cancel.clone(),
        };
        OPERATIONS[operation].1(&with).await
    }

    /// What another client does from start to end in the middle of something: an operation, by its name; three times in a row, so
    /// that of what goes step by step nothing is left.
    fn another(&self, name: &'static str) -> impl FnOnce() + Send + 'static {
        let (lived, repo) = (Arc::clone(&self.lived), self.clean.clone());
        let (sink, origin): (Arc<dyn Sink>, _) =
            (Arc::new(self.memory.clone()), self.origin.clone());
        let run = 3 * self.runs + 1_000_000;
        move || {
            let doing = move || {
                let (_, operation) = OPERATIONS.iter().find(|(known, _)| *known == name).unwrap();
                let runtime = Runtime::new().unwrap();
                for run in run..run + 3 {
                    let (sink, cancel) = (Arc::clone(&sink), CancellationToken::new());
                    let with =
                        With { lived: &lived, repo: &repo, sink, origin: &origin, run, cancel };
                    // Whatever it says: what counts is what is there afterwards.
                    let _ = runtime.block_on(operation(&with));
                }
            };
            std::thread::spawn(doing).join().unwrap();
        }
    }

    /// All backups are there; and after two collections, too, which leave nothing of those who did not come to an end.
    async fn is_whole(&mut self, forgets: bool, story: &str) {
        self.lived.is_whole(&self.clean, forgets, story).await;
        for round in 0..2u8 {
            let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
            let mut entropy = [40 + round; 32];
            entropy[..8].copy_from_slice(&self.runs.to_le_bytes());
            let pruned = self.clean.prune(options, entropy, UnixMillis(1 << 40)).await;
            pruned.unwrap_or_else(|error| panic!("{story}: {error:?}"));
        }
        self.lived.is_whole(&self.clean, forgets, story).await;
        for folder in ["sess", "gc"] {
            assert!(self.memory.list(folder).await.unwrap().is_empty(), "{story}: {folder}");
        }
    }
}

fn each_call(encrypted: bool, fault: Fault) {
    Runtime::new().unwrap().block_on(async {
        let mut stage = Stage::new(encrypted).await;
        for (operation, (name, _)) in OPERATIONS.iter().enumerate() {
            for call in 0.. {
                stage.lived.put_back(&stage.memory).await;
                stage.faulty.heal();
                let first = stage.faulty.calls() + call;
                stage.faulty.fail_once(first, fault);
                let done = stage.run(operation, &CancellationToken::new()).await;
                let story = format!("{name}, call {call}, {fault:?}: {done:?}");
                stage.is_whole(*name == "forget", &story).await;
                if stage.faulty.calls() <= first {
                    assert!(done.is_ok(), "{story}");
                    break;
                }
            }
        }
    });
}

#[test]
fn each_call_of_each_operation_fails_once() {
    each_call(false, Fault::Before(SinkErrorKind::Other));
}

#[test]
fn each_call_of_each_operation_loses_its_answer_once() {
    each_call(false, Fault::After(SinkErrorKind::Unavailable));
}

/// Nothing is settled for ever by what one read says.
#[test]
fn each_call_of_each_operation_gives_a_flipped_bit_once() {
    each_call(false, Fault::FlipBit);
}

#[test]
fn each_call_of_each_operation_gives_half_of_it_once() {
    each_call(false, Fault::Truncate);
}

#[test]
fn each_call_of_each_operation_fails_once_in_an_encrypted_repository() {
    each_call(true, Fault::After(SinkErrorKind::Other));
}

#[test]
fn each_operation_is_cancelled_before_each_call() {
    Runtime::new().unwrap().block_on(async {
        let mut stage = Stage::new(false).await;
        for (operation, (name, _)) in OPERATIONS.iter().enumerate() {
            let mut cancelled = 0;
            for call in 0.. {
                stage.lived.put_back(&stage.memory).await;
                stage.faulty.heal();
                let first = stage.faulty.calls() + call;
                let cancel = CancellationToken::new();
                let token = cancel.clone();
                stage.faulty.act_before(first, move || token.cancel());
                let done = stage.run(operation, &cancel).await;
                let story = format!("{name}, call {call}: {done:?}");
                match done {
                    Ok(()) => {}
                    Err(RepoError::Cancelled) => cancelled += 1,
                    Err(error) => panic!("{story}: {error:?}"),
                }
                stage.is_whole(*name == "forget", &story).await;
                if stage.faulty.calls() <= first {
                    break;
                }
            }
            let can_be =
                ["restore", "verify", "look", "repair", "compact", "copy from it", "copy to it"];
            assert_eq!(cancelled > 0, can_be.contains(name), "{name}");
        }
    });
}

/// Whoever else comes, and whenever: both are done as if one had been after the other, or one of them fails.
fn each_call_beside(another: &'static str) {
    Runtime::new().unwrap().block_on(async {
        let mut stage = Stage::new(false).await;
        for (operation, (name, _)) in OPERATIONS.iter().enumerate() {
            for call in 0.. {
                stage.lived.put_back(&stage.memory).await;
                stage.faulty.heal();
                let first = stage.faulty.calls() + call;
                stage.faulty.act_before(first, stage.another(another));
                let done = stage.run(operation, &CancellationToken::new()).await;
                let story = format!("{name}, {another} before call {call}: {done:?}");
                let forgets = *name == "forget" || another == "forget";
                stage.is_whole(forgets, &story).await;
                if stage.faulty.calls() <= first {
                    break;
                }
            }
        }
    });
}

#[test]
fn another_forgets_before_each_call_of_each_operation() {
    each_call_beside("forget");
}

#[test]
fn another_prunes_before_each_call_of_each_operation() {
    each_call_beside("prune");
}

#[test]
fn another_compacts_before_each_call_of_each_operation() {
    each_call_beside("compact");
}

#[test]
fn another_repairs_before_each_call_of_each_operation() {
    each_call_beside("repair");
}

/// What becomes of an object.
fn damages(whole: &Bytes, another: &Bytes) -> Vec<(&'static str, Option<Bytes>)> {
    let flipped = |at: usize| {
        let mut bytes = whole.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x20;
        }
        Some(bytes.into())
    };
    vec![
        ("gone", None),
        ("flipped at its front", flipped(9)),
        ("flipped in the middle", flipped(whole.len() / 2)),
        ("flipped at its end", flipped(whole.len() - 9)),
        ("cut", Some(whole.slice(..whole.len() * 2 / 3))),
        ("longer", Some([&whole[..], b"more"].concat().into())),
        ("another", Some(another.clone())),
    ]
}

fn each_object(encrypted: bool) {
    Runtime::new().unwrap().block_on(async {
        let mut stage = Stage::new(encrypted).await;
        let objects = stage.lived.objects.list("").await.unwrap();
        let mut another = Bytes::from_static(b"nothing yet");
        for key in objects.into_iter().map(|object| object.key) {
            let whole =
                stage.lived.objects.get(&key, Span::Whole { limit: 1 << 20 }).await.unwrap();
            for (damage, bytes) in damages(&whole, &another) {
                for (operation, (name, _)) in OPERATIONS.iter().enumerate() {
                    stage.lived.put_back(&stage.memory).await;
                    match &bytes {
                        Some(bytes) => stage.memory.replace(&key, bytes.clone()),
                        None => stage.memory.delete(&key).await.unwrap(),
                    }
                    let done = stage.run(operation, &CancellationToken::new()).await;
                    let story = format!("{key} is {damage}, {name}: {done:?}");
                    // It is found again, in a copy of the disk: nothing else was lost because of it. An outcome of a
                    // backup that is long gone is not missed: without it, that it was forgotten need not be known any more.
                    if !stage.lived.is_old_outcome(&key) {
                        stage.memory.replace(&key, whole.clone());
                    }
                    stage.lived.is_whole(&stage.clean, *name == "forget", &story).await;
                }
            }
            another = whole;
        }
    });
}

#[test]
fn each_object_is_damaged_before_each_operation() {
    each_object(false);
}

#[test]
fn each_object_of_an_encrypted_repository_is_damaged_before_each_operation() {
    each_object(true);
}
