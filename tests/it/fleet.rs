//! Several daemons that share their databases: each is protected by one of them, and by another one when that one is gone.

use std::collections::BTreeSet;

use mantis_tests::daemon::Daemon;
use mantis_tests::{World, committed, make_bank, prove_bank, start_paced_python, wait_until};
use serde_json::Value;

/// So many that each member has some, whatever their hashes are.
const COUNT: usize = 20;

/// A daemon of the fleet, called so.
struct Member {
    daemon: Daemon,
    config: String,
}

impl Member {
    fn start(world: &World, name: &str) -> Self {
        let config = format!("{name}.toml");
        let text = format!(
            "state_dir = \"state-{name}\"\nlisten = \"127.0.0.1:0\"\nfind_every = \"500ms\"\n[repositories.main]\nurl = \"repo\"\n\
            [sources.all]\npattern = \"tenants/*.db\"\n[schedules.live]\ncron = \"0 0 29 2 *\"\nwatch = \"200ms\"\n\
            [fleet]\nlease = \"3s\"\n"
        );
        std::fs::write(world.path(&config), text).unwrap();
        Self { daemon: Daemon::start_of(world, &config, &format!("{name}.log")), config }
    }

    /// The databases that it watches.
    fn watched(&self, world: &World) -> BTreeSet<String> {
        let listed = world.ok(&["schedule", "list", "--config", &self.config]);
        let jobs = listed.as_array().unwrap().iter();
        let here = jobs.filter(|job| job["watched"].is_object());
        here.inspect(|job| assert_eq!(job["elsewhere"], false, "{job}"))
            .map(|job| job["job"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// How many databases each member watches; none is watched by two.
fn shares(world: &World, members: &[&Member]) -> Vec<usize> {
    let look = || members.iter().map(|member| member.watched(world)).collect::<Vec<_>>();
    // What a member had before and after was its own when the others were asked in between.
    let (before, after) = (look(), look());
    let kept = before.iter().zip(&after).map(|(before, after)| before & after);
    let mut seen = BTreeSet::new();
    for name in kept.flatten() {
        assert!(seen.insert(name.clone()), "{name} is watched twice");
    }
    after.iter().map(BTreeSet::len).collect()
}

fn newest(world: &World, source: &str) -> Option<Value> {
    let listed = world.ok(&["list", "--source", source]);
    listed.as_array().unwrap().last().cloned()
}

#[test]
fn databases_are_shared_and_taken_over() {
    let world = World::new();
    std::fs::create_dir(world.path("tenants")).unwrap();
    for number in 0..COUNT {
        make_bank(&world.path(&format!("tenants/d{number}.db")), "wal", 4096);
    }
    let writer = start_paced_python(&world.path("tenants/d7.db"));
    let first = Member::start(&world, "first");
    wait_until("the first to have all", || shares(&world, &[&first]) == [COUNT]);
    let second = Member::start(&world, "second");
    wait_until("them to share", || {
        let shares = shares(&world, &[&first, &second]);
        shares.iter().sum::<usize>() == COUNT && shares.iter().all(|share| *share > 0)
    });
    wait_until("a backup of each", || {
        (0..COUNT).all(|number| newest(&world, &format!("all/d{number}.db")).is_some())
    });
    let mut status = Value::Null;
    wait_until("both to tell that they are alive", || {
        status = world.ok(&["fleet", "status"]);
        let members = status["members"].as_array().unwrap();
        members.len() == 2 && members.iter().all(|member| member["state"] == "alive")
    });
    let members = status["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["databases"] == COUNT), "{status}");
    assert_eq!(status["sources"].as_array().unwrap().len(), COUNT);
    wait_until("the page", || first.daemon.page("/fleet").1.contains("2 of 2 are alive"));
    wait_until("the overview to leave to the other what it protects", || {
        let (_, overview) = first.daemon.page("/api/v1/overview");
        let overview: Value = serde_json::from_str(&overview).unwrap();
        let sources = overview["sources"].as_array().unwrap();
        let standing = |name| sources.iter().filter(|it| it["standing"] == name).count();
        let shares = shares(&world, &[&first, &second]);
        [standing("protected"), standing("elsewhere")] == shares[..]
    });
    wait_until("the first to say whose a database is", || {
        let others = second.watched(&world);
        let Some(job) = others.first() else { return false };
        let run = world.run(&["schedule", "run", job, "--detach", "--config", &first.config]);
        String::from_utf8_lossy(&run.stderr).contains("another daemon of the fleet")
    });
    wait_until("the metric", || first.daemon.metric("mantis_fleet_members") == Some(2.0));

    // One is killed: it can neither tell nor finish anything.
    drop(second);
    wait_until("the first to have all again", || shares(&world, &[&first]) == [COUNT]);
    wait_until("the page to show it", || {
        let (_, fleet) = first.daemon.page("/api/v1/fleet");
        let fleet: Value = serde_json::from_str(&fleet).unwrap();
        fleet["fleets"][0]["alive"] == 1 && fleet["newest"].as_array().unwrap().len() == COUNT
    });
    let there = committed(&world.path("tenants/d7.db"));
    drop(writer);
    wait_until("what was committed since", || {
        let Some(newest) = newest(&world, "all/d7.db") else { return false };
        world.ok(&["restore", newest["id"].as_str().unwrap(), "--to", "now.db"]);
        let seen = prove_bank(&world.path("now.db"));
        std::fs::remove_file(world.path("now.db")).unwrap();
        seen >= there
    });

    // One that is stopped says so: nobody waits for its lease.
    let third = Member::start(&world, "third");
    wait_until("them to share", || {
        let shares = shares(&world, &[&first, &third]);
        shares.iter().sum::<usize>() == COUNT && shares.iter().all(|share| *share > 0)
    });
    assert!(first.daemon.stop());
    wait_until("the third to have all", || shares(&world, &[&third]) == [COUNT]);
    assert!(third.daemon.stop());
    // Of the killed one at most, until somebody takes away what it left.
    wait_until("that nobody is alive", || {
        let status = world.ok(&["fleet", "status"]);
        status["members"].as_array().unwrap().iter().all(|member| member["state"] == "silent")
    });
    world.ok(&["prune", "--grace", "0s"]);
    world.ok(&["verify"]);
}

#[test]
fn a_member_without_the_store_protects_nothing_until_it_is_back() {
    let world = World::new();
    std::fs::create_dir(world.path("tenants")).unwrap();
    make_bank(&world.path("tenants/d.db"), "wal", 4096);
    let member = Member::start(&world, "only");
    wait_until("its backup", || newest(&world, "all/d.db").is_some());
    world.take_repository_away();
    wait_until("the end of its lease", || member.daemon.log().contains("the lease ended"));
    wait_until("that nothing is watched", || shares(&world, &[&member]) == [0]);
    world.bring_repository_back();
    wait_until("that it goes on", || shares(&world, &[&member]) == [1]);
    assert!(member.daemon.metric("mantis_fleet_lapses_total") >= Some(1.0));
    assert!(member.daemon.stop());
}

#[test]
fn what_is_wrong_with_a_fleet_is_told() {
    let world = World::empty();
    let check = |fleet: &str| {
        let text = format!(
            "[repositories.a]\nurl = \"a\"\n[repositories.b]\nurl = \"b\"\n[sources.s]\npath = \"s.db\"\n[fleet]\n{fleet}\n"
        );
        std::fs::write(world.path("mantis.toml"), text).unwrap();
        world.fails(&["config", "check"], 1)
    };
    assert!(check("lease = \"30s\"").contains("`repository`"));
    assert!(check("repository = \"c\"").contains("[repositories.c]"));
    assert!(check("repository = \"a\"\nsources = [\"t\"]").contains("[sources.t]"));
    assert!(check("repository = \"a\"\nlease = \"1s\"").contains("from 3s to 1h"));
    assert!(!check("repository = \"a\"\nleases = \"5s\"").is_empty());
}
