//! Verification of a store over a network: much at once, and the same is found as on a disk.

use std::sync::Arc;

use mantis_repo::{Reach, Repository, VerifyOptions, VerifyReport};
use mantis_sink::{Call, Capabilities, FaultSink, MemorySink, RecordingSink, Sink};

use crate::world::{content, in_memory, incremental, meta, touch};

/// The store as if it were far away, or as it is.
async fn open(memory: &MemorySink, remote: bool) -> (RecordingSink, Repository) {
    let faults = FaultSink::new(Arc::new(memory.clone()));
    faults.promise(Capabilities { remote, ..memory.capabilities() });
    let sink = RecordingSink::new(Arc::new(faults));
    let repo = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
    let _ = sink.take();
    (sink, repo)
}

async fn verify(repo: &Repository, reach: Reach) -> VerifyReport {
    let options = VerifyOptions { reach, jobs: 1, ..VerifyOptions::default() };
    repo.verify(&[], &options).await.unwrap()
}

/// Looks for segments, whether by name or by list.
fn looks(calls: &[Call]) -> usize {
    let of_segments = |call: &&Call| match call {
        Call::Stat(key) => key.as_str().starts_with("seg/"),
        Call::List(folder) => folder.starts_with("seg/"),
        _ => false,
    };
    calls.iter().filter(of_segments).count()
}

#[test]
fn the_same_is_found_far_away_and_a_segment_is_looked_for_once() {
    let (runtime, memory, repo) = in_memory();
    runtime.block_on(async {
        for entropy in 2..32u8 {
            let mut bytes = content(1, 40);
            touch(&mut bytes, u64::from(entropy) % 40, entropy);
            let source = ["a", "b", "c"][usize::from(entropy) % 3];
            let meta = meta(source, entropy.into(), &bytes);
            incremental(&repo, entropy, meta, &bytes, None).await.unwrap();
        }
        let segments = memory.list("seg").await.unwrap();
        for remote in [false, true] {
            let (sink, repo) = open(&memory, remote).await;
            let whole = verify(&repo, Reach::Everything).await;
            assert_eq!((whole.checked.len(), whole.damaged.len()), (30, 0));
            // Where backups are checked at once, some look for the same one at once.
            let looks = looks(&sink.take());
            assert!(remote || looks <= segments.len(), "{looks} of {}", segments.len());
        }
        // One is damaged, one is cut, one is gone.
        for (object, len) in segments.iter().step_by(9).zip([usize::MAX, 40, 0]) {
            let span = mantis_sink::Span::Whole { limit: object.len };
            let mut bytes = memory.get(&object.key, span).await.unwrap().to_vec();
            if len == 0 {
                memory.delete(&object.key).await.unwrap();
                continue;
            }
            bytes.truncate(len);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            memory.replace(&object.key, bytes.into());
        }
        for reach in [Reach::Everything, Reach::Metadata] {
            let (_, near) = open(&memory, false).await;
            let (_, far) = open(&memory, true).await;
            let found = verify(&near, reach).await;
            assert!(!found.damaged.is_empty());
            assert_eq!(found, verify(&far, reach).await);
        }
    });
}
