//! One history: whose call goes on, and what it meets.

use std::collections::BTreeSet;
use std::time::Duration;

use mantis_sink::SinkErrorKind;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::client::PRUNE;
use crate::places::Place;
use crate::stage::{Living, World};
use crate::store::Fate;
pub use crate::told::Told;

/// Clients at once.
const CLIENTS: usize = 3;
/// Calls between two looks at everything.
const LOOK_EVERY: u64 = 100;
/// In one history of so many everything is looked at after every call.
const WATCHED: u64 = 32;

/// A history to be lived.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Tells it.
    pub seed: u64,
    /// Calls to the store that go on, or fail.
    pub steps: u64,
    /// Disturbances that do not happen, by their number: failing calls, kills, pauses, days that pass, clocks that are wrong.
    pub spared: BTreeSet<u64>,
}

/// Lives a history.
///
/// # Panics
/// Where a backup is lost, or gives other bytes; where a schedule runs twice, or not at all.
#[must_use]
pub fn live(plan: &Plan) -> Told {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let seed = plan.seed;
        let mut world = World::new(plan).await;
        // From here on it has something to make up for.
        let _ = world.quiet_daemon().await;
        let mut clients: Vec<Option<Living>> = (0..CLIENTS).map(|_| None).collect();
        // Who waits until the others have ended.
        let mut wants_alone = false;
        let look_every = if seed % WATCHED == 1 { 1 } else { LOOK_EVERY };
        for step in 0..plan.steps {
            world.write();
            world.pass();
            let at = world.chance.index(CLIENTS);
            if clients[at].is_none() {
                clients[at] = next_client(&mut world, &clients, &mut wants_alone);
            }
            let others_go = clients.iter().flatten().any(|client| client.paused <= step);
            let paused = clients[at].as_mut().map(|client| (client.name, &mut client.paused));
            if let Some((name, paused)) = paused
                && (*paused <= step || !others_go)
            {
                if *paused <= step && world.disturbed(world.weather.pauses) {
                    *paused = step + 20 + world.chance.below(150);
                    let until = *paused;
                    world.note(format!("{step}: client {at} ({name}) stands still until {until}"));
                } else {
                    step_of(&mut world, &mut clients[at], at, step).await;
                }
            }
            if step % look_every == look_every - 1 {
                world.look(&format!("seed {seed}, step {step}")).await;
            }
        }
        for client in clients.into_iter().flatten() {
            client.task.abort();
            let _ = client.task.await;
            world.host.lock().unwrap().alive = false;
        }
        world.end(seed).await;
        let known = |place: &Place| place.model.lock().unwrap().backups.len() as u64;
        (world.told.backups, world.told.copies) = (known(&world.main), known(&world.replica));
        world.told.runs = world.host.lock().unwrap().runs();
        world.told
    })
}

/// A client for a place that is free. One that frees, where lists come late, begins when the others have ended and lists know everything;
/// until it has ended, and they do again, nobody else begins.
fn next_client(
    world: &mut World,
    clients: &[Option<Living>],
    wants_alone: &mut bool,
) -> Option<Living> {
    if clients.iter().flatten().any(|client| client.alone) {
        return None;
    }
    if !*wants_alone {
        let name = world.name();
        if !(world.late && name == PRUNE) {
            return Some(world.client(name, false));
        }
        *wants_alone = true;
    }
    if clients.iter().any(Option::is_some) {
        return None;
    }
    world.settle_lists();
    *wants_alone = false;
    Some(world.client(PRUNE, true))
}

/// Waits until a client calls, or ends.
async fn settle(client: &Living) {
    while client.gate.is_empty() && !client.task.is_finished() {
        tokio::select! {
            () = client.gate.arrival() => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

/// One call of a client, its end, or the end of the client itself.
async fn step_of(world: &mut World, place: &mut Option<Living>, at: usize, step: u64) {
    let Some(client) = place else { return };
    settle(client).await;
    let Some(call) = client.gate.first() else {
        match (&mut client.task).await {
            Ok(Ok(())) => world.told.done += 1,
            Ok(Err(error)) => {
                world.told.failed += 1;
                world.note(format!("{step}: client {at} ({}): {error}", client.name));
            }
            Err(error) => {
                eprintln!("{}", world.tell("a client panicked"));
                std::panic::resume_unwind(error.into_panic());
            }
        }
        world.ended(client);
        *place = None;
        return;
    };
    let killed = world.disturbed(world.weather.kills);
    let fate = if killed {
        let kind = SinkErrorKind::Other;
        if world.chance.of_thousand(500) { Fate::FailsAfter(kind) } else { Fate::FailsBefore(kind) }
    } else {
        world.fate()
    };
    let tells = ["create", "delete", "write"].iter().any(|call_is| call.what.starts_with(call_is));
    if killed || fate != Fate::Goes || tells {
        let killed = if killed { ", and it is killed" } else { "" };
        world.note(format!(
            "{step}: client {at} ({}): {}: {fate:?}{killed}",
            client.name, call.what
        ));
    }
    call.meets(fate).await;
    settle(client).await;
    if killed {
        world.told.crashes += 1;
        client.task.abort();
        let _ = (&mut client.task).await;
        world.ended(client);
        *place = None;
    }
}
