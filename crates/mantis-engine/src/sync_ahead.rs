//! Syncing a file while more of it is written, so that the sync at its end finds little left to do.
//!
//! A kernel begins to write dirty pages by itself only after seconds, or when there are many. Whoever writes a large file and syncs it then
//! waits twice: for the processor, and after that for the disk.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Bytes written between two syncs, at least.
const STEP: u64 = 64 << 20;

/// Syncs a file in the background while it is written: one sync at a time, another one once enough was written since.
#[derive(Debug, Default)]
pub(crate) struct SyncAhead {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    running: Option<JoinHandle<io::Result<()>>>,
    /// The kernel tells a failed write once: who hears of it here must pass it on, for the last sync may succeed.
    failed: Option<io::Error>,
}

impl State {
    /// Waits for the sync that runs.
    fn join(&mut self) {
        let Some(running) = self.running.take() else { return };
        let synced = running
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread that synced it panicked")));
        if let Err(error) = synced {
            self.failed.get_or_insert(error);
        }
    }
}

impl SyncAhead {
    /// To be told of each write.
    pub(crate) fn wrote(&self, file: &File, len: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written += len;
        if state.written < STEP || state.running.as_ref().is_some_and(|sync| !sync.is_finished()) {
            return;
        }
        state.join();
        // Without a thread, or a second handle, it is all left to the sync at the end.
        let Ok(file) = file.try_clone() else { return };
        let sync = std::thread::Builder::new().name("sync".into()).spawn(move || file.sync_data());
        state.running = sync.ok();
        state.written = 0;
    }

    /// Waits until no sync runs: one holds its own handle of the file, and with it the file's lock.
    ///
    /// # Errors
    /// Why one failed: what was written before it may be lost, whatever a later sync says.
    pub(crate) fn end(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.join();
        state.failed.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn syncs_once_enough_is_written_and_passes_failures_on() {
        let file = tempfile::tempfile().unwrap();
        let ahead = SyncAhead::default();
        file.write_all_at(b"some", 0).unwrap();
        ahead.wrote(&file, STEP - 1);
        assert!(ahead.state.lock().unwrap().running.is_none());
        ahead.wrote(&file, 1);
        assert!(ahead.state.lock().unwrap().running.is_some());
        ahead.end().unwrap();
        // What cannot be synced.
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = File::from(std::os::fd::OwnedFd::from(socket));
        ahead.wrote(&socket, STEP);
        ahead.wrote(&file, STEP);
        let again = ahead.end();
        assert!(again.is_err(), "a sync that succeeds later does not hide it");
        ahead.end().unwrap();
    }
}
