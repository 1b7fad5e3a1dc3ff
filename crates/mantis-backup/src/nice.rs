//! Giving way to a database's own threads and processes, for the processor and for disks.

use ioprio::{BePriorityLevel, Class, Pid, Priority, Target};

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

/// Has the calling thread give way to others from here on, for the processor and for disks. For an application that backs up a
/// database which it writes itself: backups compress on every core, and take what its own threads would have had. Run them on a
/// runtime of their own:
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .on_thread_start(mantis_backup::give_way)
///     .enable_all()
///     .build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn give_way() {
    nice_at_least(USUAL.into());
    io_class(Class::BestEffort(BePriorityLevel::lowest()));
}
