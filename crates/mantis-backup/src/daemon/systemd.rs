//! What systemd is told, where it started the daemon (`sd_notify(3)`). Elsewhere nobody listens.

use sd_notify::NotifyState;

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd is not told");
    }
}

/// The daemon is up.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Its loop turns.
pub(super) fn beat() {
    tell(&[NotifyState::Watchdog]);
}

/// It reads its configuration again; [`ready`] ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd is not told"),
    }
}

/// It stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}
