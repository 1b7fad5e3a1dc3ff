//! Every target, over the corpus and a fixed number of mutations of it: what `cargo xtask fuzz` does with coverage to lead it, and longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use mantis_sink::Chance;

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1500;
/// The longest input.
const MAX_LEN: usize = 1 << 14;

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
    let mut bytes = inputs[chance.index(inputs.len())].1.clone();
    for _ in 0..1 + chance.index(6) {
        let at = chance.index(bytes.len() + 1);
        let end = (at + chance.index(9)).min(bytes.len());
        match chance.index(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.index(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][chance.index(5)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let other = &inputs[chance.index(inputs.len())].1;
                let from = chance.index(other.len() + 1);
                let to = (from + chance.index(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let new: Vec<u8> = (0..chance.index(9)).map(|_| chance.next() as u8).collect();
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
                let mut chance = Chance::new(target.len() as u64);
                for n in 0..MUTATIONS {
                    feed(target, &mutated(&mut chance, &inputs), &format!("mutation {n}"));
                }
            });
        }
    });
}
