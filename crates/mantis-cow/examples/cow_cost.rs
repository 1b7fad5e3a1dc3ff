//! What copy-on-write costs a writer, by threads and overlapping snapshots; `cargo xtask bench cow` makes a table of it.
//!
//! Prints lines of words: threads, snapshots, then nanoseconds for a page that no snapshot needs and that was not known to have changed, the
//! same once that is known, a page that is saved already, and one that is
//! saved now, to memory and to the disk; at the end the memory of a saved page beyond its content, in bytes, and the nanoseconds of
//! writing a page's bytes alone.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to say")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mantis_cow::{CowFile, CowLimits, LiveFile};
use mantis_page::PageSize;

/// Pages of the file.
const PAGES: u64 = 1 << 17;
const PAGE: u64 = 4096;
/// Writes of pages that need no saving, by each thread.
const REPEATS: u64 = 4_000_000;
/// Pages that are saved, by all threads together, in bursts as of a checkpoint; between two the snapshot is read, as its backup does.
const FIRST: u64 = 32_768;
const BURST: u64 = 1024;
/// Pages that a thread of a burst takes at once.
const CHUNK: u64 = 16;

/// A file that is a buffer in memory: what is measured is the table, not a disk under the database.
struct Live;

impl LiveFile for Live {
    fn read_at(&self, _: u64, buf: &mut [u8]) -> std::io::Result<()> {
        buf.fill(black_box(0x5A));
        Ok(())
    }
}

fn cow(memory: u64) -> Arc<CowFile> {
    Arc::new(CowFile::new(PageSize::DEFAULT, CowLimits { memory, ..CowLimits::default() }))
}

/// Nanoseconds of one of `each` writes by each of some threads: what a thread takes for its own; where there are more threads than cores, what the
/// cores take for all of them.
fn timed(threads: u64, each: u64, write: impl Fn(u64, u64) + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    // Threads that begin together: to wake them takes longer than a burst.
    let waiting = AtomicU64::new(threads);
    let one = |thread: u64| {
        waiting.fetch_sub(1, Ordering::AcqRel);
        while waiting.load(Ordering::Acquire) > 0 {
            if threads > cores { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let began = Instant::now();
        (0..each).for_each(|n| write(thread, n));
        (began, Instant::now())
    };
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let one = &one;
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let seconds = if threads > cores {
        let began = times.iter().map(|(began, _)| *began).min().unwrap();
        let ended = times.iter().map(|(_, ended)| *ended).max().unwrap();
        ended.duration_since(began).as_secs_f64() * cores as f64
    } else {
        times.iter().map(|(began, ended)| ended.duration_since(*began).as_secs_f64()).sum()
    };
    seconds * 1e9 / (threads * each) as f64
}

fn first(threads: u64, snapshots: usize, memory: u64) -> f64 {
    let cow = cow(memory);
    let frozen: Vec<_> = (0..snapshots).map(|_| cow.freeze(PAGES * PAGE).unwrap()).collect();
    let bursts = FIRST / BURST;
    let burst = |number: u64| {
        frozen[0].read_at(&Live, 0, &mut [0; PAGE as usize]).unwrap();
        // Whoever has a core takes the next few pages: where there are more threads than cores, none is done before the others.
        let (next, end) = (AtomicU64::new(number * BURST), (number + 1) * BURST);
        let share = timed(threads, 1, |_, _| {
            loop {
                let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                if first >= end {
                    break;
                }
                (first..first + CHUNK).for_each(|page| cow.before_write(&Live, page * PAGE, PAGE));
            }
        });
        share * threads as f64 / BURST as f64
    };
    (0..bursts).map(burst).sum::<f64>() / bursts as f64
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Bytes of memory of a saved page beyond its content.
fn beyond() -> u64 {
    let cow = cow(u64::MAX);
    let _frozen = cow.freeze(PAGES * PAGE).unwrap();
    let before = resident();
    (0..PAGES).for_each(|page| cow.before_write(&Live, page * PAGE, PAGE));
    (resident().saturating_sub(before) / PAGES).saturating_sub(PAGE)
}

/// Nanoseconds of writing a page's bytes into memory that was made ready, by one thread: what the machine takes of every first write.
fn copy() -> f64 {
    let mut ready: Vec<_> = (0..BURST).map(|_| vec![0xA5; PAGE as usize]).collect();
    let bursts = FIRST / BURST;
    let burst = |_| {
        // As before each burst of first writes, memory was written since.
        drop((0..BURST).map(|_| vec![0xA5; PAGE as usize]).collect::<Vec<_>>());
        let began = Instant::now();
        ready.iter_mut().for_each(|buffer| Live.read_at(0, buffer).unwrap());
        began.elapsed().as_secs_f64() * 1e9 / BURST as f64
    };
    (0..bursts).map(burst).sum::<f64>() / bursts as f64
}

fn main() {
    // First of all: later, memory that was used before is used again.
    let beyond = beyond();
    for threads in [1, 2, 4, 8, 16] {
        for snapshots in [1, 2, 3] {
            let cow = cow(u64::MAX);
            let each = PAGES / threads;
            let marked = timed(threads, each, |thread, n| {
                cow.before_write(&Live, (thread * each + n) * PAGE, PAGE);
            });
            let none =
                timed(threads, REPEATS, |_, n| cow.before_write(&Live, n % PAGES * PAGE, PAGE));
            let frozen: Vec<_> =
                (0..snapshots).map(|_| cow.freeze(PAGES * PAGE).unwrap()).collect();
            // Few pages, so that what is measured is the table and no cache miss.
            (0..256).for_each(|page| cow.before_write(&Live, page * PAGE, PAGE));
            let repeat = timed(threads, REPEATS, |thread, n| {
                cow.before_write(&Live, (thread * 16 + n % 16) * PAGE, PAGE);
            });
            drop(frozen);
            let (memory, spill) =
                (first(threads, snapshots, u64::MAX), first(threads, snapshots, 0));
            println!(
                "{threads} {snapshots} {marked:.2} {none:.2} {repeat:.2} {memory:.0} {spill:.0}"
            );
        }
    }
    println!("{beyond} {:.0}", copy());
}
