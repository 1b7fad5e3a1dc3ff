//! The checks that every sink must pass, run over each with the same words.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of checks for tests fails by panicking"
)]

use std::sync::Arc;

use futures::future::join_all;

use crate::{ObjectInfo, ObjectKey, Payload, Sink, SinkErrorKind, Span};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a key")
}

const ALL: Span = Span::Whole { limit: 1 << 20 };

/// Runs every check on an empty sink.
///
/// # Panics
/// Where the sink breaks a promise.
pub async fn check_sink(sink: Arc<dyn Sink>) {
    check_sink_without_races(Arc::clone(&sink)).await;
    of_many_creators_one_wins(&sink).await;
}

/// Runs every check on an empty sink, but for the races: there are servers that break what their language promises.
///
/// # Panics
/// Where the sink breaks a promise.
pub async fn check_sink_without_races(sink: Arc<dyn Sink>) {
    objects_come_back_whole_and_in_part(&*sink).await;
    an_object_is_never_replaced(&*sink).await;
    lists_are_complete_and_in_order(&*sink).await;
    deleting_is_final_and_may_be_repeated(&*sink).await;
    many_are_deleted_at_once(&*sink).await;
    a_creation_that_is_given_up_leaves_nothing_or_all(&sink).await;
}

async fn objects_come_back_whole_and_in_part(sink: &dyn Sink) {
    let mut payload = Payload::new();
    payload.push("hello ");
    payload.push("world");
    sink.put_new(&key("whole/a"), payload).await.expect("a put");
    sink.put_new(&key("whole/empty"), Payload::new()).await.expect("a put of nothing");
    assert_eq!(sink.get(&key("whole/a"), ALL).await.expect("a get"), "hello world");
    assert_eq!(sink.get(&key("whole/empty"), ALL).await.expect("a get"), "");
    assert_eq!(sink.get(&key("whole/a"), Span::Part(4..7)).await.expect("a part"), "o w");
    assert_eq!(sink.get(&key("whole/a"), Span::Part(11..11)).await.expect("no bytes"), "");
    assert_eq!(sink.stat(&key("whole/a")).await.expect("a stat"), 11);
    for span in [Span::Part(4..12), Span::Part(12..13), Span::Whole { limit: 10 }] {
        let error = sink.get(&key("whole/a"), span.clone()).await.expect_err("a wrong length");
        assert_eq!(error.kind(), SinkErrorKind::WrongLength, "{span:?}");
    }
    assert!(sink.get(&key("whole/none"), ALL).await.expect_err("no object").is_not_found());
    assert!(sink.stat(&key("whole/none")).await.expect_err("no object").is_not_found());
}

async fn an_object_is_never_replaced(sink: &dyn Sink) {
    sink.put_new(&key("new/a"), "first".into()).await.expect("a put");
    let error = sink.put_new(&key("new/a"), "second".into()).await.expect_err("it is there");
    assert!(error.is_already_exists(), "{error:?}");
    assert_eq!(sink.get(&key("new/a"), ALL).await.expect("a get"), "first");
}

async fn of_many_creators_one_wins(sink: &Arc<dyn Sink>) {
    if !sink.capabilities().exclusive_create {
        return;
    }
    for round in 0..8 {
        let name = key(&format!("race/{round}"));
        let racers = (0..16).map(|racer| {
            let (sink, name) = (Arc::clone(sink), name.clone());
            tokio::spawn(async move {
                let won = sink.put_new(&name, format!("{racer}").into()).await;
                (racer, won)
            })
        });
        let mut winners = Vec::new();
        for result in join_all(racers).await {
            match result.expect("a racer") {
                (racer, Ok(())) => winners.push(racer),
                (_, Err(error)) => assert!(error.is_already_exists(), "{error:?}"),
            }
        }
        let [winner] = winners[..] else { panic!("{} winners", winners.len()) };
        assert_eq!(sink.get(&name, ALL).await.expect("a get"), winner.to_string());
    }
}

async fn lists_are_complete_and_in_order(sink: &dyn Sink) {
    let puts = (0..1100).map(|n| {
        let name = key(&format!("list/{}/{n:04}", n % 3));
        async move { sink.put_new(&name, vec![0; n % 7].into()).await.expect("a put") }
    });
    join_all(puts).await;
    sink.put_new(&key("list-other/a"), "x".into()).await.expect("a put");
    let list = sink.list("list").await.expect("a list");
    assert_eq!(list.len(), 1100);
    assert!(list.is_sorted_by(|a, b| a.key < b.key));
    let wanted = ObjectInfo { key: key("list/2/0005"), len: 5 };
    assert!(list.contains(&wanted));
    assert_eq!(sink.list("list/1").await.expect("a list").len(), 367);
    assert!(sink.list("nothing").await.expect("an empty list").is_empty());
    assert!(sink.list("").await.expect("a list").len() > 1101);
}

async fn many_are_deleted_at_once(sink: &dyn Sink) {
    let keys: Vec<ObjectKey> =
        sink.list("list").await.expect("a list").into_iter().map(|object| object.key).collect();
    assert_eq!(keys.len(), 1100);
    sink.delete_many(&keys).await.expect("a delete of many");
    assert!(sink.list("list").await.expect("a list").is_empty());
    assert_eq!(sink.list("list-other").await.expect("a list").len(), 1, "others are left alone");
    sink.delete_many(&keys[..10]).await.expect("a delete of nothing");
    sink.delete_many(&[]).await.expect("a delete of none");
}

async fn a_creation_that_is_given_up_leaves_nothing_or_all(sink: &Arc<dyn Sink>) {
    const LEN: usize = 12 << 20;
    let name = key("given-up/a");
    let (other, payload) = (Arc::clone(sink), Payload::from(vec![7; LEN]));
    let put = {
        let name = name.clone();
        tokio::spawn(async move { other.put_new(&name, payload).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    put.abort();
    let _ = put.await;
    // What the store got of it may still be on its way.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    match sink.stat(&name).await {
        Ok(len) => assert_eq!(len, LEN as u64),
        Err(error) => assert!(error.is_not_found(), "{error:?}"),
    }
    assert!(
        sink.list("given-up").await.expect("a list").iter().all(|object| object.len == LEN as u64)
    );
}

async fn deleting_is_final_and_may_be_repeated(sink: &dyn Sink) {
    sink.put_new(&key("del/a"), "x".into()).await.expect("a put");
    sink.delete(&key("del/a")).await.expect("a delete");
    sink.delete(&key("del/a")).await.expect("a delete of nothing");
    assert!(sink.get(&key("del/a"), ALL).await.expect_err("no object").is_not_found());
    assert!(sink.list("del").await.expect("a list").is_empty());
}
