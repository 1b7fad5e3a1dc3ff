//! Every interleaving of writers, a reader and a release, by loom. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p mantis-cow --test loom --release`, or `cargo xtask loom`.
#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use mantis_cow::{DirtyPages, EpochTable, PageView};
use mantis_page::PageNo;

struct World {
    table: EpochTable<u32>,
    page: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { table: EpochTable::new(), page: AtomicU32::new(1) })
    }

    fn write(&self, value: u32) {
        self.table.save(0, || Ok::<_, ()>(self.page.load(Ordering::Relaxed))).unwrap();
        self.page.store(value, Ordering::Relaxed);
    }

    fn read(&self, epoch: mantis_cow::Epoch) -> u32 {
        match self.table.read(epoch, 0, || self.page.load(Ordering::Relaxed)) {
            PageView::Live(value) | PageView::Saved(value) => value,
        }
    }
}

#[test]
fn a_reader_sees_the_frozen_page_beside_a_writer() {
    loom::model(|| {
        let world = World::new();
        let epoch = world.table.open(1).unwrap();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.write(2);
                world.write(3);
            })
        };
        assert_eq!(world.read(epoch), 1);
        writer.join().unwrap();
        assert_eq!(world.read(epoch), 1);
        world.table.close(epoch);
        assert_eq!(world.table.images(), 0);
    });
}

#[test]
fn a_release_beside_a_writer_leaks_nothing_and_frees_nothing_needed() {
    loom::model(|| {
        let world = World::new();
        let older = world.table.open(1).unwrap();
        let newer = world.table.open(1).unwrap();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.write(2))
        };
        world.table.close(newer);
        assert_eq!(world.read(older), 1);
        writer.join().unwrap();
        assert_eq!(world.read(older), 1);
        world.table.close(older);
        assert_eq!(world.table.images(), 0);
    });
}

#[test]
fn what_is_read_no_more_is_not_saved_and_is_there_for_others() {
    loom::model(|| {
        let world = World::new();
        let older = world.table.open(1).unwrap();
        let newer = world.table.open(1).unwrap();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.write(2))
        };
        assert_eq!(world.read(newer), 1);
        world.table.release_before(newer, 1);
        assert_eq!(world.read(older), 1);
        writer.join().unwrap();
        assert_eq!(world.read(older), 1);
        world.table.release_before(older, 1);
        assert_eq!(world.table.images(), 0);
        world.write(3);
        assert_eq!(world.table.images(), 0);
        world.table.close(older);
        world.table.close(newer);
    });
}

#[test]
fn one_that_is_opened_while_another_is_closed_is_served() {
    loom::model(|| {
        let world = World::new();
        let older = world.table.open(1).unwrap();
        world.write(2);
        let closing = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.table.close(older))
        };
        // No write is under way while it is opened; the older one may or may not be gone.
        let newer = world.table.open(1).unwrap();
        world.write(3);
        assert_eq!(world.read(newer), 2);
        closing.join().unwrap();
        assert_eq!(world.read(newer), 2);
        assert_eq!(world.table.images(), 1);
        world.table.close(newer);
        assert_eq!(world.table.images(), 0);
        assert!(world.table.is_idle());
    });
}

#[test]
fn a_lost_image_is_never_served_as_a_page() {
    loom::model(|| {
        let world = World::new();
        let epoch = world.table.open(1).unwrap();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert!(world.table.save(0, || Err::<u32, _>(())).is_err());
                world.page.store(2, Ordering::Relaxed);
            })
        };
        let seen = world.read(epoch);
        assert!(seen == 1 || world.table.is_lost(epoch));
        writer.join().unwrap();
        world.table.close(epoch);
    });
}

#[test]
fn two_writers_of_one_page_save_one_image() {
    loom::model(|| {
        let world = World::new();
        let epoch = world.table.open(1).unwrap();
        // Two writers of one page exclude each other in any engine; their saves may still meet.
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.table.save(0, || Ok::<_, ()>(world.page.load(Ordering::Relaxed))).unwrap();
            })
        };
        world.table.save(0, || Ok::<_, ()>(world.page.load(Ordering::Relaxed))).unwrap();
        other.join().unwrap();
        assert_eq!(world.table.images(), 1);
        world.page.store(9, Ordering::Relaxed);
        assert_eq!(world.read(epoch), 1);
    });
}

#[test]
fn marks_beside_a_seal_are_in_it_or_in_the_next() {
    loom::model(|| {
        let dirty = Arc::new(DirtyPages::new());
        let page = |number| PageNo::new(number).unwrap();
        let token = dirty.commit(&dirty.seal());
        let writer = {
            let dirty = Arc::clone(&dirty);
            thread::spawn(move || {
                dirty.mark(page(1));
                dirty.mark(page(2));
                dirty.mark(page(1));
            })
        };
        let beside = dirty.seal();
        writer.join().unwrap();
        // There is no backup of the first: what it took counts again.
        dirty.abort(&beside);
        let sealed = dirty.seal();
        assert_eq!(sealed.since(&token).unwrap().len(), 2);
    });
}
