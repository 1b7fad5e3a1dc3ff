//! What a writer pays: with no snapshot, for a page saved before, and for a first write.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mantis_cow::{CowFile, CowLimits, LiveFile};
use mantis_page::PageSize;

const PAGES: u64 = 16_384;

/// A file that is a buffer in memory: what is measured is the table, not the disk.
struct Zeros;

impl LiveFile for Zeros {
    fn read_at(&self, _: u64, buf: &mut [u8]) -> std::io::Result<()> {
        buf.fill(black_box(0x5A));
        Ok(())
    }
}

fn cow(memory: u64) -> Arc<CowFile> {
    Arc::new(CowFile::new(PageSize::DEFAULT, CowLimits { memory, ..CowLimits::default() }))
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    let idle = mantis_cow::EpochTable::<u32>::new();
    group.bench_function("no snapshot", |b| b.iter(|| idle.save(black_box(7), || Ok::<_, ()>(1))));
    let busy = mantis_cow::EpochTable::<u32>::new();
    let epoch = busy.open(PAGES);
    let _ = busy.save(7, || Ok::<_, ()>(1));
    group.bench_function("repeat write", |b| b.iter(|| busy.save(black_box(7), || Ok::<_, ()>(1))));
    drop(epoch);
    group.finish();
}

fn first_writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("first write of 1,024 pages");
    for (name, memory) in [("memory", u64::MAX), ("spill", 0)] {
        for snapshots in [1, 3] {
            let cow = cow(memory);
            group.bench_function(format!("{name}, {snapshots} snapshots"), |b| {
                b.iter_batched(
                    || (0..snapshots).map(|_| cow.freeze(PAGES * 4096)).collect::<Vec<_>>(),
                    |frozen| {
                        for page in 0..1024 {
                            cow.before_write(&Zeros, page * 4096, 4096);
                        }
                        frozen
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, table, first_writes);
criterion_main!(benches);
