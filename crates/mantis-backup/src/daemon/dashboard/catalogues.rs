//! What the repositories hold, as it was seen last: looked at when someone asks, not more often than every few seconds, and never waited
//! for long. A store that does not answer must not keep a page from being shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use mantis_repo::{BackupInfo, Repository};
use tokio::sync::watch;

use crate::config::Config;
use crate::daemon::worker::Place;
use crate::daemon::{Proof, StateDir};
use crate::fleet_status::{self, FleetMember};
use crate::{Error, clock};

/// How old what was seen may be when it is asked for.
const FRESH: Duration = Duration::from_secs(10);
/// How long a repository stays open: to derive its key anew for each look would take a core's time, and to keep it for ever would keep it in
/// memory for nobody.
const OPEN: Duration = Duration::from_secs(600);
/// How long a page waits for a store.
const PATIENCE: Duration = Duration::from_secs(4);

/// What was seen in a repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// When; `None`: not yet.
    pub(super) at: Option<DateTime<Utc>>,
    /// Its backups, newest last.
    pub(super) backups: Vec<BackupInfo>,
    /// What was proved of them on this machine, by their ids.
    pub(super) proofs: BTreeMap<String, Proof>,
    /// The daemons that tell of themselves in it.
    pub(super) members: Vec<FleetMember>,
    /// What keeps others from being among these.
    pub(super) untold: Vec<String>,
    /// Why it cannot be looked at, or not be looked at again.
    pub(super) error: Option<String>,
}

#[derive(Debug)]
struct Slot {
    seen: watch::Sender<Arc<Seen>>,
    /// When it was last looked at, if that has ended.
    ended: Option<Instant>,
    under_way: bool,
    open: Option<Open>,
}

/// A repository that is open.
#[derive(Debug, Clone)]
struct Open {
    place: Place,
    since: Instant,
    repo: Repository,
}

/// What the repositories hold.
#[derive(Debug, Default)]
pub(super) struct Catalogues(Mutex<BTreeMap<String, Slot>>);

/// Looks at a repository: at one that is open, if it is the same and not for long.
async fn look(place: Place, open: Option<Open>, dir: StateDir) -> Result<(Open, Seen), Error> {
    let open = match open.filter(|it| it.place == place && it.since.elapsed() < OPEN) {
        Some(open) => open,
        None => Open { repo: place.open().await?, place, since: Instant::now() },
    };
    let backups = open.repo.catalogue().await?.backups;
    let proofs = dir.proofs().of(&open.repo)?;
    // Who shares databases is no part of them: backups are shown without it.
    let (members, untold) = match fleet_status::members(&open.repo).await {
        Ok((members, damaged)) => (members, damaged.iter().map(Error::chain_and_help).collect()),
        Err(error) => (Vec::new(), vec![error.chain_and_help()]),
    };
    let at = Some(clock::calendar_now());
    let seen = Seen { at, backups, proofs, members, untold, error: None };
    Ok((open, seen))
}

impl Catalogues {
    /// What a repository holds, as far as it can be told now.
    pub(super) async fn of(
        self: &Arc<Self>,
        config: &Config,
        dir: &StateDir,
        name: &str,
    ) -> Arc<Seen> {
        let place = match Place::of(config, name) {
            Ok(place) => place,
            Err(error) => {
                return Arc::new(Seen { error: Some(error.chain()), ..Seen::default() });
            }
        };
        let (mut seen, is_under_way) = self.begin(place, dir, name);
        if is_under_way {
            let _ = tokio::time::timeout(PATIENCE, seen.changed()).await;
        }
        let seen = seen.borrow();
        Arc::clone(&seen)
    }

    /// A repository, if it is open at this moment.
    pub(super) fn opened(&self, place: &Place) -> Option<Repository> {
        let slots = self.slots();
        let open = slots.get(&place.name)?.open.as_ref();
        open.filter(|open| open.place == *place).map(|open| open.repo.clone())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a repository looked at where that is due; what tells when it was, and whether that is still to come.
    fn begin(
        self: &Arc<Self>,
        place: Place,
        dir: &StateDir,
        name: &str,
    ) -> (watch::Receiver<Arc<Seen>>, bool) {
        let mut slots = self.slots();
        let slot = slots.entry(name.to_owned()).or_insert_with(|| Slot {
            seen: watch::channel(Arc::default()).0,
            ended: None,
            under_way: false,
            open: None,
        });
        // Whoever looks cannot end before the slots are let go of: its end is a change for this receiver.
        let receiver = slot.seen.subscribe();
        if slot.under_way || slot.ended.is_some_and(|ended| ended.elapsed() < FRESH) {
            return (receiver, slot.under_way);
        }
        slot.under_way = true;
        let (all, name, dir) = (Arc::clone(self), name.to_owned(), dir.clone());
        let open = slot.open.take();
        let runtime = tokio::runtime::Handle::current();
        // On a thread of its own, as runs are: the repository's futures are not known to be `Send`.
        let looking = tokio::task::spawn_blocking(move || runtime.block_on(look(place, open, dir)));
        tokio::spawn(async move {
            let looked = looking.await.unwrap_or_else(|error| {
                let doing = format!("look at the repository {name}");
                Err(Error::Other { doing, source: error.into(), help: None })
            });
            all.end(&name, looked);
        });
        (receiver, true)
    }

    fn end(&self, name: &str, looked: Result<(Open, Seen), Error>) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(name) else { return };
        (slot.under_way, slot.ended) = (false, Some(Instant::now()));
        let now = match looked {
            Ok((open, seen)) => {
                slot.open = Some(open);
                seen
            }
            Err(error) => {
                // What was seen before is still the best that is known.
                let error = Some(error.chain_and_help());
                Seen { error, ..Seen::clone(&slot.seen.borrow()) }
            }
        };
        slot.seen.send_replace(Arc::new(now));
    }
}
