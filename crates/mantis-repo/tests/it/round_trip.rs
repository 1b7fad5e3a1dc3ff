//! Backups of made-up pages: what goes in comes out, every damage is found, every failure of the store
//! leaves the other backups whole.

use std::sync::Arc;

use bytes::Bytes;
use mantis_page::{PageNo, PageRun};
use mantis_repo::{
    BackupWriter, Purpose, RepoError, Repository, Selector, Session, UnixMillis, VerifyOptions,
};
use mantis_sink::{Call, Fault, FaultSink, MemorySink, RecordingSink, Sink, SinkErrorKind, Span};
use mantis_stream::{CancellationToken, Compression};
use tokio::runtime::Runtime;

use crate::world::{SIZE, backup, content, in_memory, meta, plain, restore};
use mantis_repo::WriteOptions;

#[test]
fn backups_of_every_codec_and_size_come_back() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let compressions =
            [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Gzip(1)];
        let sizes = [0, 1, 2, 511, 512, 513, 1024, 70_000];
        let mut entropy = 1;
        for compression in compressions {
            for pages in sizes {
                entropy += 1;
                let bytes = content(u64::from(entropy), pages);
                let meta = meta("a", i64::from(entropy), &bytes);
                let info = backup(&repo, entropy, meta, &bytes, plain(compression)).await.unwrap();
                assert!(
                    restore(&repo, &info).await.unwrap() == bytes,
                    "{compression}, {pages} pages"
                );
            }
        }
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert_eq!((report.checked.len(), report.damaged), (32, vec![]));
        let again = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
        assert_eq!(again.catalogue().await.unwrap().backups.len(), 32);
    });
}

#[test]
fn equal_content_has_an_equal_fingerprint_and_zeros_cost_nothing() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(3, 900);
        let one =
            backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let two =
            backup(&repo, 3, meta("b", 2, &bytes), &bytes, plain(Compression::Lz4)).await.unwrap();
        assert_eq!(one.fingerprint, two.fingerprint);
        let other = content(4, 900);
        let three =
            backup(&repo, 4, meta("a", 3, &other), &other, plain(Compression::None)).await.unwrap();
        assert_ne!(one.fingerprint, three.fingerprint);
        let zeros = vec![0; 40 << 20];
        let blank =
            backup(&repo, 5, meta("a", 4, &zeros), &zeros, plain(Compression::None)).await.unwrap();
        assert!(blank.bytes_stored < 1000, "{}", blank.bytes_stored);
        assert_eq!(blank.pages_zero, blank.meta.page_count);
        assert!(restore(&repo, &blank).await.unwrap() == zeros);
        assert!(sink.list("sess").await.unwrap().is_empty());
    });
}

#[test]
fn a_backup_is_found_by_id_source_tag_and_time() {
    let (runtime, _, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 5);
        for (entropy, source, at) in [(2, "a", 100), (3, "b", 200), (4, "a", 300)] {
            backup(&repo, entropy, meta(source, at, &bytes), &bytes, plain(Compression::None))
                .await
                .unwrap();
        }
        let catalogue = repo.catalogue().await.unwrap();
        let at = |selector: Selector| {
            catalogue.find(&selector).map(|backup| backup.meta.created_at.0).ok()
        };
        let latest = Selector { id: Some("latest".into()), ..Selector::default() };
        assert_eq!(at(latest.clone()), Some(300));
        assert_eq!(at(Selector { source: Some("b".into()), ..latest.clone() }), Some(200));
        assert_eq!(at(Selector { at: Some(UnixMillis(299)), ..latest.clone() }), Some(200));
        assert_eq!(at(Selector { at: Some(UnixMillis(99)), ..latest.clone() }), None);
        assert_eq!(at(Selector { tags: vec![("type".into(), "other".into())], ..latest }), None);
        for backup in &catalogue.backups {
            let id = Some(backup.id.short());
            assert_eq!(at(Selector { id, ..Selector::default() }), Some(backup.meta.created_at.0));
        }
        assert_eq!(at(Selector { id: Some(String::new()), ..Selector::default() }), None);
        assert_eq!(at(Selector { id: Some("zz".into()), ..Selector::default() }), None);
    });
}

#[test]
fn pages_out_of_order_or_missing_are_refused_and_leave_nothing() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 2000);
        let before = sink.list("").await.unwrap();
        let short =
            backup(&repo, 2, meta("a", 1, &bytes), &bytes[..512 * 1999], plain(Compression::None))
                .await;
        assert!(matches!(short, Err(RepoError::WrongPages { .. })));
        let session =
            Session::begin(&repo, Purpose::Backup, [3; 32], "test", UnixMillis(0)).await.unwrap();
        let mut writer =
            BackupWriter::new(session, meta("a", 1, &bytes), None, plain(Compression::None))
                .unwrap();
        let second =
            PageRun::new(PageNo::new(2).unwrap(), SIZE, Bytes::from(vec![0; 512])).unwrap();
        assert!(writer.push(second).await.is_err());
        writer.abandon().await;
        assert_eq!(sink.list("").await.unwrap(), before);
    });
}

#[test]
fn a_cancelled_backup_leaves_nothing() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(1, 120_000);
        let before = sink.list("").await.unwrap();
        let cancel = CancellationToken::new();
        let rate = Some(40 << 20);
        let options = WriteOptions { cancel: cancel.clone(), rate, ..plain(Compression::Zstd(1)) };
        let stop = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            cancel.cancel();
        });
        let cancelled = backup(&repo, 2, meta("a", 1, &bytes), &bytes, options).await;
        assert!(cancelled.unwrap_err().is_cancelled());
        stop.await.unwrap();
        assert_eq!(sink.list("").await.unwrap(), before);
    });
}

#[test]
fn the_outcome_is_created_last_and_the_intent_first() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let sink = RecordingSink::new(Arc::new(MemorySink::new()));
        let repo =
            Repository::init(Arc::new(sink.clone()), [1; 32], UnixMillis(1), None).await.unwrap();
        let _ = sink.take();
        let bytes = content(1, 25_000);
        backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let calls = sink.take();
        let puts: Vec<&str> = calls
            .iter()
            .filter_map(|call| {
                if let Call::Put(key, _) = call { key.as_str().split('/').next() } else { None }
            })
            .collect();
        assert_eq!(puts, ["sess", "seg", "seg", "man", "out"]);
        assert!(
            matches!(calls.last(), Some(Call::Delete(key)) if key.as_str().starts_with("sess/"))
        );
    });
}

/// Every call of a backup fails, each in a run of its own, before or after it took effect.
#[test]
fn every_call_may_fail_once_or_for_ever() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let bytes = content(9, 40_000);
        for kind in [SinkErrorKind::Other, SinkErrorKind::Unavailable, SinkErrorKind::NoSpace] {
            for fault in [Fault::Before(kind), Fault::After(kind)] {
                for lasting in [false, true] {
                    for call in 0.. {
                        let memory = MemorySink::new();
                        let repo = Repository::init(
                            Arc::new(memory.clone()),
                            [1; 32],
                            UnixMillis(1),
                            None,
                        )
                        .await
                        .unwrap();
                        let old = content(8, 700);
                        backup(&repo, 2, meta("old", 1, &old), &old, plain(Compression::None))
                            .await
                            .unwrap();
                        let faulty = FaultSink::new(Arc::new(memory.clone()));
                        let through =
                            Repository::open(Arc::new(faulty.clone()), None).await.unwrap();
                        let first = faulty.calls() + call;
                        if lasting {
                            faulty.fail_from(first, fault);
                        } else {
                            faulty.fail_once(first, fault);
                        }
                        let made = backup(
                            &through,
                            3,
                            meta("new", 2, &bytes),
                            &bytes,
                            plain(Compression::None),
                        )
                        .await;
                        let calls = faulty.calls();

                        let story = format!("{fault:?}, lasting {lasting}, call {call}");
                        let clean = Repository::open(Arc::new(memory.clone()), None).await.unwrap();
                        let catalogue = clean.catalogue().await.unwrap();
                        assert!(catalogue.unreadable.is_empty(), "{story}");
                        let sources: Vec<&str> =
                            catalogue.backups.iter().map(|backup| &*backup.meta.source).collect();
                        // A reported success is a backup; a reported failure may be one only where the
                        // answer to the commit itself was lost for good.
                        match made {
                            Ok(_) => assert_eq!(sources, ["old", "new"], "{story}"),
                            Err(_) => assert!(sources.starts_with(&["old"]), "{story}"),
                        }
                        if matches!(fault, Fault::Before(_)) && made.is_err() {
                            assert_eq!(sources, ["old"], "{story}");
                        }
                        for backup in &catalogue.backups {
                            let wanted = if backup.meta.source == "old" { &old } else { &bytes };
                            assert!(restore(&clean, backup).await.unwrap() == *wanted, "{story}");
                        }
                        let after = content(10, 100);
                        backup(
                            &clean,
                            4,
                            meta("after", 3, &after),
                            &after,
                            plain(Compression::None),
                        )
                        .await
                        .unwrap();
                        if calls <= first {
                            break;
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn segments_do_not_pass_for_one_another() {
    let (runtime, sink, repo) = in_memory();
    runtime.block_on(async {
        let bytes = content(5, 70_000);
        let info =
            backup(&repo, 2, meta("a", 1, &bytes), &bytes, plain(Compression::None)).await.unwrap();
        let segments = sink.list("seg").await.unwrap();
        let (first, second) = (&segments[0].key, &segments[1].key);
        let read = async |key| sink.get(key, Span::Whole { limit: 1 << 30 }).await.unwrap();
        let (one, two) = (read(first).await, read(second).await);
        sink.replace(first, two);
        sink.replace(second, one);
        assert!(restore(&repo, &info).await.unwrap_err().is_damage());
        let report = repo.verify(&[], &VerifyOptions::default()).await.unwrap();
        assert!(report.damaged.iter().any(|damage| damage.backups == [info.id]));
    });
}

#[test]
fn a_store_without_a_repository_and_one_that_has_one() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let sink: Arc<dyn Sink> = Arc::new(MemorySink::new());
        assert!(Repository::open(Arc::clone(&sink), None).await.unwrap_err().is_no_repository());
        Repository::init(Arc::clone(&sink), [1; 32], UnixMillis(1), None).await.unwrap();
        let again = Repository::init(Arc::clone(&sink), [2; 32], UnixMillis(1), None).await;
        assert!(matches!(again, Err(RepoError::AlreadyExists { .. })));
        // The disk went away under an open repository: no backups is not what that means.
        let repo = Repository::open(Arc::clone(&sink), None).await.unwrap();
        for object in sink.list("").await.unwrap() {
            sink.delete(&object.key).await.unwrap();
        }
        assert!(repo.catalogue().await.is_err());
    });
}
