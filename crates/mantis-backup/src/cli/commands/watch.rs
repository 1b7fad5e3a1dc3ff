//! `mantis watch`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use mantis_engine::sqlite::SqliteOptions;
use mantis_repo::{Repository, WriteOptions};
use mantis_snapshot::{Coordinator, Engine, SnapshotConfig};
use mantis_stream::CancellationToken;
use tokio::sync::mpsc;

use super::watch_events::{show, show_change};
use crate::cli::args::WatchArgs;
use crate::cli::context::Context;
use crate::cli::exit_code::Ending;
use crate::cli::output::time;
use crate::config::{Found, Search, SourceConfig};
use crate::jobs::{Exposure, SharedRules, Turns, WatchJob, watch};
use crate::spool::spool_for;
use crate::{Error, Source, SourceOptions};

pub(crate) async fn run(context: &Context, args: WatchArgs) -> Result<Ending, Error> {
    if args.name.is_some() && args.sources.len() > 1 {
        return Err(Error::usage(
            "one name cannot be given to several sources",
            "watch them by commands of their own",
        ));
    }
    crate::open_files::allow_many();
    let sources = sources(&args)?;
    let repo = context.open().await?;
    let mut watches = Watches {
        context,
        coordinator: Coordinator::new(SnapshotConfig {
            freeze_timeout: args.freeze_timeout,
            max_concurrent: Turns::MOST,
            temp_folder: args.temp_folder.clone(),
            ..SnapshotConfig::default()
        }),
        rules: Arc::new(SharedRules::new(repo.clone())),
        repo,
        turns: Turns::new(),
        args: &args,
        sources: Arc::new(sources),
        found: Found::default(),
        running: FuturesUnordered::new(),
        tokens: BTreeMap::new(),
        failing: BTreeMap::new(),
        told: Vec::new(),
    };
    watches.begin_single()?;
    watches.run().await;
    let failed = watches.failing.len();
    Ok(match failed {
        0 => Ending::Done,
        all if all >= watches.count() => Ending::Failed,
        _ => Ending::InPart,
    })
}

/// What is to be watched, by its names.
fn sources(args: &WatchArgs) -> Result<BTreeMap<String, SourceConfig>, Error> {
    let mut sources = BTreeMap::new();
    for text in &args.sources {
        let source = SourceConfig::plain(text, &args.exclude);
        let usual = match source.parse_pattern() {
            Some(pattern) => pattern?.default_name(),
            None => Source::parse(text)?.default_name(),
        };
        let name = args.name.clone().unwrap_or(usual);
        if sources.insert(name.clone(), source).is_some() {
            return Err(Error::usage(
                format!("two sources are named {name}"),
                "watch one of them by a command of its own, with another --name",
            ));
        }
    }
    Ok(sources)
}

/// Looks for databases by patterns, at once and then each interval, however long a disk makes a look wait.
fn look_out(
    sources: &Arc<BTreeMap<String, SourceConfig>>,
    every: Duration,
) -> mpsc::Receiver<Search> {
    let sources = Arc::clone(sources);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut found = Found::default();
        loop {
            let (sources, before) = (Arc::clone(&sources), found.clone());
            match tokio::task::spawn_blocking(move || Search::among(&sources, &before)).await {
                Ok(search) => {
                    found = search.found.clone();
                    if sender.send(search).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::error!(%error, "databases were not looked for"),
            }
            tokio::time::sleep(every).await;
        }
    });
    receiver
}

/// All that is watched.
struct Watches<'a> {
    context: &'a Context,
    args: &'a WatchArgs,
    repo: Repository,
    coordinator: Coordinator,
    turns: Turns,
    rules: Arc<SharedRules>,
    sources: Arc<BTreeMap<String, SourceConfig>>,
    /// What patterns found.
    found: Found,
    running: FuturesUnordered<LocalBoxFuture<'a, (String, Result<(), Error>)>>,
    /// What ends each watch that runs, by the source's name.
    tokens: BTreeMap<String, CancellationToken>,
    /// What cannot be watched, and why.
    failing: BTreeMap<String, String>,
    /// What is not right with patterns, as it was told.
    told: Vec<String>,
}

impl Watches<'_> {
    /// How many sources there are.
    fn count(&self) -> usize {
        let single = self.sources.values().filter(|source| source.pattern.is_none());
        single.count() + self.found.all().count()
    }

    fn has_patterns(&self) -> bool {
        self.sources.values().any(|source| source.pattern.is_some())
    }

    /// Begins to watch those sources that are no patterns.
    fn begin_single(&mut self) -> Result<(), Error> {
        let sources = Arc::clone(&self.sources);
        let single = sources.iter().filter(|(_, source)| source.pattern.is_none());
        for (name, source) in single {
            self.begin(name, &source.path)?;
            let every = time(self.args.every);
            self.context.say(format!("watching {name}, every {every}"))?;
        }
        Ok(())
    }

    /// Watches until it is stopped, or nothing is left to watch.
    async fn run(&mut self) {
        let cancel = self.context.cancel.clone();
        let mut looks = self.has_patterns().then(|| look_out(&self.sources, self.args.find_every));
        loop {
            let look = async {
                match &mut looks {
                    Some(looks) => tokio::select! {
                        look = looks.recv() => look,
                        () = cancel.cancelled() => None,
                    },
                    None => None,
                }
            };
            tokio::select! {
                Some((name, ended)) = self.running.next() => self.ended(name, ended),
                Some(search) = look => self.looked(search),
                else => return,
            }
        }
    }

    fn ended(&mut self, name: String, ended: Result<(), Error>) {
        self.tokens.remove(&name);
        match ended {
            Ok(()) => {
                self.failing.remove(&name);
            }
            Err(error) => self.failed(name, &error),
        }
    }

    /// Tells of a source that cannot be watched, once.
    fn failed(&mut self, name: String, error: &Error) {
        let why = error.chain();
        if self.failing.get(&name) != Some(&why) {
            eprintln!("warning: {name} cannot be watched");
            crate::cli::report(error);
            self.failing.insert(name, why);
        }
    }

    /// Databases were looked for: begins to watch those that came, and those that could not be watched before; ends the watches of those
    /// that are gone.
    fn looked(&mut self, Search { found, problems }: Search) {
        let is_new = |problem: &&String| !self.told.contains(*problem);
        let new: Vec<String> = problems.iter().filter(is_new).cloned().collect();
        crate::cli::decisions::warn(&new);
        self.told = problems;
        for name in self.found.without(&found) {
            if let Some(token) = self.tokens.get(name) {
                token.cancel();
            }
            self.failing.remove(name);
            show_change(self.context, name, false);
        }
        let before = std::mem::replace(&mut self.found, found.clone());
        for name in found.without(&before) {
            show_change(self.context, name, true);
        }
        for (name, source) in found.all() {
            // One that is still ending is begun by the next look.
            if !self.tokens.contains_key(name)
                && let Err(error) = self.begin(name, &source.path)
            {
                self.failed(name.to_owned(), &error);
            }
        }
    }

    fn begin(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let cancel = self.context.cancel.child_token();
        let job = self.job(name, text, cancel.clone())?;
        let context = self.context;
        self.tokens.insert(name.to_owned(), cancel);
        self.running.push(Box::pin(async move {
            let ended = watch(&job, |event| show(context, &job.name, &event)).await;
            (job.name, ended)
        }));
        Ok(())
    }

    fn job(&self, name: &str, text: &str, cancel: CancellationToken) -> Result<WatchJob, Error> {
        let args = self.args;
        let source = Source::parse(text)?;
        let sqlite = SqliteOptions { journal_lock: args.journal_lock.into(), immutable: false };
        let engine: Arc<dyn Engine> = Arc::from(source.follower(&SourceOptions { sqlite })?);
        let policy = args.policy.policy();
        Ok(WatchJob {
            repo: self.repo.clone(),
            coordinator: self.coordinator.clone(),
            engine,
            name: name.to_owned(),
            tags: args.tags.iter().cloned().collect::<BTreeMap<String, String>>(),
            write: WriteOptions {
                compression: args.compression,
                jobs: args.jobs,
                rate: args.limit_rate,
                spool: spool_for(&self.repo, args.temp_folder.as_deref(), args.spool_limit),
                cancel,
                ..WriteOptions::default()
            },
            every: args.every,
            max_log: args.max_wal,
            admission: self.turns.admission(self.repo.is_remote(), source.path.clone()),
            exposure: Arc::new(Exposure::new()),
            rules: (!policy.is_empty())
                .then(|| (Arc::clone(&self.rules), (policy, args.policy.zone()))),
        })
    }
}
