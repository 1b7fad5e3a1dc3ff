//! A slice of seeds that runs with every other test; `cargo xtask sim --seed N --steps M` lives one history, `--seeds N` many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::panic::catch_unwind;

use mantis_sim::history::{Plan, Told, live};
use mantis_sim::shorten;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Steps of a history: calls to the store that went on, or failed.
const STEPS: u64 = 300;

#[test]
fn many_short_histories() {
    let (first, seeds) =
        (number("MANTIS_SIM_SEED").unwrap_or(1), number("MANTIS_SIM_SEEDS").unwrap_or(2000));
    let steps = number("MANTIS_SIM_STEPS").unwrap_or(STEPS);
    let mut told = Told::default();
    for seed in first..first + seeds {
        let plan = Plan { seed, steps, ..Plan::default() };
        match catch_unwind(|| live(&plan)) {
            Ok(of_this) => told += of_this,
            Err(_) => shorten::tell(&plan, &|plan| {
                let _ = live(plan);
            }),
        }
    }
    eprintln!("{seeds} seeds from {first}, {steps} steps each: {told}");
    // A simulation in which nothing happens proves nothing.
    assert!(
        told.backups > 2 * seeds
            && told.runs > 2 * seeds
            && told.copies > seeds / 20
            && told.crashes > seeds / 2
            && told.wrong_clocks > seeds
            && told.faults > seeds,
        "{told}"
    );
}
