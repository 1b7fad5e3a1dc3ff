//! The store in a folder, by itself and beside others.

use super::*;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn passes_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    crate::conformance::check_sink(Arc::new(LocalSink::new(folder.path().join("a/b")))).await;
}

#[tokio::test]
async fn a_root_that_is_not_there_is_not_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path().join("unmounted"));
    assert!(sink.list("out").await.unwrap_err().is_not_found());
    assert!(sink.list("").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_root_that_goes_away_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (root, away) = (folder.path().join("root"), folder.path().join("away"));
    let sink = LocalSink::new(&root);
    sink.put_new(&key("mantis.repo"), "it".into()).await.unwrap();
    fs::rename(&root, &away).unwrap();
    assert!(sink.put_new(&key("out/a"), "one".into()).await.unwrap_err().is_not_found());
    assert!(!root.exists(), "another store under the same name");
    // What is left of a mount point is no empty store, and nothing in it was deleted.
    fs::create_dir(&root).unwrap();
    assert!(sink.put_new(&key("out/a"), "one".into()).await.unwrap_err().is_not_found());
    assert!(sink.list("").await.is_err() && sink.delete(&key("out/a")).await.is_err());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    sink.put_new(&key("out/a"), "one".into()).await.unwrap();
    // Who only read it knows it, too; and who deletes what he knew it by may go on.
    let other = LocalSink::new(&root);
    other.get(&key("mantis.repo"), Span::Whole { limit: 9 }).await.unwrap();
    fs::rename(&root, &away).unwrap();
    assert!(other.put_new(&key("out/b"), "two".into()).await.is_err());
    fs::rename(&away, &root).unwrap();
    other.delete(&key("mantis.repo")).await.unwrap();
    other.put_new(&key("out/b"), "two".into()).await.unwrap();
}

#[tokio::test]
async fn a_failed_put_leaves_no_rest() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path());
    sink.put_new(&key("a"), "one".into()).await.unwrap();
    assert!(sink.put_new(&key("a"), "two".into()).await.unwrap_err().is_already_exists());
    assert!(sink.put_new(&key("a/b"), "below a file".into()).await.is_err());
    assert_eq!(fs::read_dir(folder.path().join(TEMPORARY)).unwrap().count(), 0);
    assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeping_beside_writers_takes_nothing_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path());
    let writers = (0..4).map(|n| {
        let sink = sink.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                sink.put_new(&key(&format!("{n}/{round}")), "one".into()).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        sink.sweep(SystemTime::now()).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(sink.list("").await.unwrap().len(), 200);
}

/// Whoever deletes the last object of a folder removes the folder, under the hands of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_emptied_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path());
    for round in 0..30 {
        // At several depths, so that folders above vanish too.
        let name = |n: usize| key(&format!("seg/{round}/{}{n}", "a/".repeat(n % 4)));
        for n in 0..12 {
            sink.put_new(&name(n), "one".into()).await.unwrap();
        }
        let deletes = (0..12).map(|n| {
            let (sink, key) = (sink.clone(), name(n));
            tokio::spawn(async move { sink.delete(&key).await })
        });
        for delete in deletes.collect::<Vec<_>>() {
            delete.await.unwrap().unwrap();
        }
        assert!(sink.list("seg").await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path());
    let comers = (0..8).map(|n| {
        let sink = sink.clone();
        tokio::spawn(async move {
            for round in 0..40 {
                let name = key(&format!("a/{}x/{n}-{round}", "b/".repeat(round % 3)));
                sink.put_new(&name, "one".into()).await.unwrap();
                sink.delete(&name).await.unwrap();
            }
        })
    });
    for comer in comers.collect::<Vec<_>>() {
        comer.await.unwrap();
    }
    assert!(sink.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_folder_is_settled_whether_there_or_not() {
    let root = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(root.path());
    sink.put_new(&key("a/b/c"), Payload::from(Bytes::from_static(b"x"))).await.unwrap();
    for folder in ["a/b", "a", "", "not/there"] {
        sink.settle(folder).await.unwrap();
    }
    let unmounted = LocalSink::new(root.path().join("unmounted"));
    assert!(unmounted.settle("a").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn many_pieces_are_written_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(folder.path());
    let mut payload = Payload::new();
    for n in 0..3000u32 {
        payload.push(n.to_le_bytes().to_vec());
    }
    let whole = payload.to_bytes();
    sink.put_new(&key("many"), payload).await.unwrap();
    assert_eq!(sink.get(&key("many"), Span::Whole { limit: 12_000 }).await.unwrap(), whole);
}
