//! Giving way for the processor.

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
