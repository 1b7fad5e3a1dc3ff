//! Manifests of somebody who may write to the store, with hashes that match: what they say is not believed where it is not so.

use std::sync::Arc;

use bytes::Bytes;
use mantis_repo::fuzzing::{forge, unseal};
use mantis_repo::{
    BackupInfo, Repository, Selector, SessionId, UnixMillis, VerifyOptions, WriteOptions,
};
use mantis_sink::{MemorySink, Sink, Span};
use mantis_stream::Compression;
use serde_json::{Value, json};

use crate::world::{
    SIZE, backup, content, image_of, in_memory, incremental, meta, plain, restore, touch,
};

/// The one object of a session in a folder.
async fn object(sink: &MemorySink, folder: &str, session: SessionId) -> mantis_sink::ObjectKey {
    let mut found = sink.list(folder).await.unwrap().into_iter().map(|object| object.key);
    found.rfind(|key| key.as_str().contains(&session.to_string())).unwrap()
}

async fn manifest_of(repo: &Repository, sink: &MemorySink, session: SessionId) -> Value {
    let key = object(sink, "man", session).await;
    let sealed = sink.get(&key, Span::Whole { limit: 1 << 20 }).await.unwrap();
    serde_json::from_slice(&unseal(repo, &key, &sealed).unwrap()).unwrap()
}

/// Makes a session's backup what a manifest says.
async fn replace(repo: &Repository, sink: &MemorySink, session: SessionId, manifest: &Value) {
    let old = object(sink, "man", session).await;
    let bytes = Bytes::from(serde_json::to_vec(manifest).unwrap());
    let [(key, manifest), (outcome_key, outcome)] = forge(repo, session, &bytes).unwrap();
    sink.delete(&old).await.unwrap();
    sink.replace(&key, manifest.to_bytes());
    sink.replace(&outcome_key, outcome.to_bytes());
}

async fn spoiled(spoil: impl Fn(&mut Value)) -> (Repository, MemorySink, BackupInfo, Vec<u8>) {
    let sink = MemorySink::new();
    let init = Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None);
    let repo = init.await.unwrap();
    let bytes = content(1, 60);
    let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
    let made = made.await.unwrap();
    let mut manifest = manifest_of(&repo, &sink, made.session).await;
    spoil(&mut manifest);
    replace(&repo, &sink, made.session, &manifest).await;
    (repo, sink, made, bytes)
}

/// What verify finds wrong.
async fn damages(repo: &Repository) -> Vec<String> {
    let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
    report.damaged.into_iter().map(|damage| damage.what).collect()
}

#[test]
fn sums_and_sizes_that_are_not_those_of_the_pages_are_found() {
    type Spoil = fn(&mut Value);
    let spoils: [(&str, bool, Spoil); 5] = [
        ("another fingerprint", true, |it| it["fingerprint"] = json!("00".repeat(32))),
        ("pages that are nowhere", false, |it| {
            it["page_count"] = json!(70);
            it["byte_len"] = json!(70 * 512);
        }),
        ("pages of another size", false, |it| {
            it["page_size"] = json!(1024);
            it["page_count"] = json!(30);
        }),
        ("fewer pages than there are", true, |it| {
            it["page_count"] = json!(50);
            it["byte_len"] = json!(50 * 512);
        }),
        ("no segments", false, |it| it["layers"] = json!([])),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (what, restores, spoil) in spoils {
        runtime.block_on(async {
            let (repo, _, _, bytes) = spoiled(spoil).await;
            assert_eq!(damages(&repo).await.len(), 1, "{what}");
            let backup = repo.catalogue().await.unwrap().backups.remove(0);
            match restore(&repo, &backup).await {
                Ok(restored) => assert!(restores && bytes.starts_with(&restored), "{what}"),
                Err(error) => assert!(!restores, "{what}: {error}"),
            }
            // What can be salvaged is right, and what is nowhere is lost.
            let manifest = repo.manifest(&backup).await.unwrap();
            let (image, give) = image_of(&backup);
            let Ok(salvaged) = repo.salvage(&manifest, give).await else { return };
            let image = image.lock().unwrap();
            if what == "pages of another size" {
                assert_eq!((salvaged.pages, salvaged.lost.len()), (0, 30));
                return;
            }
            let pages = image.chunks(SIZE.bytes()).zip(bytes.chunks(SIZE.bytes()));
            for ((got, wanted), page) in pages.zip(1..) {
                let lost = salvaged.lost.contains(mantis_page::PageNo::new(page).unwrap());
                assert!(lost || got == wanted, "{what}, page {page}");
            }
            if what == "pages that are nowhere" {
                assert_eq!(salvaged.lost.len(), 10);
            }
        });
    }
}

#[test]
fn a_manifest_of_another_session_is_none_of_this_one() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 60);
        let one = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let one = one.await.unwrap();
        let two = backup(&repo, 3, meta("b", 2, &bytes), &bytes, plain(Compression::None));
        let two = two.await.unwrap();
        let manifest = manifest_of(&repo, &sink, one.session).await;
        replace(&repo, &sink, two.session, &manifest).await;
        let catalogue = repo.catalogue().await.unwrap();
        assert_eq!((catalogue.backups.len(), catalogue.unreadable.len()), (1, 1));
        assert!(catalogue.unreadable[0].error.is_damage());
        // A backup that is damaged can be forgotten by its id, and only by that.
        assert!(catalogue.find_unreadable("").is_err());
        assert_eq!(catalogue.find_unreadable(&two.id.to_string()).unwrap().session, two.session);
    });
}

#[test]
fn what_only_a_newer_version_can_read_is_neither_damaged_nor_forgotten() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (repo, _, made, _) = spoiled(|it| it["required"] = json!(["later"])).await;
        let catalogue = repo.catalogue().await.unwrap();
        assert_eq!((catalogue.backups.len(), catalogue.unreadable.len()), (0, 1));
        assert!(!catalogue.unreadable[0].error.is_damage());
        let id = made.id.to_string();
        assert!(catalogue.find_unreadable(&id).is_err());
        assert!(catalogue.find(&Selector { id: Some(id), ..Selector::default() }).is_err());
        repo.forget(&catalogue, &[made.id], [9; 32], UnixMillis(5)).await.unwrap();
        assert_eq!(repo.catalogue().await.unwrap().unreadable.len(), 1);
    });
}

#[test]
fn a_backup_whose_list_of_segments_is_gone_is_not_built_on() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let mut bytes = content(1, 6000);
        let options = WriteOptions { segment_len: 64 << 10, ..plain(Compression::None) };
        let made = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options).await.unwrap();
        let list = object(&sink, "lay", made.session).await;
        sink.delete(&list).await.unwrap();
        touch(&mut bytes, 3, 9);
        let next = incremental(&repo, 3, meta("a", 2, &bytes), &bytes, None).await.unwrap();
        assert_eq!(next.parent, None);
        assert!(restore(&repo, &next).await.unwrap() == bytes);
        assert_eq!(damages(&repo).await.len(), 1);
    });
}

/// A backup whose outcome and whose record of forgetting are lost, while a collector is about to free it: it is given up for good, as
/// what it names may be gone at any moment.
#[test]
fn what_a_collector_has_listed_is_not_made_a_backup_again() {
    use mantis_repo::{PruneOptions, Purpose, RepairOptions, Session};
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 60);
        let gone = backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None));
        let gone = gone.await.unwrap();
        let kept = backup(&repo, 3, meta("a", 2, &bytes), &bytes, plain(Compression::None));
        let kept = kept.await.unwrap();
        let catalogue = repo.catalogue().await.unwrap();
        repo.forget(&catalogue, &[gone.id], [9; 32], UnixMillis(5)).await.unwrap();
        // Somebody reads: the collector lists what it is going to free, and waits.
        let at = UnixMillis(1_000_000);
        let reader = Session::begin(&repo, Purpose::Restore, [10; 32], "reader", at).await.unwrap();
        let options = PruneOptions { grace_ms: 1000, dry_run: false, exclusive: false };
        let report = repo.prune(options, [11; 32], at).await.unwrap();
        assert!(report.freed_objects == 0 && report.waiting_bytes > 0, "{report:?}");
        for folder in ["out", "forget"] {
            let key = object(&sink, folder, gone.session).await;
            sink.delete(&key).await.unwrap();
        }
        let options = RepairOptions {
            dry_run: false,
            owner: "test".into(),
            cancel: mantis_stream::CancellationToken::new(),
        };
        let repaired = repo.repair(&options, [12; 32], at).await.unwrap();
        assert_eq!(repaired.outcomes.len(), 1);
        let backups = repo.catalogue().await.unwrap().backups;
        assert_eq!(backups.iter().map(|backup| backup.id).collect::<Vec<_>>(), [kept.id]);
        reader.end().await;
        let options = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
        repo.prune(options, [13; 32], UnixMillis(2_000_000)).await.unwrap();
        assert!(restore(&repo, &kept).await.unwrap() == bytes);
        assert!(damages(&repo).await.is_empty());
    });
}
