//! One frame: compressed, checked by decompressing it again, sealed, summed; and opened again. Bytes are those of the chunk.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mantis_stream::{CodecRegistry, Compression, Seal, decode_frame, encode_frame};

/// As in a segment.
const CHUNK_LEN: usize = 256 << 10;

/// Like pages of a table: words, numbers, and a third that does not compress.
fn pages() -> Bytes {
    const WORDS: [&str; 8] =
        ["order", "customer", "pending", "shipped", "street", "2026-11-27", "null", "total"];
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let mut bytes = Vec::with_capacity(CHUNK_LEN + 64);
    while bytes.len() < CHUNK_LEN {
        match next() % 3 {
            0 => bytes.extend((0..4).flat_map(|_| next().to_le_bytes())),
            _ => (0..6).for_each(|_| {
                bytes.extend(WORDS[next() as usize % WORDS.len()].as_bytes());
            }),
        }
    }
    bytes.truncate(CHUNK_LEN);
    bytes.into()
}

fn frames(c: &mut Criterion) {
    let chunk = pages();
    let codecs = CodecRegistry::builtin();
    let mut group = c.benchmark_group("frame of 256 KiB");
    group.throughput(Throughput::Bytes(CHUNK_LEN as u64));
    for name in ["none", "lz4", "zstd:1", "zstd:3", "gzip"] {
        let Ok(compression) = name.parse::<Compression>() else { continue };
        for (kind, check) in [("encode", false), ("encode and check", true)] {
            group.bench_function(format!("{kind}, {name}"), |b| {
                b.iter(|| encode_frame(codecs, black_box(&chunk), compression, b"at", check, None));
            });
        }
        let Ok(frame) = encode_frame(codecs, &chunk, compression, b"at", true, None) else {
            continue;
        };
        let bytes = Bytes::from(frame.to_bytes());
        group.bench_function(format!("decode, {name}"), |b| {
            b.iter(|| decode_frame(codecs, black_box(&bytes), b"at", None));
        });
    }
    #[cfg(feature = "encryption")]
    if let Ok(cipher) = mantis_stream::Aes256Gcm::new(&[7; 32]) {
        let seal = || Some(Seal { cipher: &cipher, nonce: [1; 12] });
        group.bench_function("encode, none, sealed", |b| {
            b.iter(|| {
                encode_frame(codecs, black_box(&chunk), Compression::None, b"at", false, seal())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
