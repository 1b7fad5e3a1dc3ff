//! The protocol of sessions and collectors as a model, every interleaving of which is looked at; and changes to
//! it, each of which must let something be lost. `docs/protocol.md` tells the story; the code is in `session`,
//! `parent`, `forget` and `collector`.
//!
//! The model: one committed backup to begin with; a writer that builds on a backup; another that does so too, or
//! brings a forgotten one back; two collectors that may go on with each other's work; backups forgotten at any
//! time; and two writers that share a segment. Each listing and each put or delete is a step; an actor may stop for ever between any two.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use stateright::{Checker, Model, Property};

/// Sessions: the first backup's and the two writers'. A session's own segment has its number.
const SESSIONS: usize = 3;
const COLLECTORS: usize = 2;

/// A set of sessions or segments.
type Set = u8;

const fn bit(at: usize) -> Set {
    1 << at
}

const fn has(set: Set, at: usize) -> bool {
    set & bit(at) != 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Commit(Set),
    Fenced,
}

/// What everyone sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Store {
    announced: Set,
    outcomes: [Option<Outcome>; SESSIONS],
    forgotten: Set,
    segments: Set,
    /// The lists that stand, by the collector that wrote them.
    condemned: [Option<Set>; COLLECTORS],
}

impl Store {
    /// The segments that the backups of some sessions need.
    fn needs(&self, sessions: Set) -> Set {
        let of = |at: usize| match self.outcomes[at] {
            Some(Outcome::Commit(needs)) if has(sessions, at) => needs,
            _ => 0,
        };
        (0..SESSIONS).map(of).fold(0, |all, needs| all | needs)
    }

    fn committed(&self) -> Set {
        let committed = |at: &usize| matches!(self.outcomes[*at], Some(Outcome::Commit(_)));
        (0..SESSIONS).filter(committed).fold(0, |all, at| all | bit(at))
    }

    fn ended(&self) -> Set {
        (0..SESSIONS).filter(|at| self.outcomes[*at].is_some()).fold(0, |all, at| all | bit(at))
    }

    fn all_condemned(&self) -> Set {
        self.condemned.iter().flatten().fold(0, |all, set| all | set)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Idle,
    /// Read the lists too early: a change that must be found out.
    ReadBefore {
        avoid: Set,
    },
    Announced {
        avoid: Option<Set>,
    },
    /// Knows what is condemned.
    Warned {
        avoid: Set,
    },
    /// Knows which backups were committed.
    Listed {
        avoid: Option<Set>,
        committed: Set,
    },
    /// Knows which of them are live (or, to bring one back, forgotten).
    Knows {
        avoid: Option<Set>,
        choice: Set,
    },
    /// Chose, and is going to see whether the segments are there.
    Chose {
        needs: Set,
    },
    /// Uploaded its own segment.
    Ready {
        needs: Set,
    },
    /// Gives up, and created its outcome: its own segment is the next to go, then its outcome.
    GivesUp {
        removed: bool,
    },
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Collector {
    Idle,
    SawSegments {
        segments: Set,
    },
    SawSessions {
        segments: Set,
        announced: Set,
    },
    SawOutcomes {
        segments: Set,
        announced: Set,
        committed: Set,
        ended: Set,
    },
    /// Going to write its list.
    Writes {
        candidates: Set,
    },
    /// A list stands; whose it is.
    Resolves {
        list: usize,
    },
    Waits {
        list: usize,
        open: Set,
    },
    ReReads {
        list: usize,
    },
    ReRead {
        list: usize,
        committed: Set,
    },
    Checks {
        list: usize,
        doomed: Set,
        whole: bool,
    },
    /// `whole`: nothing on the list was spared.
    Deletes {
        list: usize,
        doomed: Set,
        whole: bool,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    store: Store,
    writers: [Writer; 2],
    collectors: [Collector; COLLECTORS],
    forgets_left: u8,
    /// The first writer's segment holds what the second one stores.
    shared: bool,
}

/// A change to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    WriterReadsListsBeforeItIsAnnounced,
    WriterReadsListsAfterTheBackups,
    WriterTakesAnySegmentItFinds,
    WriterDoesNotReadTheLists,
    CommitOverwrites,
    CollectorDoesNotLookForSessions,
    CollectorDoesNotReadAgain,
    ListsGoWithWhatWasSpared,
    CollectorDropsItsListBeforeReadingAgain,
    CollectorTakesSegmentsOfSessionsUnderWay,
    FencesAreRemoved,
    RemovesWithoutOutcome,
    TakesOverWithoutFencing,
    SharesWithWhoIsNotAnnounced,
    RemovesWhatOthersShare,
}

struct Protocol {
    change: Change,
    /// The second writer brings a forgotten backup back.
    undo: bool,
    /// The second writer takes over what the first one wrote, believing it dead.
    resume: bool,
    /// The first writer may store what the second one has to store, in its own segment.
    share: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// A writer goes on; with a choice where it has one.
    Writer(usize, usize),
    /// A collector goes on; with a choice where it has one.
    Collector(usize, usize),
    Forget(usize),
}

impl Protocol {
    fn is(&self, change: Change) -> bool {
        self.change == change
    }

    fn write(&self, state: &mut State, who: usize, choice: usize) -> bool {
        let (me, undo) = (who + 1, self.undo && who == 1);
        let store = &mut state.store;
        let late = self.is(Change::WriterReadsListsAfterTheBackups);
        let blind = self.is(Change::WriterDoesNotReadTheLists);
        let next = match state.writers[who] {
            Writer::Idle if self.is(Change::WriterReadsListsBeforeItIsAnnounced) => {
                Writer::ReadBefore { avoid: store.all_condemned() }
            }
            Writer::Idle => {
                store.announced |= bit(me);
                Writer::Announced { avoid: None }
            }
            Writer::ReadBefore { avoid } => {
                store.announced |= bit(me);
                Writer::Announced { avoid: Some(avoid) }
            }
            Writer::Announced { avoid: None } if late => {
                Writer::Listed { avoid: None, committed: store.committed() }
            }
            Writer::Announced { avoid: None } if blind => Writer::Warned { avoid: 0 },
            Writer::Announced { avoid: None } => Writer::Warned { avoid: store.all_condemned() },
            Writer::Announced { avoid: Some(avoid) } => Writer::Warned { avoid },
            Writer::Warned { avoid } => {
                Writer::Listed { avoid: Some(avoid), committed: store.committed() }
            }
            Writer::Listed { avoid, committed } if undo => {
                Writer::Knows { avoid, choice: committed & store.forgotten }
            }
            Writer::Listed { avoid, committed } => {
                Writer::Knows { avoid, choice: committed & !store.forgotten }
            }
            Writer::Knows { avoid: None, choice } => {
                Writer::Knows { avoid: Some(store.all_condemned()), choice }
            }
            Writer::Knows { avoid: Some(avoid), choice: known } => {
                if self.resume && who == 1 {
                    // Takes over the other writer's segment: fences it first, and only then looks for it.
                    if choice != 0 {
                        return false;
                    }
                    let fenced = has(store.announced, 1) && store.outcomes[1].is_none();
                    if fenced && !self.is(Change::TakesOverWithoutFencing) {
                        store.outcomes[1] = Some(Outcome::Fenced);
                    }
                    let needs = if fenced { bit(1) & !avoid } else { 0 };
                    Writer::Chose { needs }
                } else if self.is(Change::WriterTakesAnySegmentItFinds) && !undo {
                    Writer::Chose { needs: store.segments & !avoid }
                } else if choice < SESSIONS && has(known, choice) {
                    let needs = store.needs(bit(choice));
                    if needs & avoid != 0 {
                        Writer::Chose { needs: 0 }
                    } else {
                        Writer::Chose { needs }
                    }
                } else if choice == SESSIONS {
                    Writer::Chose { needs: 0 }
                } else {
                    return false;
                }
            }
            Writer::Chose { needs } => {
                let there = needs & !store.segments == 0;
                let needs = if there { needs } else { 0 };
                if undo && needs == 0 {
                    Writer::Failed
                } else if undo {
                    Writer::Ready { needs }
                } else {
                    store.segments |= bit(me);
                    Writer::Ready { needs: needs | bit(me) }
                }
            }
            // Gives up instead: only who creates the outcome removes anything.
            Writer::Ready { .. } if choice == 1 => {
                store.announced &= !bit(me);
                if store.outcomes[me].is_none() || self.is(Change::RemovesWithoutOutcome) {
                    store.outcomes[me] = Some(Outcome::Fenced);
                    // What others may name is left to collectors, and the outcome with it.
                    match state.shared && who == 0 && !self.is(Change::RemovesWhatOthersShare) {
                        true => Writer::Failed,
                        false => Writer::GivesUp { removed: false },
                    }
                } else {
                    Writer::Failed
                }
            }
            Writer::GivesUp { removed: false } => {
                store.segments &= !bit(me);
                Writer::GivesUp { removed: true }
            }
            Writer::GivesUp { removed: true } => {
                store.outcomes[me] = None;
                Writer::Failed
            }
            Writer::Ready { needs } => {
                let free = store.outcomes[me].is_none() || self.is(Change::CommitOverwrites);
                if free {
                    store.outcomes[me] = Some(Outcome::Commit(needs));
                }
                store.announced &= !bit(me);
                if free { Writer::Succeeded } else { Writer::Failed }
            }
            Writer::Succeeded | Writer::Failed => return false,
        };
        let stores = matches!(state.writers[who], Writer::Chose { .. });
        let shares = self.share && who == 0 && choice == 1 && stores;
        let chooses = match state.writers[who] {
            Writer::Knows { avoid: Some(_), .. } => true,
            Writer::Chose { .. } => shares,
            Writer::Ready { .. } => choice <= 1,
            _ => false,
        };
        if choice != 0 && !chooses {
            return false;
        }
        state.writers[who] = next;
        !shares || self.take_along(state)
    }

    /// The first writer's segment holds what the second one stores, which waited for that; whether it did.
    fn take_along(&self, state: &mut State) -> bool {
        let there = |needs: Set| if needs & !state.store.segments == 0 { needs } else { 0 };
        let needs = match state.writers[1] {
            Writer::Idle if self.is(Change::SharesWithWhoIsNotAnnounced) => 0,
            Writer::Announced { .. }
            | Writer::Warned { .. }
            | Writer::Listed { .. }
            | Writer::Knows { .. } => 0,
            Writer::Chose { needs } => there(needs),
            _ => return false,
        };
        state.writers[1] = Writer::Ready { needs: needs | bit(1) };
        state.shared = true;
        true
    }

    fn collect(&self, state: &mut State, who: usize, choice: usize) -> bool {
        let store = &mut state.store;
        let only = |next: Collector| if choice == 0 { Some(next) } else { None };
        let next = match state.collectors[who] {
            Collector::Idle if choice == 0 => Collector::SawSegments { segments: store.segments },
            // It goes on with what another one, that may have stopped, began.
            Collector::Idle => match store.condemned.get(choice - 1) {
                Some(Some(_)) => Collector::Resolves { list: choice - 1 },
                _ => return false,
            },
            Collector::SawSegments { segments } => {
                let Some(next) =
                    only(Collector::SawSessions { segments, announced: store.announced })
                else {
                    return false;
                };
                next
            }
            Collector::SawSessions { segments, announced } => {
                let (committed, ended) = (store.committed(), store.ended());
                let Some(next) =
                    only(Collector::SawOutcomes { segments, announced, committed, ended })
                else {
                    return false;
                };
                next
            }
            Collector::SawOutcomes { segments, announced, committed, ended } => {
                if choice != 0 {
                    return false;
                }
                let live = committed & !store.forgotten;
                let mut under_way = announced & !ended;
                if self.is(Change::CollectorTakesSegmentsOfSessionsUnderWay) {
                    under_way = 0;
                }
                let candidates = segments & !store.needs(live) & !under_way;
                if candidates == 0 { Collector::Done } else { Collector::Writes { candidates } }
            }
            Collector::Writes { candidates } => {
                if choice != 0 {
                    return false;
                }
                store.condemned[who] = Some(candidates);
                Collector::Resolves { list: who }
            }
            Collector::Resolves { list } => {
                if choice != 0 {
                    return false;
                }
                if store.condemned[list].is_none() {
                    Collector::Done
                } else if self.is(Change::CollectorDoesNotLookForSessions) {
                    Collector::ReReads { list }
                } else {
                    Collector::Waits { list, open: store.announced & !store.ended() }
                }
            }
            Collector::Waits { list, open } => {
                let left = open & !store.ended();
                if left == 0 {
                    if choice != 0 {
                        return false;
                    }
                    if self.is(Change::CollectorDropsItsListBeforeReadingAgain) {
                        let doomed = store.condemned[list].take().unwrap_or(0);
                        // Goes on with the list in mind alone.
                        Collector::Checks { list: list + 10, doomed, whole: false }
                    } else {
                        Collector::ReReads { list }
                    }
                } else if choice < SESSIONS && has(left, choice) {
                    store.outcomes[choice] = Some(Outcome::Fenced);
                    if self.is(Change::FencesAreRemoved) {
                        // Tidied away at once, as if it were of no use any more.
                        store.outcomes[choice] = None;
                        store.announced &= !bit(choice);
                    }
                    Collector::Waits { list, open: left & !bit(choice) }
                } else {
                    return false;
                }
            }
            Collector::ReReads { list } => {
                if choice != 0 {
                    return false;
                }
                if self.is(Change::CollectorDoesNotReadAgain) {
                    let doomed = store.condemned[list].unwrap_or(0);
                    Collector::Checks { list, doomed, whole: true }
                } else {
                    Collector::ReRead { list, committed: store.committed() }
                }
            }
            Collector::ReRead { list, committed } => {
                if choice != 0 {
                    return false;
                }
                let needed = store.needs(committed & !store.forgotten);
                // The names on the list were read when it was seen to stand.
                let condemned = store.condemned[list].unwrap_or(0);
                let doomed = condemned & !needed;
                Collector::Checks { list, doomed, whole: doomed == condemned }
            }
            Collector::Checks { list, doomed, whole } => {
                if choice != 0 {
                    return false;
                }
                if list >= 10 {
                    let needed = store.needs(store.committed() & !store.forgotten);
                    Collector::Deletes { list, doomed: doomed & !needed, whole: false }
                } else {
                    Collector::Deletes { list, doomed, whole }
                }
            }
            Collector::Deletes { list, doomed, whole } => {
                if doomed == 0 {
                    if choice != 0 {
                        return false;
                    }
                    if list < 10 && (whole || self.is(Change::ListsGoWithWhatWasSpared)) {
                        store.condemned[list] = None;
                    }
                    Collector::Done
                } else if choice < SESSIONS && has(doomed, choice) {
                    store.segments &= !bit(choice);
                    Collector::Deletes { list, doomed: doomed & !bit(choice), whole }
                } else {
                    return false;
                }
            }
            Collector::Done => return false,
        };
        state.collectors[who] = next;
        true
    }

    fn apply(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let done = match action {
            Action::Writer(who, choice) => self.write(&mut next, who, choice),
            Action::Collector(who, choice) => self.collect(&mut next, who, choice),
            Action::Forget(session) => {
                let live = next.store.committed() & !next.store.forgotten;
                let may = next.forgets_left > 0 && has(live, session);
                if may {
                    next.forgets_left -= 1;
                    next.store.forgotten |= bit(session);
                }
                may
            }
        };
        done.then_some(next)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut outcomes = [None; SESSIONS];
        outcomes[0] = Some(Outcome::Commit(bit(0)));
        let store = Store {
            announced: 0,
            outcomes,
            forgotten: 0,
            segments: bit(0),
            condemned: [None; COLLECTORS],
        };
        vec![State {
            store,
            writers: [Writer::Idle; 2],
            collectors: [Collector::Idle; COLLECTORS],
            forgets_left: 2,
            shared: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let all =
            (0..2)
                .flat_map(|who| (0..=SESSIONS).map(move |choice| Action::Writer(who, choice)))
                .chain((0..COLLECTORS).flat_map(|who| {
                    (0..=SESSIONS).map(move |choice| Action::Collector(who, choice))
                }))
                .chain((0..SESSIONS).map(Action::Forget));
        actions.extend(all.filter(|action| self.apply(state, *action).is_some()));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.apply(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a backup has all its segments", |_, state: &State| {
                let live = state.store.committed() & !state.store.forgotten;
                state.store.needs(live) & !state.store.segments == 0
            }),
            Property::always("a success that was told is a backup", |_, state: &State| {
                let told = |who: &usize| state.writers[*who] == Writer::Succeeded;
                let is = |who: usize| has(state.store.committed(), who + 1);
                (0..2).filter(told).all(is)
            }),
            Property::sometimes("what nobody needs is freed", |_, state: &State| {
                state.store.segments & bit(0) == 0
            }),
            Property::sometimes("a sleeper is fenced", |_, state: &State| {
                state.store.outcomes.contains(&Some(Outcome::Fenced))
            }),
            Property::sometimes("what is condemned is spared", |_, state: &State| {
                let needed = state.store.needs(state.store.committed() & !state.store.forgotten);
                needed & state.store.all_condemned() != 0
            }),
            Property::sometimes("both writers succeed", |_, state: &State| {
                state.writers == [Writer::Succeeded; 2]
            }),
        ]
    }
}

fn lost(change: Change, undo: bool, resume: bool) -> bool {
    loses(Protocol { change, undo, resume, share: false })
}

fn loses(protocol: Protocol) -> bool {
    let checker = protocol.checker().spawn_bfs().join();
    checker.discovery("a backup has all its segments").is_some()
        || checker.discovery("a success that was told is a backup").is_some()
}

#[test]
fn nothing_is_lost_in_any_interleaving() {
    let stories =
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true)];
    for (undo, resume, share) in stories {
        let protocol = Protocol { change: Change::None, undo, resume, share };
        let checker = protocol.checker().spawn_bfs().join();
        let states = checker.unique_state_count();
        eprintln!("undo {undo}, resume {resume}, share {share}: {states} states");
        checker.assert_no_discovery("a backup has all its segments");
        checker.assert_no_discovery("a success that was told is a backup");
        let seen =
            ["what nobody needs is freed", "a sleeper is fenced", "what is condemned is spared"];
        for sometimes in seen {
            checker.assert_any_discovery(sometimes);
        }
        if !resume {
            checker.assert_any_discovery("both writers succeed");
        }
    }
}

#[test]
fn every_step_is_needed() {
    let changes = [
        Change::WriterReadsListsBeforeItIsAnnounced,
        Change::WriterDoesNotReadTheLists,
        Change::CommitOverwrites,
        Change::CollectorDoesNotLookForSessions,
        Change::CollectorDoesNotReadAgain,
        Change::ListsGoWithWhatWasSpared,
        Change::CollectorDropsItsListBeforeReadingAgain,
        Change::FencesAreRemoved,
        Change::WriterTakesAnySegmentItFinds,
    ];
    for change in changes {
        assert!(
            lost(change, false, false) || lost(change, true, false),
            "{change:?} harms nothing"
        );
    }
}

#[test]
fn taking_over_needs_the_fence_and_giving_up_the_outcome() {
    for change in [Change::TakesOverWithoutFencing, Change::RemovesWithoutOutcome] {
        assert!(lost(change, false, true), "{change:?} harms nothing");
    }
}

#[test]
fn sharing_needs_the_announcement_and_what_is_shared_stays() {
    for change in [Change::SharesWithWhoIsNotAnnounced, Change::RemovesWhatOthersShare] {
        let protocol = Protocol { change, undo: false, resume: false, share: true };
        assert!(loses(protocol), "{change:?} harms nothing");
    }
}

/// Not everything matters. As a list stands until all on it is gone, a writer may read the lists before or after
/// it reads which backups there are. That a collector lists nothing of sessions under way only saves work.
#[test]
fn some_changes_do_no_harm() {
    let changes =
        [Change::WriterReadsListsAfterTheBackups, Change::CollectorTakesSegmentsOfSessionsUnderWay];
    for change in changes {
        for undo in [false, true] {
            assert!(!lost(change, undo, false), "{change:?}");
        }
    }
}
