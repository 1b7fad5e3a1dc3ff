//! What an open repository remembers of sessions, so as not to ask the store for it again.
//!
//! An outcome never changes, and a manifest is named by its hash: what was read of them once is true for as long as they are there, which
//! each reader asks the store. So all of this saves requests, and decides nothing:
//!
//! - that a session made a backup of another source, when the newest one of a source is looked for;
//! - which session made the newest backup of a source by this process, when the next one is to be built on it. Where somebody else made a newer
//!   one meanwhile, the next one stores more than it need;
//! - what a backup says of itself, for a while: one whose manifest was lost is not to be counted as good for ever;
//! - that segments were there, for a while: collectors never take those of a backup that stands, so that they can only be missing by
//!   damage, which is noticed that much later, or by a backup that fails as it needs one: after that all is looked at again;
//! - which sessions of its own are under way: nobody else is asked whether these died;
//! - which backups there were at the last look, for who says that a look so old will do.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{BackupInfo, ObjectHash, SegmentRef, SessionId};

/// Sessions that are remembered: the newest. About 800 bytes each.
const MOST_SESSIONS: usize = 1 << 16;
/// Sessions whose segments are.
const MOST_FOLDERS: usize = 1 << 12;
/// How long what a backup says of itself is believed without being read again.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// How long segments are taken to be where they were.
const THERE_FOR: Duration = Duration::from_secs(600);
/// A look is good for so many times as long as it took, if that is longer than asked for: a slow store is not to be kept busy by looks.
const LOOKS_REST: u32 = 20;

/// Segments of a session, and their lengths.
pub(crate) type Folder = Arc<HashMap<ObjectHash, u64>>;

/// Those of both; of one that is in both, what `later` says.
pub(crate) fn with_later(folder: &Folder, later: &Folder) -> Folder {
    let all = folder.iter().chain(&**later).map(|(hash, len)| (*hash, *len));
    Arc::new(all.collect())
}

#[derive(Debug, Default)]
struct Known {
    /// What each session's backup says of itself, and when it was read.
    committed: BTreeMap<SessionId, (Arc<BackupInfo>, Instant)>,
    /// Which session made the newest backup of each source by this process.
    own: HashMap<String, (SessionId, ObjectHash)>,
    folders: HashMap<SessionId, (Folder, Instant)>,
    /// The largest sequence of any session that was seen.
    newest: Option<u64>,
    /// The owners of this process's own sessions that have not ended.
    under_way: HashMap<SessionId, String>,
    look: Option<Look>,
}

/// Which backups there were.
#[derive(Debug)]
struct Look {
    began: Instant,
    took: Duration,
    /// The sessions whose backups stood, ascending.
    live: Arc<[SessionId]>,
    /// Somebody takes a new look.
    is_renewed: bool,
}

/// What is remembered of sessions.
#[derive(Debug, Default)]
pub(crate) struct SessionMemory(Mutex<Known>);

impl SessionMemory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest sequence of any session that was seen, if all were looked at once.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.known().newest
    }

    /// Sessions were seen; with all that there are, or when some were seen before, later ones can do without a look.
    pub(crate) fn saw(&self, sequence: u64, were_all: bool) {
        let mut known = self.known();
        if were_all || known.newest.is_some() {
            known.newest = known.newest.max(Some(sequence));
        }
    }

    /// What a session committed, however long ago it was read.
    pub(crate) fn committed(&self, session: SessionId) -> Option<Arc<BackupInfo>> {
        self.known().committed.get(&session).map(|(info, _)| Arc::clone(info))
    }

    /// The same, if it was read not long ago.
    pub(crate) fn committed_lately(&self, session: SessionId) -> Option<Arc<BackupInfo>> {
        let known = self.known();
        let (info, at) = known.committed.get(&session)?;
        (at.elapsed() < GOOD_FOR).then(|| Arc::clone(info))
    }

    /// What a session committed was read.
    pub(crate) fn read(&self, info: &BackupInfo) {
        let mut known = self.known();
        known.committed.insert(info.session, (Arc::new(info.clone()), Instant::now()));
        while known.committed.len() > MOST_SESSIONS {
            known.committed.pop_first();
        }
    }

    /// A backup was made by this process, of these segments.
    pub(crate) fn made(&self, info: &BackupInfo, hash: ObjectHash, segments: &[SegmentRef]) {
        self.read(info);
        let own = segments.iter().filter(|segment| segment.session == info.session);
        let own = own.map(|segment| (segment.hash, segment.len)).collect();
        self.saw_segments(info.session, Arc::new(own));
        self.known().own.insert(info.meta.source.clone(), (info.session, hash));
    }

    /// The session that made the newest backup of a source by this process, and the hash of its manifest.
    pub(crate) fn own(&self, source: &str) -> Option<(SessionId, ObjectHash)> {
        self.known().own.get(source).copied()
    }

    /// Whether a session made the newest backup of a source by this process.
    pub(crate) fn made_here(&self, session: SessionId) -> bool {
        self.known().own.values().any(|(own, _)| *own == session)
    }

    /// That backup is not to be built on any more. Others may have been made here since the last look.
    pub(crate) fn forget_own(&self, source: &str) {
        let mut known = self.known();
        known.own.remove(source);
        known.look = None;
    }

    /// Something went wrong: what was remembered to be there is looked at again.
    pub(crate) fn doubt(&self) {
        let mut known = self.known();
        known.own.clear();
        known.folders.clear();
        known.look = None;
    }

    /// A session of this process begins.
    pub(crate) fn began(&self, session: SessionId, owner: &str) {
        self.known().under_way.insert(session, owner.to_owned());
    }

    /// It ended, in one way or another.
    pub(crate) fn ended(&self, session: SessionId) {
        self.known().under_way.remove(&session);
    }

    /// How many sessions of this process have not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.known().under_way.len()
    }

    /// Who owns a session, if it is one of this process and has not ended.
    pub(crate) fn owner(&self, session: SessionId) -> Option<String> {
        self.known().under_way.get(&session).cloned()
    }

    /// The last look, if it began no longer ago than that, or took a good part of it; who is given none takes a new one. Nobody waits for that: one takes
    /// it when half the time is over, and the others go on with the old one until all of it is.
    pub(crate) fn look(&self, within: Duration) -> Option<Arc<[SessionId]>> {
        let mut known = self.known();
        let look = known.look.as_mut()?;
        let (age, within) = (look.began.elapsed(), within.max(look.took * LOOKS_REST));
        if age < within / 2 || age < within && look.is_renewed {
            return Some(Arc::clone(&look.live));
        }
        look.is_renewed = true;
        None
    }

    /// A look was taken, until now.
    pub(crate) fn looked(&self, began: Instant, took: Duration, live: Arc<[SessionId]>) {
        let mut known = self.known();
        // One that began earlier may take longer.
        if known.look.as_ref().is_none_or(|last| last.began < began) {
            known.look = Some(Look { began, took, live, is_renewed: false });
        }
    }

    /// Segments of a session that were seen not long ago.
    pub(crate) fn segments(&self, session: SessionId) -> Option<Folder> {
        let known = self.known();
        let (folder, at) = known.folders.get(&session)?;
        (at.elapsed() < THERE_FOR).then(|| Arc::clone(folder))
    }

    /// Segments of a session were seen; there may be others.
    pub(crate) fn saw_segments(&self, session: SessionId, folder: Folder) {
        let mut known = self.known();
        if known.folders.len() >= MOST_FOLDERS {
            known.folders.retain(|_, (_, at)| at.elapsed() < THERE_FOR);
        }
        let now = Instant::now();
        let before = known.folders.get(&session).filter(|(_, at)| at.elapsed() < THERE_FOR);
        let seen = match before {
            // What was seen first is looked at again first.
            Some((before, at)) => (with_later(before, &folder), *at),
            None => (folder, now),
        };
        if known.folders.contains_key(&session) || known.folders.len() < MOST_FOLDERS {
            known.folders.insert(session, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::whole;

    fn segment(session: SessionId, hash: u8) -> SegmentRef {
        let segment = whole().layers[0].segments[0].clone();
        SegmentRef { session, hash: ObjectHash([hash; 32]), ..segment }
    }

    #[test]
    fn what_was_made_is_built_on_until_it_is_not() {
        let memory = SessionMemory::default();
        memory.saw(7, false);
        assert_eq!(memory.newest(), None, "there may be others");
        memory.saw(7, true);
        memory.saw(5, false);
        memory.saw(9, false);
        assert_eq!(memory.newest(), Some(9));
        let info = whole().info;
        let (session, hash) = (info.session, ObjectHash([1; 32]));
        let other = SessionId { sequence: 99, unique: [9; 16] };
        memory.made(&info, hash, &[segment(session, 2), segment(other, 3)]);
        assert_eq!(memory.own(&info.meta.source), Some((session, hash)));
        assert!(memory.committed_lately(session).is_some_and(|known| *known == info));
        let there = memory.segments(session).unwrap_or_default();
        assert_eq!(there.keys().collect::<Vec<_>>(), [&ObjectHash([2; 32])]);
        assert!(memory.segments(other).is_none(), "it was not looked at");
        memory.forget_own(&info.meta.source);
        assert_eq!(memory.own(&info.meta.source), None);
        assert!(memory.committed(session).is_some());
        memory.began(other, "me");
        assert_eq!((memory.owner(other).as_deref(), memory.under_way()), (Some("me"), 1));
        memory.ended(other);
        assert_eq!(memory.owner(other), None);
        memory.made(&info, hash, &[]);
        memory.doubt();
        assert!(memory.own(&info.meta.source).is_none() && memory.segments(session).is_none());
    }

    #[test]
    fn one_takes_a_new_look_and_nobody_waits_for_it() {
        let memory = SessionMemory::default();
        let long = Duration::from_secs(1000);
        assert_eq!(memory.look(long), None, "there was none");
        let live: Arc<[SessionId]> = [SessionId { sequence: 1, unique: [1; 16] }].into();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let quick = Duration::ZERO;
        memory.looked(ago(5), quick, Arc::clone(&live));
        assert_eq!(memory.look(long), Some(Arc::clone(&live)));
        let short = Duration::from_secs(8);
        assert_eq!(memory.look(short), None, "it is to be renewed");
        assert_eq!(memory.look(short), Some(live), "until it is, it will do");
        assert_eq!(memory.look(Duration::from_secs(4)), None);
        let newer: Arc<[SessionId]> = Arc::default();
        memory.looked(ago(1), quick, Arc::clone(&newer));
        memory.looked(ago(2), quick, [SessionId { sequence: 2, unique: [2; 16] }].into());
        assert_eq!(memory.look(short), Some(newer), "the other one took longer");
        let memory = SessionMemory::default();
        memory.looked(ago(10), Duration::from_secs(2), Arc::default());
        assert!(memory.look(short).is_some(), "it took so long that it is good for 40 s");
    }
}
