//! A sink that tries again, over one whose calls fail by a plan.

use super::*;
use crate::{Fault, FaultSink, MemorySink};

const UNAVAILABLE: SinkErrorKind = SinkErrorKind::Unavailable;

fn key() -> ObjectKey {
    ObjectKey::new("a/b").unwrap()
}

/// A sink whose calls fail by a plan, and the one around it.
fn faulty(attempts: u32) -> (MemorySink, FaultSink, RetrySink) {
    let memory = MemorySink::new();
    let faults = FaultSink::new(Arc::new(memory.clone()));
    let config = StreamConfig {
        attempts,
        delay: Duration::from_secs(1),
        timeout: Duration::from_secs(60),
        ..StreamConfig::default()
    };
    (memory, faults.clone(), RetrySink::new(Arc::new(faults), config))
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let (_, _, sink) = faulty(3);
    crate::conformance::check_sink(Arc::new(sink)).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_is_settled_by_reading_back() {
    let (memory, faults, sink) = faulty(3);
    faults.fail_once(0, Fault::After(UNAVAILABLE));
    sink.put_new(&key(), "mine".into()).await.unwrap();
    assert_eq!(memory.get(&key(), Span::Whole { limit: 9 }).await.unwrap(), "mine");
    // The reading back fails too.
    let (_, faults, sink) = faulty(4);
    faults.fail_once(0, Fault::After(UNAVAILABLE));
    faults.fail_once(2, Fault::Before(UNAVAILABLE));
    sink.put_new(&key(), "mine".into()).await.unwrap();
    // Somebody else's is not ours, whatever was lost.
    let (memory, faults, sink) = faulty(3);
    memory.put_new(&key(), "theirs".into()).await.unwrap();
    faults.fail_once(0, Fault::Before(UNAVAILABLE));
    let error = sink.put_new(&key(), "mine".into()).await.unwrap_err();
    assert!(error.is_already_exists());
    // And what was there before any try is not ours either, though it be the same.
    let error = sink.put_new(&key(), "theirs".into()).await.unwrap_err();
    assert!(error.is_already_exists());
}

#[tokio::test(start_paused = true)]
async fn tries_are_counted_and_what_cannot_succeed_is_tried_once() {
    let (_, faults, sink) = faulty(4);
    faults.fail_from(0, Fault::Before(UNAVAILABLE));
    let start = Instant::now();
    assert!(sink.stat(&key()).await.unwrap_err().is_retryable());
    assert_eq!(faults.calls(), 4);
    // Waits of one, two and four seconds, each lengthened by chance.
    assert!((3..30).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let (_, faults, sink) = faulty(4);
    faults.fail_from(0, Fault::Before(SinkErrorKind::PermissionDenied));
    assert!(!sink.list("a").await.unwrap_err().is_retryable());
    assert_eq!(faults.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_its_time_and_those_after_it_sooner_until_one_succeeds() {
    let (_, faults, sink) = faulty(100);
    faults.fail_from(0, Fault::Before(UNAVAILABLE));
    let start = Instant::now();
    let error = sink.stat(&key()).await.unwrap_err();
    assert!(
        error_chain(&error).contains("not done within 60 s; the last try"),
        "{}",
        error_chain(&error)
    );
    assert_eq!(start.elapsed().as_secs(), 60);
    let calls = faults.calls();
    assert!(sink.delete(&key()).await.is_err());
    assert_eq!((faults.calls(), start.elapsed().as_secs()), (calls + 1, 60));
    faults.fail_from(u64::MAX, Fault::Before(UNAVAILABLE));
    sink.put_new(&key(), "a".into()).await.unwrap();
    faults.fail_once(faults.calls(), Fault::Before(UNAVAILABLE));
    sink.stat(&key()).await.unwrap();
}

/// A sink that takes its time.
#[derive(Debug)]
struct Slow(MemorySink);

impl Slow {
    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[async_trait]
impl Sink for Slow {
    fn location(&self) -> String {
        self.0.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError> {
        self.wait().await;
        self.0.put_new(key, payload).await
    }

    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError> {
        self.wait().await;
        self.0.get(key, span).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError> {
        self.wait().await;
        self.0.stat(key).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError> {
        self.wait().await;
        self.0.list(folder).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError> {
        self.wait().await;
        self.0.delete(key).await
    }
}

/// What has a place among the calls at once and is not waited for is not to keep it from what is.
#[tokio::test(start_paused = true)]
async fn calls_get_on_while_nobody_waits_for_them() {
    use futures::StreamExt;
    let config = StreamConfig { concurrency: 2, ..StreamConfig::default() };
    let sink = RetrySink::new(Arc::new(Slow(MemorySink::new())), config);
    sink.put_new(&key(), "mine".into()).await.unwrap();
    let (key, whole) = (key(), || Span::Whole { limit: 9 });
    let reads = (0..20).map(|_| sink.get(&key, whole()));
    let mut reads = futures::stream::iter(reads).buffered(10);
    let all = async {
        while let Some(read) = reads.next().await {
            assert_eq!(read.unwrap(), "mine");
            sink.stat(&key).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
}
