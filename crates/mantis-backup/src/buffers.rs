//! Read buffers that are used again: fresh memory for every batch would cost more in page faults than
//! reading it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept, at most: those of the runs in flight come back one by one.
const KEPT: usize = 64;

/// Buffers of one length.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    len: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct Pooled {
    buffer: Vec<u8>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Buffers {
    pub(crate) fn new(len: usize) -> Self {
        Self { len, free: Arc::default() }
    }

    /// `len` bytes that `fill` writes; the buffer comes back when the last of them is dropped.
    pub(crate) fn filled<E>(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = free.unwrap_or_else(|| vec![0; self.len]);
        let len = len.min(self.len);
        fill(&mut buffer[..len])?;
        Ok(Bytes::from_owner(Pooled { buffer, free: Arc::clone(&self.free) }).slice(..len))
    }
}
