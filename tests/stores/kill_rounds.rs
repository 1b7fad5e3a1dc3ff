//! Commands that are killed or stopped at random moments, over a real server of S3.

use std::time::Duration;

use mantis_tests::World;
use mantis_tests::rounds::Rounds;
use mantis_tests::servers::{Kind, Server};

fn rounds(seed: u64, count: u64) {
    let server = Server::start(Kind::Moto);
    let flags = if server.is_exclusive() { Vec::new() } else { vec!["--exclusive"] };
    let world = World::at(&server.url("repo"));
    let rounds = Rounds::new(world, seed, flags, Duration::from_millis(400));
    eprintln!("{count} rounds: {:?}", rounds.run(count));
}

#[test]
#[ignore = "cargo xtask integration"]
fn in_s3_twenty_commands_are_killed_or_stopped() {
    rounds(3, 20);
}

#[test]
#[ignore = "takes minutes: cargo xtask kills"]
fn five_hundred_commands_are_killed_or_stopped_in_a_bucket() {
    rounds(4, 500);
}
