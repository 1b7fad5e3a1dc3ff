//! One place that chooses between the standard library's synchronisation and shuttle's, which tries out interleavings.

use std::time::Duration;

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Arc, Condvar, Mutex, MutexGuard, RwLock,
    mpsc::{Receiver, Sender, channel},
};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::Builder;
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, RwLock,
    mpsc::{Receiver, Sender, channel},
};
#[cfg(not(shuttle))]
pub(crate) use std::thread::Builder;

/// Waits until the other end is dropped; whether so much time passed before.
#[cfg(not(shuttle))]
pub(crate) fn outlasts(other_end: &Receiver<()>, timeout: Duration) -> bool {
    other_end.recv_timeout(timeout) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
}

/// Shuttle has no time: whether it passes is chance, and it may do so at any moment.
#[cfg(shuttle)]
pub(crate) fn outlasts(other_end: &Receiver<()>, _timeout: Duration) -> bool {
    use shuttle::rand::Rng;
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..8) {
        if other_end.try_recv() == Err(shuttle::sync::mpsc::TryRecvError::Disconnected) {
            return false;
        }
        shuttle::thread::yield_now();
    }
    if shuttle::rand::thread_rng().gen_bool(0.5) {
        return true;
    }
    let _ = other_end.recv();
    false
}
