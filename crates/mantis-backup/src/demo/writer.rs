//! The writer: a process of its own that writes without a pause. It is told on standard input which
//! phase begins, and says at the end what each phase was like.

use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::bank::{self, Numbers, failed};
use crate::Error;
use crate::cli::Ending;

/// One phase as the writer saw it; times in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    pub(crate) name: String,
    pub(crate) transactions: u64,
    pub(crate) seconds: f64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

struct Running {
    name: String,
    since: Instant,
    latencies: Vec<u32>,
}

impl Running {
    fn report(mut self) -> PhaseReport {
        let seconds = self.since.elapsed().as_secs_f64();
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let index = (self.latencies.len() as f64 * share) as usize;
            self.latencies
                .get(index.min(self.latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
                .into()
        };
        PhaseReport {
            transactions: self.latencies.len() as u64,
            seconds,
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            name: self.name,
        }
    }
}

/// Writes until standard input ends; then prints the phases as JSON.
pub(crate) fn run(database: &Path) -> Result<Ending, Error> {
    let fail = || failed("write to the demo's database");
    let mut connection = bank::open(database).map_err(fail())?;
    let (sender, phases) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut numbers = Numbers(7);
    let mut reports = Vec::new();
    let mut running: Option<Running> = None;
    loop {
        match phases.try_recv() {
            Ok(name) => {
                reports.extend(running.take().map(Running::report));
                running = Some(Running { name, since: Instant::now(), latencies: Vec::new() });
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {}
        }
        let start = Instant::now();
        bank::transfer(&mut connection, &mut numbers).map_err(fail())?;
        if let Some(running) = &mut running {
            running.latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    reports.extend(running.take().map(Running::report));
    println!("{}", serde_json::to_string(&reports).unwrap_or_default());
    Ok(Ending::Done)
}
