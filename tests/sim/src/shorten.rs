//! Makes a failing history short: what is left is what it takes to fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::history::Plan;

/// Lives a history, and panics where it fails.
pub type Live<'a> = &'a dyn Fn(&Plan);

fn fails(live: Live<'_>, plan: &Plan) -> bool {
    catch_unwind(AssertUnwindSafe(|| live(plan))).is_err()
}

/// More disturbances than there can be: a step has six at most.
const fn most(steps: u64) -> u64 {
    6 * steps
}

/// A history that still fails, as short as was found: the first steps of it, then without each disturbance that it fails without. One
/// that is left out changes all that chance decides after it, so the last ones are tried first.
fn shortest(mut plan: Plan, live: Live<'_>) -> Plan {
    let (mut fine, mut failing) = (0, plan.steps);
    while fine + 1 < failing {
        let middle = fine + (failing - fine) / 2;
        let shorter = Plan { steps: middle, ..plan.clone() };
        if fails(live, &shorter) { failing = middle } else { fine = middle }
    }
    plan.steps = failing;
    let mut last = most(plan.steps);
    while last > 0 {
        let mut without = plan.clone();
        without.spared.insert(last);
        if fails(live, &without) {
            plan = without;
        }
        last -= 1;
    }
    plan
}

/// Finds the shortest failing history, and lives it, so that it tells its story.
///
/// # Panics
/// Always: it failed.
pub fn tell(plan: &Plan, live: Live<'_>) {
    let hook = std::panic::take_hook();
    // What fails on the way is told by nobody.
    std::panic::set_hook(Box::new(|_| {}));
    let shortest = shortest(plan.clone(), live);
    std::panic::set_hook(hook);
    let Plan { seed, steps, spared } = &shortest;
    let left: Vec<u64> = (1..=most(*steps)).filter(|number| !spared.contains(number)).collect();
    eprintln!(
        "seed {seed} fails; so it does in {steps} steps of {}, with no disturbances but {left:?}:",
        plan.steps
    );
    live(&shortest);
    panic!("seed {seed} failed, and did not again: what it does is not told by its seed alone");
}

#[test]
fn what_has_no_part_in_it_is_left_out() {
    // Fails from step 40 on, if disturbances 3 and 7 both happen, of ten.
    let live = |plan: &Plan| {
        let happens = |number| !plan.spared.contains(&number);
        assert!(!(plan.steps >= 40 && happens(3) && happens(7)));
    };
    let short = shortest(Plan { seed: 1, steps: 300, ..Plan::default() }, &live);
    assert_eq!(short.steps, 40);
    let left: Vec<u64> = (1..=10).filter(|number| !short.spared.contains(number)).collect();
    assert_eq!(left, [3, 7]);
}

#[test]
fn a_seed_tells_one_history() {
    for seed in [4, 5, 7, 10] {
        let plan = Plan { seed, steps: 300, ..Plan::default() };
        assert_eq!(crate::history::live(&plan), crate::history::live(&plan), "seed {seed}");
    }
}

#[test]
fn a_real_history_without_its_disturbances_is_still_one() {
    let plan = Plan { seed: 5, steps: 200, ..Plan::default() };
    let told = crate::history::live(&plan);
    assert!(told.faults + told.crashes > 0);
    let told = crate::history::live(&Plan { spared: (1..1000).collect(), ..plan });
    assert_eq!((told.faults, told.crashes, told.wrong_clocks), (0, 0, 0));
}
