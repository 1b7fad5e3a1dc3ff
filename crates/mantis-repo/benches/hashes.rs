//! What every page and every segment is hashed with, in bytes a second of one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mantis_repo::{ObjectHash, PageHasher};

const PAGE_LEN: usize = 4096;
/// As long as a segment.
const SEGMENT_LEN: usize = 8 << 20;

fn hashes(c: &mut Criterion) {
    let bytes: Vec<u8> = (0..SEGMENT_LEN).map(|at| ((at * 31) >> 3) as u8).collect();
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(PAGE_LEN as u64));
    let hasher = PageHasher::new([7; 32]);
    group.bench_function("a page of 4 KiB", |b| {
        b.iter(|| hasher.hash(black_box(&bytes[..PAGE_LEN])));
    });
    group.throughput(Throughput::Bytes(SEGMENT_LEN as u64));
    group.bench_function("a segment of 8 MiB", |b| {
        b.iter(|| ObjectHash::of([black_box(&bytes[..])]));
    });
    group.finish();
}

criterion_group!(benches, hashes);
criterion_main!(benches);
