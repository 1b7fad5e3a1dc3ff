//! The suite over a store of one's own: `cargo xtask integration s3 --url …`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mantis_sink::{ObjectKey, conformance, open_url, probe};

#[test]
#[ignore = "needs a store: cargo xtask integration s3 --url …"]
fn passes_the_suite() {
    let url = std::env::var("MANTIS_TEST_STORE").unwrap();
    let (place, options) = url.split_once('?').unwrap_or((&url, ""));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let place = place.trim_end_matches('/');
    let sink = open_url(&format!("{place}/mantis-test-{now}?{options}")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let report = probe(&*sink, 1, true).await;
        for step in &report.steps {
            eprintln!("{}: {:?}", step.name, step.found);
        }
        assert!(report.faults().next().is_none());
        conformance::check_sink(Arc::clone(&sink)).await;
        let listed = sink.list("").await.unwrap();
        let keys: Vec<ObjectKey> = listed.into_iter().map(|object| object.key).collect();
        sink.delete_many(&keys).await.unwrap();
        assert!(sink.list("").await.unwrap_or_default().is_empty());
    });
}
