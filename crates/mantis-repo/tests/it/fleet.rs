//! What members of a fleet tell of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mantis_repo::{
    Beat, MemberId, PruneOptions, RepoError, Repository, UnixMillis, WriteOptions, hash_of_names,
};
use mantis_sink::{Call, MemorySink, ObjectKey, Payload, RecordingSink, Sink, Span};

use crate::world::{backup, content, meta};

async fn empty(sink: impl Sink + 'static) -> Repository {
    Repository::init(Arc::new(sink), [1; 32], UnixMillis(1), None).await.unwrap()
}

const A: MemberId = MemberId([1; 16]);
const B: MemberId = MemberId([2; 16]);

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn beat(names: &BTreeSet<String>, view: &[(MemberId, u64)]) -> Beat {
    Beat {
        host: "here".into(),
        at: UnixMillis(5),
        lease_ms: 30_000,
        names: hash_of_names(names.iter().map(String::as_str)),
        databases: names.len() as u64,
        protected: 1,
        view: view.iter().copied().collect(),
    }
}

async fn put(repo: &Repository, member: MemberId, number: u64, names: &BTreeSet<String>) -> Beat {
    let beat = beat(names, &[(B, 7)]);
    let salts = [[number as u8; 32], [100 + number as u8; 32]];
    repo.put_beat(member, number, &beat, names, salts).await.unwrap();
    beat
}

#[tokio::test]
async fn beats_stand_in_each_others_place_and_names_are_written_once() {
    let calls = RecordingSink::new(Arc::new(MemorySink::new()));
    let repo = empty(calls.clone()).await;
    assert!(repo.can_have_a_fleet() && repo.fleet().await.unwrap().is_empty());
    let has = names(&["a", "b/c.db"]);
    put(&repo, A, 1, &has).await;
    let second = put(&repo, A, 2, &has).await;
    let _ = calls.take();
    let third = put(&repo, A, 3, &has).await;
    let puts = calls.take().into_iter().filter(|call| matches!(call, Call::Put(..))).count();
    assert_eq!(puts, 1, "the names are there");
    put(&repo, B, 1, &names(&[])).await;
    assert_eq!(repo.fleet().await.unwrap(), BTreeMap::from([(A, 3), (B, 1)]));
    assert_eq!(repo.fleet_beat(A, 3).await.unwrap(), Some(third.clone()));
    assert_eq!((repo.fleet_beat(A, 2).await.unwrap(), second), (None, third.clone()));
    assert_eq!(repo.fleet_names(A, third.names).await.unwrap(), Some(has));
    // Other names: the old list goes.
    let more = names(&["a", "b/c.db", "d"]);
    let fourth = put(&repo, A, 4, &more).await;
    assert_eq!(repo.fleet_names(A, third.names).await.unwrap(), None);
    assert_eq!(repo.fleet_names(A, fourth.names).await.unwrap(), Some(more));
    repo.leave_fleet(A).await.unwrap();
    assert_eq!(repo.fleet().await.unwrap(), BTreeMap::from([(B, 1)]));
}

#[tokio::test]
async fn they_are_no_part_of_any_backup() {
    let memory = MemorySink::new();
    let repo = empty(memory.clone()).await;
    put(&repo, A, 1, &names(&["a"])).await;
    let bytes = content(1, 20);
    backup(&repo, 9, meta("a", 1, &bytes), &bytes, WriteOptions::default()).await.unwrap();
    let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: true };
    repo.prune(options, [3; 32], UnixMillis(10_000_000)).await.unwrap();
    assert_eq!(repo.fleet().await.unwrap().len(), 1, "a prune leaves them alone");
    assert!(repo.fleet_beat(A, 1).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_damaged_or_no_beat_is_told_or_passed_over() {
    let memory = MemorySink::new();
    let repo = empty(memory.clone()).await;
    let has = names(&["a"]);
    let told = put(&repo, A, 1, &has).await;
    let put_raw = async |name: String, bytes: &'static [u8]| {
        memory.put_new(&ObjectKey::new(name).unwrap(), Payload::from(bytes)).await.unwrap();
    };
    put_raw("fleet/not-a-member/00000000000000000001".into(), b"x").await;
    put_raw(format!("fleet/{A}/7"), b"x").await;
    assert_eq!(repo.fleet().await.unwrap(), BTreeMap::from([(A, 1)]));
    put_raw(format!("fleet/{A}/00000000000000000002"), b"x").await;
    let damaged = repo.fleet_beat(A, 2).await.unwrap_err();
    assert!(matches!(damaged, RepoError::Damaged { .. }), "{damaged}");
    // A list under the hash of another one.
    let key = ObjectKey::new(format!("fleet/{A}/{}", told.names)).unwrap();
    let other = hash_of_names(["b"]);
    let bytes = memory.get(&key, Span::Whole { limit: 1 << 20 }).await.unwrap();
    let wrong = ObjectKey::new(format!("fleet/{A}/{other}")).unwrap();
    memory.put_new(&wrong, Payload::from(bytes)).await.unwrap();
    assert!(matches!(repo.fleet_names(A, other).await, Err(RepoError::Damaged { .. })));
}

#[test]
fn lists_of_names_are_told_apart() {
    assert_ne!(hash_of_names(["ab", "c"]), hash_of_names(["a", "bc"]));
    assert_ne!(hash_of_names([]), hash_of_names([""]));
}
