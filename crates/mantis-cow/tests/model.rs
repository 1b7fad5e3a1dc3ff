//! Random histories of writes, truncations, freezes, reads and releases against a naive model that
//! keeps a whole copy of the file for each snapshot; and threads that do the same at once.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mantis_cow::{CowFile, CowLimits, EpochTable, FrozenFile, LiveFile, MAX_PAGES, Saved};
use mantis_page::PageSize;
use proptest::prelude::*;

#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

impl LiveFile for Memory {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = self.0.lock().unwrap();
        for (at, byte) in buf.iter_mut().enumerate() {
            *byte = file.get(offset as usize + at).copied().unwrap_or(0);
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { offset: usize, len: usize, byte: u8 },
    Truncate(usize),
    Freeze,
    Release(usize),
    Read { snapshot: usize, offset: usize, len: usize },
    Done { snapshot: usize, offset: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..5000, 1usize..1500, any::<u8>()).prop_map(|(offset, len, byte)| Step::Write { offset, len, byte }),
        1 => (0usize..6000).prop_map(Step::Truncate),
        2 => Just(Step::Freeze),
        1 => (0usize..4).prop_map(Step::Release),
        4 => (0usize..4, 0usize..6000, 1usize..3000).prop_map(|(snapshot, offset, len)| Step::Read { snapshot, offset, len }),
        2 => (0usize..4, 0usize..6000).prop_map(|(snapshot, offset)| Step::Done { snapshot, offset }),
    ]
}

proptest! {
    #[test]
    fn every_snapshot_reads_as_a_whole_copy_would(
        steps in prop::collection::vec(step(), 1..120),
        memory in prop_oneof![Just(0u64), Just(2048), Just(u64::MAX)],
    ) {
        let live = Memory(Mutex::new(vec![7; 4000]));
        let cow = Arc::new(CowFile::new(PageSize::MIN, CowLimits { memory, ..CowLimits::default() }));
        // Each with a whole copy, and up to where it was released.
        let mut snapshots: Vec<(FrozenFile, Vec<u8>, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Write { offset, len, byte } => {
                    let _gate = cow.write_gate();
                    cow.before_write(&live, offset as u64, len as u64);
                    let mut file = live.0.lock().unwrap();
                    if file.len() < offset + len {
                        file.resize(offset + len, 0);
                    }
                    file[offset..offset + len].fill(byte);
                }
                Step::Truncate(len) => {
                    let old = live.0.lock().unwrap().len();
                    if len < old {
                        cow.before_truncate(&live, len as u64, old as u64);
                        live.0.lock().unwrap().truncate(len);
                    }
                }
                Step::Freeze if snapshots.len() < 4 => {
                    let copy = live.0.lock().unwrap().clone();
                    snapshots.push((cow.freeze(copy.len() as u64).unwrap(), copy, 0));
                }
                Step::Freeze => {}
                Step::Release(at) => {
                    if at < snapshots.len() {
                        snapshots.swap_remove(at);
                    }
                }
                Step::Read { snapshot, offset, len } => {
                    if let Some((frozen, copy, released)) = snapshots.get(snapshot) {
                        let mut out = vec![0xEE; len];
                        match frozen.read_at(&live, offset as u64, &mut out) {
                            Ok(()) => {
                                prop_assert!(offset >= *released);
                                prop_assert_eq!(&out[..], &copy[offset..offset + len]);
                            }
                            Err(_) => prop_assert!(offset + len > copy.len() || offset < *released),
                        }
                    }
                }
                Step::Done { snapshot, offset } => {
                    if let Some((frozen, copy, released)) = snapshots.get_mut(snapshot) {
                        frozen.release_before(offset as u64);
                        *released = (*released).max(offset.min(copy.len()) / 512 * 512);
                    }
                }
            }
        }
        for (frozen, copy, released) in &snapshots {
            let mut out = vec![0; copy.len() - released];
            frozen.read_at(&live, *released as u64, &mut out).unwrap();
            prop_assert_eq!(&out[..], &copy[*released..]);
        }
        // What nobody reads any more takes no place.
        for (frozen, copy, _) in &snapshots {
            frozen.release_before(copy.len() as u64);
        }
        let last_blocks = snapshots.iter().filter(|(_, copy, _)| copy.len() % 512 != 0).count();
        prop_assert!(cow.stats().images <= last_blocks as u64);
        drop(snapshots);
        prop_assert_eq!(cow.stats().images, 0);
    }
}

/// A file of 8-byte counters; each write sets a whole block to one number.
struct Counters(Vec<AtomicU64>);

impl LiveFile for Counters {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        for (at, word) in buf.chunks_exact_mut(8).enumerate() {
            let value = self.0[offset as usize / 8 + at].load(Ordering::Relaxed);
            word.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }
}

#[test]
fn overlapping_snapshots_under_racing_writers_are_moments() {
    const BLOCKS: usize = 64;
    const WORDS: usize = 64;
    let live = Arc::new(Counters((0..BLOCKS * WORDS).map(|_| AtomicU64::new(0)).collect()));
    let limits = CowLimits { memory: 8 * 512, ..CowLimits::default() };
    let cow = Arc::new(CowFile::new(PageSize::MIN, limits));
    let stop = Arc::new(AtomicBool::new(false));
    // Writer w owns the blocks that are w modulo 2 and writes one round after another, in order.
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (live, cow, stop) = (Arc::clone(&live), Arc::clone(&cow), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    for block in (writer..BLOCKS).step_by(2) {
                        let _gate = cow.write_gate();
                        cow.before_write(&*live, (block * 512) as u64, 512);
                        for word in &live.0[block * WORDS..(block + 1) * WORDS] {
                            word.store(round, Ordering::Relaxed);
                        }
                    }
                }
            })
        })
        .collect();
    for turn in 0..300 {
        let first = cow.freeze((BLOCKS * 512) as u64).unwrap();
        let second = (turn % 2 == 0).then(|| cow.freeze((BLOCKS * 512) as u64).unwrap());
        for frozen in [Some(&first), second.as_ref()].into_iter().flatten() {
            let mut bytes = vec![0; BLOCKS * 512];
            frozen.read_at(&*live, 0, &mut bytes).unwrap();
            let mut again = vec![0; BLOCKS * 512];
            frozen.read_at(&*live, 0, &mut again).unwrap();
            assert_eq!(bytes, again, "a snapshot reads the same for ever");
            let value = |block: usize| {
                u64::from_le_bytes(bytes[block * 512..block * 512 + 8].try_into().unwrap())
            };
            for block in 0..BLOCKS {
                let words = bytes[block * 512..(block + 1) * 512].chunks_exact(8);
                assert!(
                    words.clone().all(|word| word == words.clone().next().unwrap()),
                    "torn block"
                );
                // One writer's blocks: those before its position are at most one round ahead.
                if block >= 2 {
                    let (before, here) = (value(block - 2), value(block));
                    assert!(
                        before == here || before == here + 1,
                        "{before} then {here}: not one moment"
                    );
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(cow.stats().images, 0);
}

#[test]
fn a_full_spill_loses_the_snapshot_not_the_write() {
    let live = Memory(Mutex::new(vec![1; 4096]));
    let cow = Arc::new(CowFile::new(
        PageSize::MIN,
        CowLimits { memory: 512, spill: 512, spill_folder: None },
    ));
    let frozen = cow.freeze(4096).unwrap();
    for block in 0..8 {
        cow.before_write(&live, block * 512, 512);
    }
    assert!(frozen.is_lost());
    assert!(frozen.read_at(&live, 0, &mut [0; 16]).is_err());
    drop(frozen);
    assert_eq!(cow.stats().images, 0);
    let next = cow.freeze(4096).unwrap();
    assert!(!next.is_lost());
}

#[test]
fn epochs_at_the_edges() {
    let table: EpochTable<u8> = EpochTable::new();
    assert!(matches!(
        table.open(MAX_PAGES + 1),
        Err(mantis_cow::CowError::TooManyPages { pages, .. }) if pages == MAX_PAGES + 1
    ));
    let epoch = table.open(MAX_PAGES).unwrap();
    // A page that no table can hold is in no snapshot.
    assert_eq!(table.save(MAX_PAGES, || Ok::<_, ()>(1)), Ok(Saved::NotNeeded));
    assert_eq!(table.saved(epoch, MAX_PAGES), None);
    table.mark_lost(epoch);
    assert!(table.is_lost(epoch));
    table.close(epoch);
    // Closing twice does nothing, and what is closed counts as lost.
    table.close(epoch);
    table.mark_lost(epoch);
    assert!(table.is_lost(epoch) && table.is_idle() && table.images() == 0);
}
