//! Small backups that end while another one sends its segment: in which segments their pages are, and that nothing takes them away.

use mantis_sink::{Capabilities, Fault, MemorySink, Sink, SinkErrorKind, Span};
use proptest::prelude::*;

use super::world::{SIZE, Source, new_world, restored, source, sources, touch};
use super::*;
use crate::{
    BackupInfo, CompactOptions, Copier, CopyOptions, RepairOptions, Repository, UnixMillis,
    VerifyOptions,
};

#[tokio::test]
async fn those_that_end_while_one_sends_share_a_segment() {
    let mut world = new_world().await;
    let sources = sources(12);
    let made = world.backup(&sources).await;
    assert_eq!(world.segments().await, 2, "the first one's, and one of all others");
    let stored: u64 = made.iter().map(|info| info.bytes_stored).sum();
    let objects = world.store.list(Place::SEGMENTS).await.unwrap();
    assert_eq!(stored, objects.iter().map(|object| object.len).sum::<u64>());
    let reopened = Repository::open(Arc::new(world.sink.clone()), None).await.unwrap();
    world.repo = reopened;
    world.check(&sources, &made).await;
    // One that is alone has its own.
    let alone = [source(99, 3)];
    let made = world.backup(&alone).await;
    assert_eq!(world.segments().await, 3);
    let manifest = world.repo.manifest(&made[0]).await.unwrap();
    assert!(manifest.layers.iter().all(|layer| !layer.shared));
    world.check(&alone, &made).await;
}

/// The clock stands still while anybody has something to do.
#[tokio::test(start_paused = true)]
async fn over_a_network_one_waits_for_those_that_are_under_way() {
    let mut world = new_world().await;
    let remote = Capabilities { remote: true, ..world.sink.capabilities() };
    world.sink.promise(remote);
    let sources = sources(6);
    let mut writers = Vec::new();
    for source in &sources {
        writers.push(world.writer(source).await);
    }
    let store = writers.into_iter().map(|mut writer| async move {
        writer.flush().await.unwrap();
        writer.commit(1, None).await.unwrap()
    });
    let made = futures::future::join_all(store).await;
    assert_eq!(world.segments().await, 1);
    world.check(&sources, &made).await;
    let began = tokio::time::Instant::now();
    world.backup(&[source(50, 2)]).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody else was under way");
}

/// Empty tables of a database have pages alike.
#[tokio::test]
async fn pages_that_are_alike_are_in_what_is_shared_once() {
    let mut world = new_world().await;
    let mut sources = sources(4);
    for source in &mut sources {
        source.bytes = [1, 2, 3, 2, 3, 1, 4].map(|with| [with; SIZE.bytes()]).concat();
        touch(source, 6, source.name.as_bytes()[7]);
    }
    let made = world.backup(&sources).await;
    assert_eq!(world.segments().await, 2);
    let manifest = world.repo.manifest(&made[2]).await.unwrap();
    assert_eq!(manifest.layers[0].borrows.iter().map(|run| run.pages).sum::<u64>(), 4);
    assert!(manifest.layers[0].shared && !manifest.layers[1].shared);
    world.check(&sources, &made).await;
}

#[cfg(feature = "encryption")]
#[tokio::test]
async fn what_is_shared_is_sealed() {
    let lock = crate::KeyLock::Password(crate::Password::new("secret".into()));
    let mut world =
        super::world::world_with(Some(crate::NewKey { lock, label: String::new() })).await;
    let sources = sources(6);
    let made = world.backup(&sources).await;
    assert_eq!(world.segments().await, 2);
    world.check(&sources, &made).await;
}

#[tokio::test]
async fn what_others_share_is_freed_with_the_last_of_them() {
    let mut world = new_world().await;
    let sources = sources(4);
    let made = world.backup(&sources).await;
    // The second one's session wrote the segment of the last three.
    world.forget(&[&made[0], &made[1]]).await;
    world.prune().await;
    assert_eq!(world.segments().await, 1);
    world.check(&sources[2..], &made[2..]).await;
    world.forget(&[&made[2]]).await;
    world.prune().await;
    world.check(&sources[3..], &made[3..]).await;
    world.forget(&[&made[3]]).await;
    world.prune().await;
    assert_eq!(world.segments().await, 0);
}

#[tokio::test]
async fn one_that_is_given_up_takes_nothing_of_the_others_away() {
    let mut world = new_world().await;
    let sources = sources(4);
    let mut flushed = world.flush(&sources).await;
    let (leader, stored) = flushed.remove(1);
    stored.unwrap();
    leader.abandon().await;
    // None of those that are under way is given up.
    world.prune_with(1 << 50).await;
    let mut made = Vec::new();
    for (writer, flushed) in flushed {
        flushed.unwrap();
        made.push(writer.commit(1, None).await.unwrap());
    }
    let [first, _, third, fourth] = <[Source; 4]>::try_from(sources).ok().unwrap();
    world.prune().await;
    world.check(&[first, third, fourth], &made).await;
    world.forget(&made.iter().collect::<Vec<_>>()).await;
    world.prune().await;
    assert_eq!(world.segments().await, 0, "what is left of it is freed");
}

#[tokio::test]
async fn where_it_cannot_be_sent_each_of_the_others_sends_its_own() {
    let mut world = new_world().await;
    let sources = sources(4);
    let planned = world.sink.clone();
    // The sessions' announcements and looks come first, then the first one's segment.
    let probe = {
        let mut writers = Vec::new();
        let mut other = new_world().await;
        let before = other.sink.calls();
        for source in &sources {
            writers.push(other.writer(source).await);
        }
        other.sink.calls() - before
    };
    let failing = planned.calls() + probe + 1;
    planned.fail_once(failing, Fault::Before(SinkErrorKind::PermissionDenied));
    let mut flushed = world.flush(&sources).await;
    let (leader, failed) = flushed.remove(1);
    assert!(failed.is_err(), "it sent them");
    leader.abandon().await;
    let mut made = Vec::new();
    for (writer, flushed) in flushed {
        flushed.unwrap();
        made.push(writer.commit(1, None).await.unwrap());
    }
    let [first, _, third, fourth] = <[Source; 4]>::try_from(sources).ok().unwrap();
    world.check(&[first, third, fourth], &made).await;
    assert_eq!(world.segments().await, 3);
}

#[tokio::test]
async fn those_that_are_cancelled_while_they_wait_are_left_out() {
    let mut world = new_world().await;
    let sources = sources(3);
    let mut running = world.start(&sources).await;
    running.remove(1).abort();
    while !world.repo.together().segments.queue().waiting[0].place.is_closed() {
        tokio::task::yield_now().await;
    }
    world.sink.go_on();
    let mut made = Vec::new();
    for one in running {
        let (writer, flushed) = one.await.unwrap();
        flushed.unwrap();
        made.push(writer.commit(1, None).await.unwrap());
    }
    assert!(world.repo.together().segments.queue().waiting.is_empty());
    assert_eq!(world.segments().await, 2, "the last one was alone");
    let [first, _, third] = <[Source; 3]>::try_from(sources).ok().unwrap();
    world.check(&[first, third], &made).await;
}

#[tokio::test]
async fn backups_are_built_on_what_is_shared_and_layers_of_it_go_together() {
    let mut world = new_world().await;
    let mut sources = sources(5);
    let mut made = vec![world.backup(&sources).await];
    for round in 0..6 {
        for source in &mut sources {
            touch(source, 0, 200 + round);
        }
        let next = world.backup(&sources).await;
        assert!(next.iter().all(|info| info.parent.is_some() && info.pages_changed == 1));
        world.check(&sources, &next).await;
        made.push(next);
    }
    assert_eq!(world.segments().await, 2 * 7);
    let gone: Vec<&BackupInfo> = made[..6].iter().flatten().collect();
    world.forget(&gone).await;
    let options = CompactOptions {
        max_unused: 0.0,
        dry_run: false,
        owner: "test".into(),
        cancel: CancellationToken::new(),
    };
    let report = world.repo.compact(&options, [250; 32], UnixMillis(250)).await.unwrap();
    assert_eq!(report.merges, 5, "each source's stack");
    world.prune().await;
    let left = world.repo.catalogue().await.unwrap().backups;
    let left: Vec<BackupInfo> = sources
        .iter()
        .map(|source| left.iter().find(|info| info.meta.source == source.name).unwrap().clone())
        .collect();
    for info in &left {
        assert_eq!(world.repo.manifest(info).await.unwrap().layers.len(), 1);
    }
    world.check(&sources, &left).await;
    assert_eq!(world.segments().await, 5);
}

#[tokio::test]
async fn a_replica_has_what_is_shared_once() {
    let mut world = new_world().await;
    let sources = sources(5);
    let made = world.backup(&sources).await;
    let replica = MemorySink::new();
    let options = CopyOptions { owner: "test".into(), ..CopyOptions::default() };
    let sink = Arc::new(replica.clone());
    let mut copier = Copier::begin(&world.repo, sink, options, [77; 32], |_| false).await.unwrap();
    for info in &made {
        assert!(copier.copy(info).await.unwrap());
    }
    world.repo = copier.replica().clone();
    copier.end().await;
    assert_eq!(replica.list(Place::SEGMENTS).await.unwrap().len(), 2);
    let copies = world.repo.catalogue().await.unwrap().backups;
    let copies: Vec<BackupInfo> = made
        .iter()
        .map(|info| copies.iter().find(|copy| copy.id == info.id).unwrap().clone())
        .collect();
    world.check(&sources, &copies).await;
}

#[tokio::test]
async fn what_is_shared_is_made_anew_from_pages_elsewhere() {
    let mut world = new_world().await;
    let mut sources = sources(5);
    let first = world.backup(&sources).await;
    for source in &mut sources {
        source.name = format!("same-as-{}", source.name);
    }
    let made = world.backup(&sources).await;
    let shared = world.repo.manifest(&made[3]).await.unwrap().layers[0].segments[0].clone();
    let key = Place::Segment(shared.session, shared.hash).key().unwrap();
    let span = Span::Whole { limit: shared.len };
    let mut bytes = world.store.get(&key, span).await.unwrap().to_vec();
    let within = bytes.len() / 3;
    bytes[within] ^= 1;
    world.store.replace(&key, bytes.into());
    let damaged = world.repo.verify(&[], &VerifyOptions::default()).await.unwrap().damaged;
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].backups.len(), 4, "all that share it are told of");
    let options =
        RepairOptions { dry_run: false, owner: "test".into(), cancel: CancellationToken::new() };
    world.repo.repair(&options, [251; 32], UnixMillis(251)).await.unwrap();
    let there = world.repo.catalogue().await.unwrap().backups;
    let newest = |id| there.iter().find(|info| info.id == id).unwrap().clone();
    let made: Vec<BackupInfo> = made.iter().map(|info| newest(info.id)).collect();
    world.check(&sources, &made).await;
    assert_eq!(restored(&world.repo, &first[3]).await, sources[3].bytes);
}

#[test]
fn pages_of_zeros_and_many_runs_are_not_shared() {
    let range = |first| PageRange::new(PageNo::new(first).unwrap(), 1).unwrap();
    let few = Digest { data: vec![range(3)], bytes: vec![1; 512].into(), ..Digest::default() };
    assert!(may_share(&few));
    assert!(!may_share(&Digest::default()), "nothing is to be stored");
    assert!(!may_share(&Digest { zero: vec![range(9)], ..few.clone() }));
    let many = (0..=INLINE_BORROWS as u64).map(|at| range(1 + 2 * at)).collect();
    assert!(!may_share(&Digest { data: many, ..few.clone() }));
    assert!(!may_share(&Digest { bytes: vec![1; FRAME_LEN + 1].into(), ..few }));
}

proptest! {
    /// A layer says of each page where it is, in their order and without a gap.
    #[test]
    fn each_page_has_its_place(
        runs in prop::collection::vec((1u64..9, 1u64..9), 1..INLINE_BORROWS),
        from in 1u64..1000,
    ) {
        let (mut due, mut pages) = (1, Vec::new());
        for (gap, len) in runs {
            pages.push(PageRange::new(PageNo::new(due + gap).unwrap(), len).unwrap());
            due += gap + len;
        }
        let segment = crate::manifest::tests::whole().layers[0].segments[0].clone();
        let layer = SharedPlace { segment, from, bytes: 1 }.layer(&pages);
        let borrowed = layer.borrows.iter().flat_map(|run| (0..run.pages).map(move |at| (run.first + at, run.from + at)));
        let stored = pages.iter().flat_map(|range| range.pages()).map(PageNo::get).zip(from..);
        prop_assert!(borrowed.eq(stored));
    }
}
