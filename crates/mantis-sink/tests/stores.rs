//! The conformance suite on a real store, named by `MANTIS_TEST_STORE`: `cargo xtask integration` starts servers and
//! runs this over each, or over a bucket of your own.

#![cfg(all(feature = "testing", feature = "http"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mantis_sink::{Sink, conformance, open_url};

/// The store with a prefix that nobody else uses, and another address of it with further options.
fn fresh(name: &str, options: &str) -> Arc<dyn Sink> {
    let url = std::env::var("MANTIS_TEST_STORE").unwrap();
    let (place, given) = url.split_once('?').unwrap_or((&url, ""));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let place = place.trim_end_matches('/');
    open_url(&format!("{place}/mantis-test-{name}-{now}?{given}&{options}")).unwrap()
}

async fn remove_all(sink: &dyn Sink) {
    let keys: Vec<_> = sink.list("").await.unwrap().into_iter().map(|object| object.key).collect();
    sink.delete_many(&keys).await.unwrap();
    assert!(sink.list("").await.unwrap_or_default().is_empty());
}

#[tokio::test]
#[ignore = "needs a store: cargo xtask integration"]
async fn passes_the_conformance_suite() {
    let sink = fresh("conformance", "");
    conformance::check_sink(Arc::clone(&sink)).await;
    remove_all(&*sink).await;
}
