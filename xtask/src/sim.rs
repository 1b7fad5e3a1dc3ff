//! The simulation: one seed, or many.

use crate::command::{self, Done, program};

/// `cargo xtask sim [--seed N] [--seeds N] [--steps M]`
pub(crate) fn run(arguments: &[String]) -> Done {
    let base = [
        "test",
        "--locked",
        "--release",
        "-p",
        "mantis-sim",
        "--test",
        "histories",
        "--target-dir",
        "target/sim",
        "--",
        "--nocapture",
    ];
    let mut cargo = program("cargo", &base);
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let variable = match flag.as_str() {
            "--seed" => "MANTIS_SIM_SEED",
            "--seeds" => "MANTIS_SIM_SEEDS",
            "--steps" => "MANTIS_SIM_STEPS",
            _ => return Err(format!("{flag}: sim [--seed N] [--seeds N] [--steps M]")),
        };
        let value = rest.next().filter(|value| value.parse::<u64>().is_ok());
        cargo.env(variable, value.ok_or(format!("{flag} takes a number"))?);
    }
    if !arguments.iter().any(|flag| flag == "--seeds")
        && arguments.iter().any(|flag| flag == "--seed")
    {
        cargo.env("MANTIS_SIM_SEEDS", "1");
    }
    command::run(&mut cargo)
}
