//! Members that live, die, sleep and come back by chance: no two protect one database, and in the end each is protected.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

/// What a member does in one turn, one step after the other, so that others can do theirs in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Stop,
    Tell,
    /// What it tells is on its way since then.
    Land(Duration),
}

struct Member {
    membership: Membership,
    number: u64,
    names: Names,
    protects: BTreeSet<String>,
    /// What it is to protect, the view that it tells of once it protects no more, and the names that it tells of.
    next: (BTreeSet<String>, View, Names),
    step: Step,
    alive: bool,
}

#[derive(Default)]
struct World {
    now: Duration,
    store: BTreeMap<MemberId, Heard>,
    members: Vec<Member>,
    born: u8,
}

fn names(all: impl IntoIterator<Item = u8>) -> Names {
    Names::new(all.into_iter().map(|n| format!("d{n}")).collect())
}

impl World {
    fn id(&mut self) -> MemberId {
        self.born += 1;
        MemberId([self.born; 16])
    }

    fn join(&mut self, names: Names) {
        let membership = Membership::new(self.id(), LEASE);
        let (protects, next) = (BTreeSet::new(), (BTreeSet::new(), View::new(), names.clone()));
        // It tells of itself before it looks.
        self.members.push(Member {
            membership,
            number: 0,
            names,
            protects,
            next,
            step: Step::Tell,
            alive: true,
        });
    }

    /// A member's next step.
    fn go_on(&mut self, at: usize) {
        let now = self.now;
        let count = self.members.len();
        let id = self.born + 1;
        let Some(member) = self.members.get_mut(at % count.max(1)).filter(|member| member.alive)
        else {
            return;
        };
        // Whose lease has ended comes back as another one.
        if member.membership.until().is_some() && !member.membership.is_valid(now) {
            member.protects.clear();
            self.born = id;
            member.membership = Membership::new(MemberId([id; 16]), LEASE);
            (member.number, member.step) = (0, Step::Tell);
            member.next = (BTreeSet::new(), View::new(), member.names.clone());
            return;
        }
        match member.step {
            Step::Look => {
                let mut all = self.store.clone();
                all.remove(&member.membership.me);
                member.membership.hear(now, all);
                let owned = member.membership.owned(now);
                member.next = (owned, member.membership.view(now), member.names.clone());
                member.step = Step::Stop;
            }
            Step::Stop => {
                let still = member.next.0.intersection(&member.names.names);
                member.protects = still.cloned().collect();
                // What it then tells that it has is at least what it protects.
                member.next.2 = member.names.clone();
                member.step = Step::Tell;
            }
            Step::Tell => {
                member.number += 1;
                member.membership.tells(member.number, member.next.2.clone());
                member.step = Step::Land(now);
            }
            Step::Land(began) => {
                let (_, view, names) = member.next.clone();
                let heard = Heard { number: member.number, names: names.clone(), view };
                self.store.insert(member.membership.me, heard);
                member.membership.told(member.number, began, now);
                member.step = Step::Look;
            }
        }
    }

    /// Time passes: who holds a lease that ends stops by its own clock.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for member in &mut self.members {
            if !member.membership.is_valid(self.now) {
                member.protects.clear();
            }
        }
    }

    fn prove(&self) -> Result<(), TestCaseError> {
        let mut seen = BTreeSet::new();
        for member in self.members.iter().filter(|member| member.alive) {
            for name in &member.protects {
                prop_assert!(seen.insert(name), "{name} is protected twice");
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Event {
    Step(usize),
    Pass(u64),
    Join(Vec<u8>),
    Die(usize),
    Leave(usize),
    Has(usize, Vec<u8>),
}

fn any_event() -> impl Strategy<Value = Event> {
    let some = || prop::collection::vec(0..6u8, 0..5);
    prop_oneof![
        30 => (0..8usize).prop_map(Event::Step),
        6 => (0..12_000u64).prop_map(Event::Pass),
        2 => some().prop_map(Event::Join),
        1 => (0..8usize).prop_map(Event::Die),
        1 => (0..8usize).prop_map(Event::Leave),
        1 => (0..8usize, some()).prop_map(|(at, has)| Event::Has(at, has)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn no_two_protect_one_database_and_each_is_protected_in_the_end(
        events in prop::collection::vec(any_event(), 1..400),
    ) {
        let mut world = World::default();
        world.join(names(0..4));
        world.join(names(2..6));
        for event in events {
            let count = world.members.len().max(1);
            match event {
                Event::Step(at) => world.go_on(at),
                Event::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Event::Join(has) if world.members.len() < 8 && world.born < 200 => world.join(names(has)),
                Event::Join(_) => {}
                Event::Die(at) => {
                    if let Some(member) = world.members.get_mut(at % count) {
                        member.alive = false;
                        member.protects.clear();
                    }
                }
                Event::Leave(at) => {
                    if let Some(member) = world.members.get_mut(at % count) {
                        member.alive = false;
                        member.protects.clear();
                        let me = member.membership.me;
                        world.store.remove(&me);
                    }
                }
                Event::Has(at, has) => {
                    if let Some(member) = world.members.get_mut(at % count) {
                        member.names = names(has);
                        let has = member.names.names.clone();
                        member.protects.retain(|name| has.contains(name));
                    }
                }
            }
            world.prove()?;
        }
        // Left alone, they settle: what anybody has is protected.
        for _ in 0..24 {
            world.pass(LEASE / 6);
            for at in 0..world.members.len() {
                for _ in 0..4 {
                    world.go_on(at);
                    world.prove()?;
                }
            }
        }
        let alive = world.members.iter().filter(|member| member.alive);
        let wanted: BTreeSet<&String> = alive.clone().flat_map(|member| &*member.names.names).collect();
        let protected: BTreeSet<&String> = alive.flat_map(|member| &member.protects).collect();
        prop_assert_eq!(wanted, protected);
    }
}

#[test]
fn who_is_alone_begins_with_its_second_look() {
    let mut world = World::default();
    world.join(names(0..6));
    (0..4).for_each(|_| world.go_on(0));
    assert_eq!(world.members[0].protects.len(), 6);
}

#[test]
fn databases_are_spread_and_those_of_one_that_stays_stay() {
    let mut world = World::default();
    let all = names(0..200);
    (0..3).for_each(|_| world.join(all.clone()));
    let settle = |world: &mut World| {
        for _ in 0..12 {
            world.pass(LEASE / 6);
            (0..3).for_each(|at| (0..4).for_each(|_| world.go_on(at)));
        }
    };
    settle(&mut world);
    let before: Vec<BTreeSet<String>> =
        world.members.iter().map(|member| member.protects.clone()).collect();
    assert!(before.iter().all(|some| (30..110).contains(&some.len())), "{before:?}");
    world.members[1].alive = false;
    settle(&mut world);
    for at in [0, 2] {
        assert!(world.members[at].protects.is_superset(&before[at]));
    }
    assert_eq!(world.members[0].protects.len() + world.members[2].protects.len(), 200);
}
