//! Every target in one program: `MANTIS_FUZZ_TARGET` says which.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<String> = LazyLock::new(|| {
    let known: Vec<&str> = mantis_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    let target = std::env::var("MANTIS_FUZZ_TARGET").unwrap_or_default();
    assert!(known.contains(&target.as_str()), "MANTIS_FUZZ_TARGET is one of {}", known.join(", "));
    target
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantis_fuzz::run(&TARGET, bytes));
