//! A simulation: the real code of the repository, several clients over one store, one seed, one history.
//!
//! Clients back up, build on backups, forget, bring back, free, put layers together, copy to a replica, restore and verify, at the same
//! time; in every other history the repository is encrypted, and its keys change meanwhile. At every
//! call to the store chance says whose call goes on, and whether it fails: before it took effect, after it did, or with the
//! client, which is gone then as a process that was killed is. The clock goes on by minutes or days. A model knows what each
//! backup must hold; again and again all of them are compared with it.
//!
//! A slice of seeds runs with every other test; `cargo xtask sim --seed N --steps M` runs one, `--seeds N` many. A history that fails is
//! lived again with fewer steps and fewer disturbances, as long as it still fails; what is left is told.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../it/world.rs"]
#[allow(dead_code, reason = "what the other tests use of it, too")]
mod world;

use std::panic::catch_unwind;

mod client;
mod history;
mod keys;
mod model;
mod shorten;
mod store;

use history::{Plan, live};

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
    let mut told = history::Told::default();
    for seed in first..first + seeds {
        let plan = Plan { seed, steps, ..Plan::default() };
        match catch_unwind(|| live(&plan)) {
            Ok(of_this) => told.add(&of_this),
            Err(_) => shorten::tell(&plan, &|plan| {
                let _ = live(plan);
            }),
        }
    }
    eprintln!("{seeds} seeds from {first}, {steps} steps each: {told}");
    // A simulation in which nothing happens proves nothing.
    assert!(
        told.backups > seeds
            && told.copies > seeds / 10
            && told.crashes > seeds / 2
            && told.faults > seeds,
        "{told}"
    );
}
