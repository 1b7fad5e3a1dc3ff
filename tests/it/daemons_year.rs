//! A year of the daemon's own loop in seconds: its state on disk, killed and started again, clocks set forth and back, runs that
//! take their time and fail. What ran is what the calendar calls for.
//!
//! Time is tokio's paused clock, which goes on whenever nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use mantis_backup::config::{self, Config};
use mantis_backup::daemon::{Order, Report, Roster, StateDir, Supervisor, Timer, Worker};
use mantis_backup::notify::Notifications;
use mantis_backup::schedule::{Clock, Outcome};
use tokio_util::sync::CancellationToken;

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Chance that is the same each time.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// tokio's clock as a calendar, which can be set wrong.
struct Calendar {
    began: tokio::time::Instant,
    first: DateTime<Utc>,
    wrong_by: AtomicI64,
}

impl Clock for Calendar {
    fn now(&self) -> DateTime<Utc> {
        let wrong_by = TimeDelta::seconds(self.wrong_by.load(Ordering::Relaxed));
        self.first + TimeDelta::from_std(self.began.elapsed()).unwrap() + wrong_by
    }
}

impl Timer for Calendar {
    fn sleep_until(&self, time: Option<DateTime<Utc>>) -> Boxed<()> {
        let longest = Duration::from_secs(3600);
        let wait = time.map_or(longest, |time| (time - self.now()).to_std().unwrap_or_default());
        Box::pin(tokio::time::sleep(wait.min(longest)))
    }
}

/// Every try that came to its end: job, time of its schedule, outcome.
type Ledger = Arc<Mutex<Vec<(String, DateTime<Utc>, Outcome)>>>;

/// Takes from seconds to minutes, and fails now and then.
struct Pretender {
    ledger: Ledger,
    chance: Mutex<Chance>,
}

impl Worker for Pretender {
    fn work(&self, order: Order) -> Boxed<Report> {
        let (seconds, fails) = {
            let mut chance = self.chance.lock().unwrap();
            (5 + chance.below(115), chance.below(10) == 0)
        };
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                () = order.cancel.cancelled() => return Report::new(Outcome::Cancelled),
            }
            let outcome = if fails { Outcome::Failed } else { Outcome::Done };
            ledger.lock().unwrap().push((order.entry.id, order.run.scheduled, outcome));
            let error = fails.then(|| "it pretends to fail".to_owned());
            Report { error, ..Report::new(outcome) }
        })
    }
}

/// Twenty schedules over three sources.
fn twenty() -> Config {
    let mut text = String::from(
        "timezone = \"Europe/Berlin\"\nmax_running = 8\nstop_timeout = \"0s\"\n[repositories.main]\nurl = \"/nowhere\"\n",
    );
    for source in ["a", "b", "c"] {
        text.push_str(&format!("[sources.{source}]\npath = \"/nowhere/{source}.db\"\n"));
    }
    let crons = [
        "17 * * * *",
        "30 2 * * *",
        "30 2 * * MON-FRI",
        "0 */6 * * *",
        "45 23 * * SUN",
        "0 3 1 * *",
        "15 4 L * *",
        "0 12 * * 1#1",
        "5 1 29 2 *",
        "0 0 1 1 *",
    ];
    let zones =
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Santiago"];
    for number in 0..20 {
        let (cron, zone) = (crons[number % 10], zones[number % 5]);
        let missed = ["all", "once", "skip"][number % 3];
        let source = if number % 4 == 1 {
            "\"a\", \"b\", \"c\""
        } else {
            ["\"a\"", "\"b\"", "\"c\""][number % 3]
        };
        text.push_str(&format!(
            "[schedules.s{number}]\ncron = \"{cron}\"\ntimezone = \"{zone}\"\nmissed = \"{missed}\"\nsources = [{source}]\noverlap = \"queue\"\n\
             jitter = \"{}s\"\n",
            1 + number * 7
        ));
    }
    config::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// A folder in memory where there is one: what is synced a hundred thousand times is not the disk's business here.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Spans in which a daemon was there for sure.
type Up = Vec<(DateTime<Utc>, DateTime<Utc>)>;

async fn live_a_year(seed: u64) {
    let (folder, config) = (folder(), Arc::new(twenty()));
    let dir = StateDir::at(folder.path());
    let first: DateTime<Utc> = "2027-12-20T00:00:00Z".parse().unwrap();
    let calendar = Arc::new(Calendar {
        began: tokio::time::Instant::now(),
        first,
        wrong_by: AtomicI64::new(0),
    });
    let end = first + TimeDelta::days(366);
    let ledger = Ledger::default();
    let mut chance = Chance(seed);
    let mut up = Up::new();
    while calendar.now() < end {
        let worker = Pretender {
            ledger: Arc::clone(&ledger),
            chance: Mutex::new(Chance(chance.below(1 << 30))),
        };
        let timer: Arc<dyn Timer> = Arc::<Calendar>::clone(&calendar);
        let made = Supervisor::new(
            Arc::clone(&config),
            dir.clone(),
            Arc::new(worker),
            timer,
            Arc::new(Notifications::default()),
        );
        let (supervisor, _handle, _) = made.unwrap();
        let stop = CancellationToken::new();
        let from = calendar.now();
        let mut run = Box::pin(supervisor.run(stop.clone()));
        let minutes = 60 + chance.below(20 * 24 * 60);
        tokio::select! {
            () = &mut run => {}
            () = tokio::time::sleep(Duration::from_secs(minutes * 60)) => {}
        }
        up.push((from, calendar.now()));
        if chance.below(4) == 0 {
            // Asked to stop: it cancels what runs, and ends.
            stop.cancel();
            run.await;
        } else {
            // Killed in the midst of whatever it does.
            drop(run);
        }
        tokio::time::sleep(Duration::from_secs(chance.below(2 * 24 * 3600))).await;
        if chance.below(3) == 0 {
            // The clock is set, by less than cron would believe back, or forth.
            let wrong_by = i64::try_from(chance.below(9000)).unwrap() - 4500;
            calendar.wrong_by.fetch_add(wrong_by, Ordering::Relaxed);
        }
    }
    // One that lives long enough to make up for all.
    let worker = Pretender { ledger: Arc::clone(&ledger), chance: Mutex::new(chance) };
    let timer: Arc<dyn Timer> = Arc::<Calendar>::clone(&calendar);
    let made = Supervisor::new(
        Arc::clone(&config),
        dir,
        Arc::new(worker),
        timer,
        Arc::new(Notifications::default()),
    );
    let (supervisor, _handle, _) = made.unwrap();
    let until = calendar.now();
    tokio::select! {
        () = supervisor.run(CancellationToken::new()) => {}
        () = tokio::time::sleep(Duration::from_secs(24 * 3600)) => {}
    }
    check(&config, &ledger.lock().unwrap(), &up, (first, until));
}

fn check(
    config: &Config,
    ledger: &[(String, DateTime<Utc>, Outcome)],
    up: &Up,
    (first, until): (DateTime<Utc>, DateTime<Utc>),
) {
    let (roster, jobs) = Roster::of(config);
    assert!(roster.iter().count() > 20 && ledger.len() > 10_000, "{} tries", ledger.len());
    let mut tried: BTreeMap<&str, BTreeSet<DateTime<Utc>>> = BTreeMap::new();
    for (job, scheduled, _) in ledger {
        tried.entry(job).or_default().insert(*scheduled);
    }
    for job in jobs {
        // What the calendar calls for, by itself.
        let due: BTreeSet<DateTime<Utc>> =
            job.cron.after(first, job.zone).take_while(|time| *time <= until).collect();
        let tried = tried.remove(&*job.id).unwrap_or_default();
        let tried: BTreeSet<DateTime<Utc>> =
            tried.into_iter().filter(|time| *time <= until).collect();
        let strangers: Vec<_> = tried.difference(&due).collect();
        assert!(
            strangers.is_empty(),
            "{}: ran at times that are none of its own: {strangers:?}",
            job.id
        );
        let left_out: Vec<&DateTime<Utc>> = due.difference(&tried).collect();
        match config.schedules[job.id.split('/').next().unwrap()].missed {
            mantis_backup::schedule::MissedRuns::All => {
                assert!(left_out.is_empty(), "{}: owes {left_out:?}", job.id);
            }
            mantis_backup::schedule::MissedRuns::Once => {
                assert!(due.last() == tried.last(), "{}: the last is owed", job.id);
                // A gap is closed by a run of a time in it, or right after it.
                let gaps = left_out.iter().filter(|time| tried.range(**time..).next().is_none());
                assert_eq!(gaps.count(), 0, "{}", job.id);
            }
            mantis_backup::schedule::MissedRuns::Skip => {
                // While a daemon was there, and for long enough to end a run, nothing is left out.
                let margin = TimeDelta::minutes(10);
                let there = |time: &&&DateTime<Utc>| {
                    up.iter().any(|(from, to)| ***time > *from && ***time + margin < *to)
                };
                let wrong: Vec<_> = left_out.iter().filter(there).collect();
                assert!(wrong.is_empty(), "{}: was there and did not run {wrong:?}", job.id);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_schedules_run_as_the_calendar_has_them() {
    live_a_year(11).await;
}
