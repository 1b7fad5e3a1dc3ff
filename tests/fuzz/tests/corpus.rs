//! Every target, over the corpus and a fixed number of mutations of it: what `cargo xtask fuzz` does with coverage to lead it, and longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1500;
/// The longest input.
const MAX_LEN: usize = 1 << 14;

/// A splitmix64 generator: small, and the same for ever.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Another input made of one or two.
fn mutated(chance: &mut Chance, inputs: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = inputs[chance.below(inputs.len())].1.clone();
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(9)).min(bytes.len());
        match chance.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][chance.below(5)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let other = &inputs[chance.below(inputs.len())].1;
                let from = chance.below(other.len() + 1);
                let to = (from + chance.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let new: Vec<u8> = (0..chance.below(9)).map(|_| chance.next() as u8).collect();
                bytes.splice(at..end, new);
            }
        }
    }
    bytes.truncate(MAX_LEN);
    bytes
}

fn feed(target: &str, bytes: &[u8], what: &str) {
    let ran = std::panic::catch_unwind(|| mantis_fuzz::run(target, bytes));
    if ran.is_err() {
        let file = std::env::temp_dir().join(format!("mantis-fuzz-{target}"));
        std::fs::write(&file, bytes).unwrap();
        panic!("{target}, {what}: the input is in {}", file.display());
    }
}

#[test]
fn every_target_bears_its_corpus_and_mutations_of_it() {
    std::thread::scope(|scope| {
        for (target, _) in mantis_fuzz::TARGETS {
            scope.spawn(move || {
                let inputs = corpus(target);
                assert!(!inputs.is_empty(), "{target} has no corpus");
                for (path, bytes) in &inputs {
                    feed(target, bytes, &path.display().to_string());
                }
                let mut chance = Chance(target.len() as u64);
                for n in 0..MUTATIONS {
                    feed(target, &mutated(&mut chance, &inputs), &format!("mutation {n}"));
                }
            });
        }
    });
}
