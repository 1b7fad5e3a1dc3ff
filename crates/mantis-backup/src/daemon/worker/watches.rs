//! All sources that are watched: begun, ended, and asked how they stand.
//!
//! They share one thread that waits for all of them, however many they are; what blocks or computes runs elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use mantis_schedule::Outcome;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::Jobs;
use super::repositories::Repositories;
use super::sources::Sources;
use super::watch::{Plan, Watch};
use crate::daemon::{Freshness, News, Report, StateDir, Wanted, Watched};
use crate::format_time;
use crate::human::{counted, time};
use crate::jobs::Turns;

/// How often it is looked how watches stand.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is told that a watch is as it should be.
const TELL: Duration = Duration::from_secs(3600);

/// What watches need.
pub(super) struct Shared {
    pub(super) dir: StateDir,
    pub(super) scratch: Arc<PathBuf>,
    pub(super) sources: Arc<Sources>,
    pub(super) freshness: Arc<Freshness>,
    pub(super) turns: Turns,
    pub(super) repositories: Repositories,
}

/// A watch to be begun, once the one that it comes after has ended.
type Begin = (Arc<Watch>, Option<CancellationToken>);

/// What is watched, and what was told of it.
#[derive(Debug, Default)]
struct Running {
    watches: BTreeMap<String, (Arc<Watch>, Told)>,
    /// Of those that are to end, by their jobs, what tells that nothing of them runs any more.
    ending: BTreeMap<String, CancellationToken>,
    news: Option<mpsc::UnboundedSender<News>>,
}

/// What was last told of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That too much is at stake.
    Late,
    /// That it is as it should be, and when.
    Well(Instant),
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    running: Arc<Mutex<Running>>,
    /// To the thread that drives them, once there is one.
    driver: Mutex<Option<mpsc::UnboundedSender<Begin>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What there is to tell of a watch, if there is anything new.
fn news(watch: &Watch, told: &mut Told) -> Option<Report> {
    let exposed = watch.exposure.of_watch();
    let mut state = watch.state();
    if exposed > watch.plan.limit {
        if *told == Told::Late {
            return None;
        }
        *told = Told::Late;
        let why = state.error.as_ref().map_or("a backup takes that long", |(error, _)| error);
        let error = format!(
            "what was committed within the last {} is in no backup, and {} are allowed: {why}",
            time(exposed),
            time(watch.plan.limit)
        );
        let full = state.error.as_ref().map(|(_, full)| full.clone()).unwrap_or_default();
        return Some(Report { full, error: Some(error), ..Report::new(Outcome::Failed) });
    }
    let last = state.last.as_ref()?;
    if matches!(told, Told::Well(at) if at.elapsed() < TELL) {
        return None;
    }
    let ((made, worst), is_first) = (state.untold, !matches!(told, Told::Well(_)));
    // An hour in which nothing was committed is nothing to tell of.
    if made == 0 && !is_first {
        return None;
    }
    // Of the first one it is not known.
    let behind =
        if worst.is_zero() { String::new() } else { format!(", at most {} behind", time(worst)) };
    let summary = format!(
        "watched: {} of {}, the newest {} as of {}{behind}",
        counted(made, "backup", "backups"),
        last.meta.source,
        last.id.short(),
        format_time(last.meta.created_at),
    );
    let backup = Some(last.id.to_string());
    let repository = Some(watch.plan.place.name.clone());
    state.untold = Default::default();
    *told = Told::Well(Instant::now());
    Some(Report { backup, repository, ..Report::done(summary) })
}

impl Running {
    fn look(&mut self) {
        let Some(sender) = &self.news else { return };
        for (watch, told) in self.watches.values_mut() {
            if let Some(report) = news(watch, told) {
                // Nobody listens any more when the daemon stops.
                let _ = sender.send(News { entry: watch.entry.clone(), report });
            }
        }
    }
}

/// Drives watches until nobody can begin one any more.
async fn drive(
    shared: Arc<Shared>,
    running: Arc<Mutex<Running>>,
    mut begun: mpsc::UnboundedReceiver<Begin>,
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            begin = begun.recv() => {
                let Some((watch, after)) = begin else { return };
                let shared = Arc::clone(&shared);
                tokio::task::spawn_local(async move {
                    if let Some(after) = after {
                        after.cancelled().await;
                    }
                    let _ended = watch.ended.clone().drop_guard();
                    watch.run(&shared).await;
                });
            }
            _ = looks.tick() => lock(&running).look(),
        }
    }
}

impl Watches {
    /// Begins and ends watches, so that what is wanted is watched and nothing else. The future ends once what is not wanted has.
    pub(super) fn arrange(&self, jobs: &Jobs, wanted: Wanted) -> BoxFuture<'static, ()> {
        let mut running = lock(&self.running);
        running.news = Some(wanted.news);
        let mut before = std::mem::take(&mut running.watches);
        let mut begun = Vec::new();
        for entry in wanted.entries {
            let id = entry.id.clone();
            let plan = match Plan::of(&wanted.config, &entry) {
                Ok(plan) => plan,
                Err(error) => {
                    tracing::error!(job = %id, error = %error.chain_and_help(), "cannot be watched");
                    continue;
                }
            };
            if before.get(&id).is_some_and(|(watch, _)| watch.plan == plan) {
                running.watches.extend(before.remove_entry(&id));
                continue;
            }
            let watch = Arc::new(Watch::new(entry, plan));
            let replaced = before.get(&id).map(|(watch, _)| watch.ended.clone());
            let after = replaced.or_else(|| running.ending.get(&id).cloned());
            jobs.freshness.watch(
                &watch.labels(),
                Some((
                    &watch.plan.place.name,
                    &watch.plan.name,
                    watch.plan.limit,
                    Arc::clone(&watch.exposure),
                )),
            );
            running.watches.insert(id, (Arc::clone(&watch), Told::Nothing));
            begun.push((watch, after));
        }
        running.ending.retain(|_, ended| !ended.is_cancelled());
        let mut ended = Vec::new();
        for (id, (watch, _)) in before {
            watch.cancel.cancel();
            ended.push(watch.ended.clone());
            running.ending.insert(id.clone(), watch.ended.clone());
            if !running.watches.contains_key(&id) {
                jobs.freshness.watch(&watch.labels(), None);
            }
        }
        drop(running);
        if !begun.is_empty() {
            let mut driver = lock(&self.driver);
            let driver = driver.get_or_insert_with(|| self.start(jobs));
            for begin in begun {
                let _ = driver.send(begin);
            }
        }
        Box::pin(async move {
            join_all(ended.iter().map(CancellationToken::cancelled)).await;
        })
    }

    /// Starts the thread that drives watches. It ends with `self`.
    fn start(&self, jobs: &Jobs) -> mpsc::UnboundedSender<Begin> {
        let (sender, begun) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            dir: jobs.dir.clone(),
            scratch: Arc::clone(&jobs.scratch),
            sources: Arc::clone(&jobs.sources),
            freshness: Arc::clone(&jobs.freshness),
            turns: Turns::new(),
            repositories: Repositories::default(),
        });
        let (running, runtime) = (Arc::clone(&self.running), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || {
            runtime.block_on(LocalSet::new().run_until(drive(shared, running, begun)));
        });
        sender
    }

    /// The databases of those that have yet to end.
    pub(super) fn ending(&self) -> Vec<String> {
        let running = lock(&self.running);
        let ending = running.ending.iter().filter(|(_, ended)| !ended.is_cancelled());
        // A job is called by its schedule and its database.
        ending.filter_map(|(id, _)| Some(id.split_once('/')?.1.to_owned())).collect()
    }

    /// How they stand.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let running = lock(&self.running);
        let of = |(watch, _): &(Arc<Watch>, Told)| {
            let state = watch.state();
            Watched {
                job: watch.entry.id.clone(),
                exposed_ms: millis(watch.exposure.of_watch()),
                limit_ms: millis(watch.plan.limit),
                backups: state.backups,
                waiting: state.waiting,
                error: state.error.as_ref().map(|(error, _)| error.clone()),
            }
        };
        running.watches.values().map(of).collect()
    }
}

#[cfg(all(test, feature = "file"))]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::daemon::{Entry, RunOutcome};

    fn watch() -> Watch {
        let text = "[repositories.main]\nurl = '/r'\n[sources.a]\npath = 'a'\n[schedules.s]\ncron = '@daily'\nwatch = '1s'\nrpo = '30s'\n";
        let config = crate::config::parse(text).unwrap();
        let entry = Entry {
            id: "s/a".into(),
            schedule: "s".into(),
            source: Some("a".into()),
            action: crate::config::Action::Backup,
        };
        let plan = Plan::of(&config, &entry).unwrap();
        assert_eq!((plan.every, plan.limit), (Duration::from_secs(1), Duration::from_secs(30)));
        Watch::new(entry, plan)
    }

    /// A backup was made, of what is as of now.
    async fn make(watch: &Watch) {
        let repo = crate::init_repository("memory://", None).await.unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 8192]).unwrap();
        let engine = Arc::new(mantis_engine::file::FileEngine::open(file.path()).unwrap());
        let info = crate::jobs::backup(crate::jobs::BackupJob {
            repo,
            coordinator: mantis_snapshot::Coordinator::new(Default::default()),
            engine,
            name: "a".into(),
            tags: BTreeMap::new(),
            write: Default::default(),
            timeout: None,
            full: false,
            looks_good_for: Duration::ZERO,
        });
        let info = info.await.unwrap();
        let exposed = watch.exposure.safe_until(tokio::time::Instant::now());
        let mut state = watch.state();
        state.error = None;
        state.untold.0 += 1;
        state.untold.1 = state.untold.1.max(exposed.unwrap_or_default());
        state.last = Some(Box::new(info));
    }

    #[tokio::test]
    async fn what_changes_is_told_once() {
        let (watch, mut told) = (watch(), Told::Nothing);
        let pass = async |seconds| {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(seconds)).await;
            tokio::time::resume();
        };
        assert_eq!(news(&watch, &mut told), None, "it has only begun");
        make(&watch).await;
        let first = news(&watch, &mut told).unwrap();
        assert!(first.summary.starts_with("watched: 1 backup of a, the newest "), "{first:?}");
        assert!(!first.summary.contains("behind"), "{first:?}");
        make(&watch).await;
        assert_eq!(news(&watch, &mut told), None, "it is well, as was told");
        pass(31).await;
        watch.state().error = Some(("no way".into(), vec![("main".into(), "full".into())]));
        let late = news(&watch, &mut told).unwrap();
        assert_eq!(late.run_outcome(), RunOutcome::Failed);
        assert!(
            late.error.as_deref().is_some_and(|why| why.ends_with("30.0 s are allowed: no way")),
            "{late:?}"
        );
        assert_eq!(late.full.len(), 1);
        assert_eq!(news(&watch, &mut told), None, "as was told");
        make(&watch).await;
        let again = news(&watch, &mut told).unwrap();
        assert!(again.summary.contains("2 backups of a"), "{again:?}");
        assert!(again.summary.contains("at most 31."), "{again:?}");
        told = Told::Well(Instant::now().checked_sub(TELL).unwrap());
        assert_eq!(news(&watch, &mut told), None, "an hour without a commit");
        make(&watch).await;
        assert_eq!(news(&watch, &mut told).map(|it| it.run_outcome()), Some(RunOutcome::Done));
    }
}
