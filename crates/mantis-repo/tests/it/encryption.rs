//! Encrypted repositories: nothing readable, nothing forged, nobody locked out.

use std::sync::Arc;

use bytes::Bytes;
use mantis_repo::{
    BackupKind, Credential, Identity, KeyKind, KeyLock, NewKey, Password, RepoError, Repository,
    UnixMillis, VerifyOptions,
};
use mantis_sink::{MemorySink, Sink, Span};
use mantis_stream::Compression;
use tokio::runtime::Runtime;

use crate::world::{backup, content, incremental, meta, plain, restore, touch};

fn password(text: &str) -> Password {
    Password::new(text.into())
}

fn key(text: &str) -> NewKey {
    NewKey { lock: KeyLock::Password(password(text)), label: text.into() }
}

fn encrypted() -> (Runtime, MemorySink, Repository) {
    let (runtime, sink) = (Runtime::new().unwrap(), MemorySink::new());
    let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), Some(key("first")));
    let repo = runtime.block_on(init).unwrap();
    (runtime, sink, repo)
}

async fn open(sink: &MemorySink, text: &str) -> Result<Repository, RepoError> {
    Repository::open(Arc::new(sink.clone()), Some(&password(text).into())).await
}

async fn bytes_of(sink: &MemorySink) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for object in sink.list("").await.unwrap() {
        let bytes = sink.get(&object.key, Span::Whole { limit: 1 << 30 }).await.unwrap();
        all.push((object.key.to_string(), bytes));
    }
    all
}

#[test]
fn what_is_stored_tells_nothing_and_comes_back_with_the_password() {
    let (runtime, sink, repo) = encrypted();
    runtime.block_on(async {
        let mut bytes = vec![b'S'; 512 * 900];
        bytes.extend_from_slice(&content(1, 900));
        let made =
            backup(&repo, 2, meta("secret-name", 1, &bytes), &bytes, plain(Compression::None));
        made.await.unwrap();
        touch(&mut bytes, 3, b'T');
        let next =
            incremental(&repo, 3, meta("secret-name", 2, &bytes), &bytes, None).await.unwrap();
        assert_eq!((next.kind, next.pages_changed), (BackupKind::Incremental, 1));
        for (name, stored) in bytes_of(&sink).await {
            for word in [&b"secret-name"[..], b"SSSSSSSS", b"TTTTTTTT", b"/some/where", b"sqlite"] {
                assert!(!stored.windows(word.len()).any(|window| window == word), "{name}");
            }
        }
        assert!(matches!(open(&sink, "wrong").await, Err(RepoError::WrongPassword { .. })));
        let none = Repository::open(Arc::new(sink.clone()), None).await;
        assert!(matches!(none, Err(RepoError::NeedsPassword { .. })));
        let again = open(&sink, "first").await.unwrap();
        assert!(restore(&again, &next).await.unwrap() == bytes);
        assert!(again.verify(&[], &VerifyOptions::default()).await.unwrap().damaged.is_empty());
    });
}

#[test]
fn the_same_pages_in_another_repository_are_other_bytes_and_hashes() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let bytes = content(1, 300);
        let mut made = Vec::new();
        for seed in [1, 2] {
            let sink = MemorySink::new();
            let init =
                Repository::init(Arc::new(sink.clone()), [seed; 32], UnixMillis(1), Some(key("p")));
            let repo = init.await.unwrap();
            let info = backup(&repo, 9, meta("a", 1, &bytes), &bytes, plain(Compression::None));
            made.push((info.await.unwrap().fingerprint, repo.page_hasher().hash(&bytes[..512])));
        }
        assert!(made[0].0 != made[1].0 && made[0].1 != made[1].1);
    });
}

#[test]
fn a_password_is_changed_without_a_moment_in_which_none_opens() {
    let (runtime, sink, repo) = encrypted();
    runtime.block_on(async {
        let old = repo.keys().await.unwrap();
        let only = old[0].id.to_string();
        assert!(matches!(repo.remove_key(&only).await, Err(RepoError::LastKey { .. })));
        assert!(matches!(repo.remove_key("zz").await, Err(RepoError::NoSuchKey { count: 0, .. })));
        repo.add_key(key("second"), [7; 32], UnixMillis(2)).await.unwrap();
        open(&sink, "first").await.unwrap();
        let second = open(&sink, "second").await.unwrap();
        let keys = second.keys().await.unwrap();
        let current: Vec<bool> = keys.iter().map(|key| key.current).collect();
        assert_eq!(current, [false, true]);
        second.remove_key(&only).await.unwrap();
        assert!(matches!(open(&sink, "first").await, Err(RepoError::WrongPassword { .. })));
        open(&sink, "second").await.unwrap();
        // Nothing of a password shows when things are printed.
        let text = format!("{second:?} {:?}", password("hunter2"));
        assert!(!text.contains("hunter2"), "{text}");
    });
}

const IDENTITY: &str = "AGE-SECRET-KEY-1U3ES59HHG4ZZCWGWCZ3XKRLAYZ5UMCQHU42PSTHJGWALSAX39H2QEUZQ06";
const OTHER: &str = "AGE-SECRET-KEY-1VMC4DGJTMRYD5095E0PWQSUFS0T47EQCNKQ6DERWCU4WJF0N3CFS7QH793";

fn for_recipient(identity: &str) -> NewKey {
    let recipient = identity.parse::<Identity>().unwrap().recipient();
    NewKey { lock: KeyLock::Recipient(recipient), label: "escrow".into() }
}

async fn open_by(sink: &MemorySink, identities: &[&str]) -> Result<Repository, RepoError> {
    let identities = identities.iter().map(|text| text.parse().unwrap()).collect();
    Repository::open(Arc::new(sink.clone()), Some(&Credential::Identities(identities))).await
}

#[test]
fn an_identity_opens_what_was_sealed_for_its_recipient() {
    let (runtime, sink, repo) = encrypted();
    runtime.block_on(async {
        let refused = open_by(&sink, &[IDENTITY]).await;
        assert!(matches!(refused, Err(RepoError::WrongPassword { credential: "identity", .. })));
        let bytes = content(1, 30);
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let made = made.await.unwrap();
        let added = repo.add_key(for_recipient(IDENTITY), [7; 32], UnixMillis(2)).await.unwrap();
        assert!(matches!(&added.kind, KeyKind::Age { recipient } if recipient.starts_with("age1")));
        let again = open_by(&sink, &[OTHER, IDENTITY]).await.unwrap();
        assert!(restore(&again, &made).await.unwrap() == bytes);
        assert!(open_by(&sink, &[OTHER]).await.is_err());
        // It may be the only key; what it opens is the same repository.
        let first = again.keys().await.unwrap()[0].id.to_string();
        again.remove_key(&first).await.unwrap();
        assert!(open(&sink, "first").await.is_err());
        let (rotated, _) =
            open_by(&sink, &[IDENTITY]).await.unwrap().rotate([8; 32]).await.unwrap();
        assert_eq!(rotated.keyring_id().unwrap(), repo.keyring_id().unwrap());
        let last = rotated.keys().await.unwrap()[0].id.to_string();
        assert!(matches!(rotated.remove_key(&last).await, Err(RepoError::LastKey { .. })));
    });
}

#[test]
fn a_repository_is_made_for_several_at_once_and_for_no_more_than_are_ever_tried() {
    let (runtime, sink) = (Runtime::new().unwrap(), MemorySink::new());
    runtime.block_on(async {
        let keys = [for_recipient(OTHER), key("first"), for_recipient(IDENTITY)];
        let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), keys);
        let repo = init.await.unwrap();
        open(&sink, "first").await.unwrap();
        for identity in [IDENTITY, OTHER] {
            let opened = open_by(&sink, &[identity]).await.unwrap();
            assert_eq!(opened.keyring_id().unwrap(), repo.keyring_id().unwrap());
        }
        for seed in 3..16 {
            repo.add_key(for_recipient(OTHER), [seed; 32], UnixMillis(2)).await.unwrap();
        }
        let refused = repo.add_key(key("one too many"), [99; 32], UnixMillis(2)).await;
        assert!(matches!(refused, Err(RepoError::TooManyKeys { .. })));
    });
}

/// Everyone may seal for a recipient: what the keyring's id is there for.
#[test]
fn keys_that_someone_else_put_there_for_the_same_recipient_have_another_id() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut ids = Vec::new();
        for seed in [1, 2] {
            let sink: Arc<MemorySink> = Arc::new(MemorySink::new());
            let keys = [for_recipient(IDENTITY)];
            let init = Repository::init(sink.clone(), [seed; 32], UnixMillis(1), keys);
            init.await.unwrap();
            ids.push(open_by(&sink, &[IDENTITY]).await.unwrap().keyring_id().unwrap());
        }
        assert_ne!(ids[0], ids[1]);
    });
}

#[test]
fn after_a_rotation_old_and_new_backups_restore_and_share_pages() {
    let (runtime, sink, repo) = encrypted();
    runtime.block_on(async {
        let mut bytes = content(1, 300);
        repo.add_key(key("second"), [7; 32], UnixMillis(2)).await.unwrap();
        let before = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::Lz4));
        let before = before.await.unwrap();
        let old = bytes.clone();
        let (rotated, generation) = repo.rotate([8; 32]).await.unwrap();
        assert_eq!(generation, 2);
        touch(&mut bytes, 3, 9);
        let after = incremental(&rotated, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        assert_eq!(after.pages_changed, 1);
        for text in ["first", "second"] {
            let repo = open(&sink, text).await.unwrap();
            assert!(restore(&repo, &before).await.unwrap() == old);
            assert!(restore(&repo, &after).await.unwrap() == bytes);
            let manifest = repo.manifest(&after).await.unwrap();
            let keys: Vec<u32> = manifest.segments().map(|segment| segment.key).collect();
            assert_eq!(keys, [1, 2]);
        }
        // One of the two copies of the keyring is enough.
        let ring = mantis_repo::Place::Keyring(2).key().unwrap();
        sink.replace(&ring, Bytes::from_static(b"damaged"));
        let repo = open(&sink, "first").await.unwrap();
        assert!(restore(&repo, &after).await.unwrap() == bytes);
    });
}

#[test]
fn a_repository_that_is_not_encrypted_is_not_opened_with_a_password() {
    let (runtime, sink) = (Runtime::new().unwrap(), MemorySink::new());
    runtime.block_on(async {
        Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None).await.unwrap();
        assert!(matches!(open(&sink, "p").await, Err(RepoError::NotEncrypted { .. })));
    });
}

/// Someone who can write to the store, but has no key, puts an object that is not encrypted in the place of
/// one that is.
#[test]
fn a_plain_object_does_not_pass_for_an_encrypted_one() {
    let (runtime, sink, repo) = encrypted();
    runtime.block_on(async {
        let bytes = content(1, 20);
        let info = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let info = info.await.unwrap();
        let forger = MemorySink::new();
        // The same id, as the same entropy gives it; and no encryption.
        let init = Repository::init(Arc::new(forger.clone()), [1; 32], UnixMillis(1), None);
        let forged = init.await.unwrap();
        assert_eq!(forged.id(), repo.id());
        let evil = content(2, 20);
        backup(&forged, 2, meta("a", 1, &evil), &evil, plain(Compression::None)).await.unwrap();
        for (name, stored) in bytes_of(&forger).await {
            if !name.starts_with("mantis.repo") {
                sink.replace(&mantis_sink::ObjectKey::new(name).unwrap(), stored);
            }
        }
        let catalogue = repo.catalogue().await.unwrap();
        assert!(catalogue.backups.is_empty() && !catalogue.unreadable.is_empty());
        assert!(restore(&repo, &info).await.is_err());
    });
}
