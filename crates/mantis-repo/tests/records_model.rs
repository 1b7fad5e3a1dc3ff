//! The records of one backup as a model, from its manifest to the day on which nothing is left of it, every interleaving of which is
//! looked at; and changes, each of which must do harm. The code is in `old_records`, `lost_outcomes`, `references` and `session`.
//!
//! Beside each other: the session that commits, whose answer may be lost; somebody who forgets; a collector that frees the manifest;
//! two that remove records, twice each; one that looks for lost outcomes and repairs them; one that reads what backups refer to. A store may
//! lose the outcome of a backup that nobody forgot, and power may fail once: what was deleted and not made durable may come back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use stateright::{Checker, Model, Property};

/// An object: there or not, and whether a power cut may bring it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Object {
    there: bool,
    may_return: bool,
}

impl Object {
    /// Created durably; whether it was not there.
    fn create(&mut self) -> bool {
        let new = !self.there;
        *self = Self { there: true, may_return: false };
        new
    }

    fn delete(&mut self) {
        self.may_return |= self.there;
        self.there = false;
    }

    fn settle(&mut self) {
        self.may_return = false;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Announced,
    Stored,
    /// Created the outcome, and lost the answer.
    Unsure,
    /// Created it for the second time, as it was not there.
    Again,
    /// Told of success, and is going to remove its announcement.
    Told,
    Gone,
}

/// What was listed so far.
type Seen = Option<bool>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sweeper {
    Looks { forgotten: Seen, outcome: Seen, announced: Seen, manifest: Seen, turn: u8 },
    AsksForOutcome { turn: u8 },
    AsksForManifest { turn: u8 },
    RemovesForget { turn: u8 },
    RemovesOutcome { turn: u8 },
    Syncs { turn: u8 },
}

const fn looks(turn: u8) -> Sweeper {
    Sweeper::Looks { forgotten: None, outcome: None, announced: None, manifest: None, turn }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Repairer {
    Looks { manifest: Seen, announced: Seen, outcome: Seen },
    AsksForManifest,
    Creates,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reader {
    Looks {
        outcome: Seen,
    },
    ReadsOutcome,
    ReadsManifest,
    ReadsForget,
    AsksForOutcome,
    ListsManifests,
    /// Nothing stands in a collector's way.
    Content,
    /// It frees nothing: something is lost.
    Refuses,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    announced: bool,
    manifest: Object,
    outcome: Object,
    forget: Object,
    client: Client,
    /// Somebody has seen the backup, and is going to forget it.
    forgets: bool,
    /// A collector has seen that it was forgotten, and is going to free the manifest.
    frees: bool,
    sweepers: [Sweeper; 2],
    repairer: Repairer,
    reader: Reader,
    cuts: u8,
    /// What was: the backup was forgotten, its outcome lost by the store, created a second time, repaired after it was forgotten.
    was_forgotten: bool,
    was_lost: bool,
    was_created_again: bool,
    was_revived: bool,
    was_repaired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    ManifestsAreListedFirst,
    OutcomesAreListedFirst,
    ManifestIsNotSettled,
    OutcomeIsNotSettled,
    BothGoAtOnce,
    AnnouncementIsNotLookedAt,
    LostOutcomeIsBelieved,
    ReaderDoesNotLookAgain,
    CommitIsNotLookedAt,
}

struct Records(Change);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Client {
        answered: bool,
    },
    SeesToForget,
    Forgets,
    SeesToFree,
    Frees,
    Syncs,
    /// A collector removes the announcement of a session that has ended.
    Tidies,
    Sweeper(usize),
    Repairer,
    Reader,
    Loses,
    PowerCut {
        manifest: bool,
        outcome: bool,
        forget: bool,
    },
}

impl Records {
    fn is(&self, change: Change) -> bool {
        self.0 == change
    }

    fn client(&self, state: &mut State, answered: bool) -> bool {
        if !answered && state.client != Client::Stored {
            return false;
        }
        state.client = match state.client {
            Client::Announced => {
                state.manifest.create();
                Client::Stored
            }
            Client::Stored => {
                state.outcome.create();
                if answered { Client::Told } else { Client::Unsure }
            }
            Client::Unsure if state.outcome.there => Client::Told,
            Client::Unsure => {
                state.outcome.create();
                state.was_created_again = true;
                if self.is(Change::CommitIsNotLookedAt) { Client::Told } else { Client::Again }
            }
            Client::Again if state.manifest.there => Client::Told,
            Client::Again => {
                state.outcome.delete();
                state.outcome.settle();
                state.announced = false;
                Client::Gone
            }
            Client::Told => {
                state.announced = false;
                Client::Gone
            }
            Client::Gone => return false,
        };
        true
    }

    /// The next of the four lists, in the order that the change has.
    fn look(&self, state: &State, sweeper: Sweeper) -> Option<Sweeper> {
        let Sweeper::Looks { mut forgotten, mut outcome, mut announced, mut manifest, turn } =
            sweeper
        else {
            return None;
        };
        let now = [state.forget.there, state.outcome.there, state.announced, state.manifest.there];
        let [f, o, a, m] = now.map(Some);
        let blind = self.is(Change::AnnouncementIsNotLookedAt);
        match (forgotten, outcome, announced, manifest) {
            (_, _, _, None) if self.is(Change::ManifestsAreListedFirst) => manifest = m,
            (_, None, _, _) if self.is(Change::OutcomesAreListedFirst) => outcome = o,
            (None, ..) => forgotten = f,
            (_, None, ..) => outcome = o,
            (_, _, None, _) => announced = if blind { Some(false) } else { a },
            (_, _, _, None) => manifest = m,
            (Some(true), Some(was), Some(false), Some(false)) => {
                return Some(match was {
                    // Asking once more covers up what the order of the lists is for.
                    true if self.is(Change::ManifestsAreListedFirst) => {
                        Sweeper::RemovesOutcome { turn }
                    }
                    true => Sweeper::AsksForManifest { turn },
                    false if self.is(Change::OutcomesAreListedFirst) => {
                        Sweeper::RemovesForget { turn }
                    }
                    false => Sweeper::AsksForOutcome { turn },
                });
            }
            _ => return Some(looks(turn + 1)),
        }
        Some(Sweeper::Looks { forgotten, outcome, announced, manifest, turn })
    }

    fn sweep(&self, state: &mut State, who: usize) -> bool {
        let next = match state.sweepers[who] {
            Sweeper::Looks { turn: 2.., .. } => return false,
            looking @ Sweeper::Looks { .. } => match self.look(state, looking) {
                Some(next) => next,
                None => return false,
            },
            Sweeper::AsksForManifest { turn } if state.manifest.there => looks(turn + 1),
            Sweeper::AsksForManifest { turn } => {
                if !self.is(Change::ManifestIsNotSettled) {
                    state.manifest.settle();
                }
                Sweeper::RemovesOutcome { turn }
            }
            Sweeper::AsksForOutcome { turn } if state.outcome.there => looks(turn + 1),
            Sweeper::AsksForOutcome { turn } => {
                if !self.is(Change::OutcomeIsNotSettled) {
                    state.outcome.settle();
                }
                Sweeper::RemovesForget { turn }
            }
            Sweeper::RemovesOutcome { turn } => {
                if self.is(Change::BothGoAtOnce) {
                    state.forget.delete();
                }
                state.outcome.delete();
                Sweeper::Syncs { turn }
            }
            Sweeper::RemovesForget { turn } => {
                state.forget.delete();
                Sweeper::Syncs { turn }
            }
            Sweeper::Syncs { turn } => {
                if !self.is(Change::OutcomeIsNotSettled) {
                    state.outcome.settle();
                }
                state.forget.settle();
                looks(turn + 1)
            }
        };
        state.sweepers[who] = next;
        true
    }

    fn repair(&self, state: &mut State) -> bool {
        state.repairer = match state.repairer {
            Repairer::Looks { manifest: None, .. } if state.manifest.there => {
                Repairer::Looks { manifest: Some(true), announced: None, outcome: None }
            }
            Repairer::Looks { announced: None, manifest, .. } if manifest.is_some() => {
                if state.announced {
                    Repairer::Done
                } else {
                    Repairer::Looks { manifest, announced: Some(false), outcome: None }
                }
            }
            Repairer::Looks { manifest, announced, outcome: None } if announced.is_some() => {
                if state.outcome.there {
                    Repairer::Done
                } else {
                    Repairer::Looks { manifest, announced, outcome: Some(false) }
                }
            }
            Repairer::Looks { outcome: Some(_), .. } if state.forget.there => Repairer::Done,
            Repairer::Looks { outcome: Some(_), .. } if self.is(Change::LostOutcomeIsBelieved) => {
                Repairer::Creates
            }
            Repairer::Looks { outcome: Some(_), .. } => Repairer::AsksForManifest,
            Repairer::Looks { .. } => return false,
            Repairer::AsksForManifest if state.manifest.there => Repairer::Creates,
            Repairer::AsksForManifest => Repairer::Done,
            Repairer::Creates => {
                if state.outcome.create() {
                    state.was_repaired = true;
                    state.was_revived |= state.was_forgotten;
                }
                Repairer::Done
            }
            Repairer::Done => return false,
        };
        true
    }

    fn read(&self, state: &mut State) -> bool {
        let refuses = self.is(Change::ReaderDoesNotLookAgain);
        state.reader = match state.reader {
            Reader::Looks { outcome: None } if state.outcome.there => {
                Reader::Looks { outcome: Some(true) }
            }
            Reader::Looks { outcome: None } | Reader::Content | Reader::Refuses => return false,
            Reader::Looks { .. } if state.forget.there => Reader::Content,
            Reader::Looks { .. } => Reader::ReadsOutcome,
            Reader::ReadsOutcome if state.outcome.there => Reader::ReadsManifest,
            Reader::ReadsOutcome if refuses => Reader::Refuses,
            Reader::ReadsOutcome => Reader::ListsManifests,
            Reader::ReadsManifest if state.manifest.there => Reader::Content,
            Reader::ReadsManifest => Reader::ReadsForget,
            Reader::ReadsForget if state.forget.there => Reader::Content,
            Reader::ReadsForget if refuses => Reader::Refuses,
            Reader::ReadsForget => Reader::AsksForOutcome,
            Reader::AsksForOutcome if state.outcome.there => Reader::Refuses,
            Reader::AsksForOutcome => Reader::ListsManifests,
            Reader::ListsManifests if state.manifest.there => Reader::Refuses,
            Reader::ListsManifests => Reader::Content,
        };
        true
    }

    fn power_cut(state: &mut State, back: [bool; 3]) -> bool {
        let objects = [&mut state.manifest, &mut state.outcome, &mut state.forget];
        if state.cuts == 0 || objects.iter().zip(back).any(|(object, b)| b && !object.may_return) {
            return false;
        }
        for (object, back) in objects.into_iter().zip(back) {
            *object = Object { there: object.there || back, may_return: false };
        }
        state.cuts -= 1;
        // Nobody survives it on a machine that has the disk in it; others run anew.
        (state.client, state.forgets, state.frees) = (Client::Gone, false, false);
        state.sweepers = [looks(0); 2];
        state.repairer = Repairer::Looks { manifest: None, announced: None, outcome: None };
        state.reader = Reader::Looks { outcome: None };
        true
    }

    fn apply(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let is_listed = state.outcome.there && !state.forget.there;
        let done = match action {
            Action::Client { answered } => self.client(&mut next, answered),
            Action::SeesToForget => {
                next.forgets = true;
                is_listed && state.client != Client::Again
            }
            Action::Forgets => {
                next.was_forgotten |= next.forget.create();
                std::mem::take(&mut next.forgets)
            }
            Action::SeesToFree => {
                next.frees = true;
                state.outcome.there && state.forget.there && state.manifest.there
            }
            Action::Frees => {
                next.manifest.delete();
                std::mem::take(&mut next.frees)
            }
            Action::Syncs => {
                next.manifest.settle();
                state.manifest.may_return
            }
            Action::Tidies => {
                next.announced = false;
                state.outcome.there
            }
            Action::Sweeper(who) => self.sweep(&mut next, who),
            Action::Repairer => self.repair(&mut next),
            Action::Reader => self.read(&mut next),
            Action::Loses => {
                next.outcome = Object::default();
                next.was_lost = true;
                is_listed && state.client == Client::Gone && !state.was_lost && !state.forgets
            }
            Action::PowerCut { manifest, outcome, forget } => {
                Self::power_cut(&mut next, [manifest, outcome, forget])
            }
        };
        (done && next != *state).then_some(next)
    }
}

impl Model for Records {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            announced: true,
            manifest: Object::default(),
            outcome: Object::default(),
            forget: Object::default(),
            client: Client::Announced,
            forgets: false,
            frees: false,
            sweepers: [looks(0); 2],
            repairer: Repairer::Looks { manifest: None, announced: None, outcome: None },
            reader: Reader::Looks { outcome: None },
            cuts: 1,
            was_forgotten: false,
            was_lost: false,
            was_created_again: false,
            was_revived: false,
            was_repaired: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let both = [false, true];
        let all = both.map(|answered| Action::Client { answered }).into_iter().chain([
            Action::SeesToForget,
            Action::Forgets,
            Action::SeesToFree,
            Action::Frees,
            Action::Syncs,
            Action::Tidies,
            Action::Sweeper(0),
            Action::Sweeper(1),
            Action::Repairer,
            Action::Reader,
            Action::Loses,
        ]);
        let cuts = (0..8u8).map(|bits| Action::PowerCut {
            manifest: bits & 1 != 0,
            outcome: bits & 2 != 0,
            forget: bits & 4 != 0,
        });
        actions.extend(all.chain(cuts).filter(|action| self.apply(state, *action).is_some()));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.apply(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was forgotten stays so", |_, state: &State| {
                let is_back = state.was_forgotten && state.outcome.there && !state.forget.there;
                // Who commits for the second time looks, and takes it back; a power cut right then leaves it, and verify tells.
                let looks = state.client == Client::Again;
                let was_cut_short = state.was_created_again && state.cuts == 0;
                !state.was_revived && (!is_back || looks || was_cut_short)
            }),
            Property::always("a backup that nobody forgot is one", |_, state: &State| {
                let told = matches!(state.client, Client::Told);
                !told
                    || state.was_forgotten
                    || state.was_lost
                    || state.outcome.there && state.manifest.there
            }),
            Property::always("a collector is stopped by a loss alone", |_, state: &State| {
                state.reader != Reader::Refuses || state.was_lost || state.was_created_again
            }),
            Property::sometimes("nothing is left in the end", |_, state: &State| {
                state.was_forgotten
                    && !state.forget.there
                    && !state.outcome.there
                    && !state.manifest.there
            }),
            Property::sometimes("a lost outcome is repaired", |_, state: &State| {
                state.was_repaired
            }),
        ]
    }
}

const ALWAYS: [&str; 3] = [
    "what was forgotten stays so",
    "a backup that nobody forgot is one",
    "a collector is stopped by a loss alone",
];

#[test]
fn records_go_and_nothing_else_does() {
    let checker = Records(Change::None).checker().spawn_bfs().join();
    eprintln!("{} states", checker.unique_state_count());
    for always in ALWAYS {
        checker.assert_no_discovery(always);
    }
    checker.assert_any_discovery("nothing is left in the end");
    checker.assert_any_discovery("a lost outcome is repaired");
}

fn is_broken_by(change: Change) -> bool {
    let checker = Records(change).checker().spawn_bfs().join();
    ALWAYS.iter().any(|always| checker.discovery(always).is_some())
}

#[test]
fn every_step_is_needed() {
    let changes = [
        Change::ManifestsAreListedFirst,
        Change::OutcomesAreListedFirst,
        Change::ManifestIsNotSettled,
        Change::OutcomeIsNotSettled,
        Change::BothGoAtOnce,
        Change::LostOutcomeIsBelieved,
        Change::ReaderDoesNotLookAgain,
        Change::CommitIsNotLookedAt,
    ];
    for change in changes {
        assert!(is_broken_by(change), "{change:?} harms nothing");
    }
}

/// Who commits and is still announced is told apart from the dead by that; here, where it looks for itself, nothing comes of it.
#[test]
fn announcements_save_work_only() {
    assert!(!is_broken_by(Change::AnnouncementIsNotLookedAt));
}
