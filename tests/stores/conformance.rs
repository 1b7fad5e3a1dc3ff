//! One and the same suite over every store.

use std::sync::Arc;

use mantis_sink::{LocalSink, MemorySink, Sink, conformance, open_url, probe};
use mantis_tests::servers::{Kind, Server};
use tokio::runtime::Runtime;

fn check(sink: &Arc<dyn Sink>, exclusive: bool) {
    Runtime::new().unwrap().block_on(async {
        let report = probe(&**sink, 1, true).await;
        assert!(report.is_usable(), "{report:?}");
        if exclusive {
            // One that is not shows it in most races, not in all.
            assert!(report.faults().next().is_none(), "{report:?}");
            conformance::check_sink(Arc::clone(sink)).await;
        } else {
            conformance::check_sink_without_races(Arc::clone(sink)).await;
        }
    });
}

fn check_server(kind: Kind) {
    let server = Server::start(kind);
    check(&open_url(&server.url("some/prefix")).unwrap(), server.is_exclusive());
    // Without a prefix, and beside what is there.
    let all = open_url(&server.url("")).unwrap();
    let listed = Runtime::new().unwrap().block_on(all.list("some")).unwrap();
    assert!(listed.iter().all(|object| object.key.as_str().starts_with("some/prefix/")));
    assert!(!listed.is_empty());
}

#[test]
#[ignore = "cargo xtask integration"]
fn s3_by_moto() {
    check_server(Kind::Moto);
}

#[test]
#[ignore = "cargo xtask integration"]
fn s3_by_s3s() {
    check_server(Kind::S3s);
}

#[test]
#[ignore = "cargo xtask integration"]
fn azure_by_azurite() {
    check_server(Kind::Azurite);
}

#[test]
#[ignore = "cargo xtask integration"]
fn webdav_by_wsgidav() {
    check_server(Kind::WsgiDav);
}

#[test]
#[ignore = "cargo xtask integration"]
fn gcs_by_a_server_of_our_own() {
    check_server(Kind::OwnGcs);
}

#[test]
#[ignore = "cargo xtask integration"]
fn sftp_by_openssh() {
    check_server(Kind::Sshd);
}

#[test]
#[ignore = "cargo xtask integration"]
fn a_folder_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let local: Arc<dyn Sink> = Arc::new(LocalSink::new(folder.path().join("store")));
    check(&local, true);
    let memory: Arc<dyn Sink> = Arc::new(MemorySink::new());
    check(&memory, true);
}
