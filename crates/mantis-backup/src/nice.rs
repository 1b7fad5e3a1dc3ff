//! Giving way to a database's own threads and processes, for the processor and for disks.

use std::sync::OnceLock;

use ioprio::{BePriorityLevel, Class, Pid, Priority, Target};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How much is given way where nobody says how much.
pub(crate) const USUAL: u8 = 10;

/// Gives the calling thread this niceness, unless it has more. Threads inherit it from those that start them: to add to it in each
/// would add up. A system that refuses is no reason to fail.
pub(crate) fn nice_at_least(wanted: i32) {
    // On Linux each thread has its own; `None` is the calling one.
    let now = rustix::process::getpriority_process(None).unwrap_or(0);
    if now < wanted
        && let Err(error) = rustix::process::setpriority_process(None, wanted)
    {
        tracing::debug!(%error, "the processor's priority stays as it is");
    }
}

/// Gives the calling thread a class for disks. A system that refuses is no reason to fail.
pub(crate) fn io_class(class: Class) {
    // 0: the calling thread.
    let target = Target::Process(Pid::from_raw(0));
    if let Err(error) = ioprio::set_priority(target, Priority::new(class)) {
        tracing::debug!(%error, "the disks' priority stays as it is");
    }
}

/// Has the calling thread come after others' from here on, as is usual for a command beside a database.
#[cfg(feature = "cli")]
pub(crate) fn come_after() {
    nice_at_least(USUAL.into());
    io_class(Class::BestEffort(BePriorityLevel::lowest()));
}

/// All cores but the first of those that this process may use; none where it may use one, or that is not known.
fn all_but_one_core() -> Option<CpuSet> {
    // Asked once, and of whoever asks first: threads inherit it, and each would give up one core more.
    static CORES: OnceLock<Option<CpuSet>> = OnceLock::new();
    let of_process = || {
        let mut cores = sched_getaffinity(None).ok()?;
        let first = (0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core))?;
        cores.unset(first);
        (cores.count() > 0).then_some(cores)
    };
    *CORES.get_or_init(of_process)
}

/// Has the calling thread give way to the application's own from here on: by the lowest priority for the processor, a low one for
/// disks, and off one core, which is left to the others, where there are more. For an application that backs up a database which it
/// writes itself: backups compress on every core, and a thread that slept, as a writer does at each sync, is not at once given a core that
/// another one has just begun to use. Run them on a runtime of their own, and give way on the thread that waits for it, too:
///
/// ```
/// std::thread::spawn(|| {
///     mantis_backup::give_way();
///     let runtime = tokio::runtime::Builder::new_multi_thread()
///         .on_thread_start(mantis_backup::give_way)
///         .enable_all()
///         .build()?;
///     runtime.block_on(async { /* the backup */ });
///     Ok::<(), std::io::Error>(())
/// });
/// ```
///
/// A system that refuses any of it is no reason to fail. Where other threads want all of every core, such a backup takes very long; what
/// the application changes meanwhile takes memory, or a place in the spill file.
pub fn give_way() {
    nice_at_least(19);
    io_class(Class::BestEffort(BePriorityLevel::lowest()));
    if let Some(cores) = all_but_one_core()
        && let Err(error) = sched_setaffinity(None, &cores)
    {
        tracing::debug!(%error, "no core is left to others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_others_started_give_way_no_further() {
        let of_thread = || {
            give_way();
            let cores = sched_getaffinity(None).unwrap();
            (rustix::process::nice(0).unwrap(), cores.count())
        };
        // Not the test's own thread: what was given away is not had back.
        let before = sched_getaffinity(None).unwrap().count();
        let both = std::thread::spawn(move || {
            let first = of_thread();
            (first, std::thread::spawn(of_thread).join().unwrap())
        });
        let expected = (19, if before > 1 { before - 1 } else { 1 });
        assert_eq!(both.join().unwrap(), (expected, expected));
    }
}
