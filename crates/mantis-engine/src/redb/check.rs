//! redb's own check of a restored file, without changing it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use mantis_snapshot::SnapshotError;
use redb::{Builder, StorageBackend};

const BLOCK: u64 = 4096;

/// A file under what was written to it, which stays in memory.
#[derive(Debug)]
struct Overlay {
    file: File,
    written: Mutex<(u64, BTreeMap<u64, Vec<u8>>)>,
}

impl Overlay {
    fn block(&self, written: &BTreeMap<u64, Vec<u8>>, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = written.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize];
        mantis_cow::LiveFile::read_at(&self.file, number * BLOCK, &mut block)?;
        Ok(block)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.saturating_add(out.len() as u64) > state.0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if state.1.range(offset / BLOCK..=(offset + out.len() as u64) / BLOCK).next().is_none() {
            return self.file.read_exact_at(out, offset);
        }
        let mut at = 0;
        while at < out.len() {
            let byte_at = offset + at as u64;
            let block = self.block(&state.1, byte_at / BLOCK)?;
            let from = (byte_at % BLOCK) as usize;
            let count = (block.len() - from).min(out.len() - at);
            out[at..at + count].copy_from_slice(&block[from..from + count]);
            at += count;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).0 = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        while at < data.len() {
            let byte_at = offset + at as u64;
            let mut block = self.block(&state.1, byte_at / BLOCK)?;
            let from = (byte_at % BLOCK) as usize;
            let count = (block.len() - from).min(data.len() - at);
            block[from..from + count].copy_from_slice(&data[at..at + count]);
            state.1.insert(byte_at / BLOCK, block);
            at += count;
        }
        Ok(())
    }
}

/// Opens a file as redb would, checks every table, and changes nothing: what redb writes while it does
/// that stays in memory.
///
/// # Errors
/// What redb finds.
pub fn check_database(path: &Path) -> Result<(), SnapshotError> {
    let fail =
        |error: mantis_snapshot::BoxError| SnapshotError::engine("check", path.display(), error);
    let file = File::open(path).map_err(|error| fail(error.into()))?;
    let len = file.metadata().map_err(|error| fail(error.into()))?.len();
    let overlay = Overlay { file, written: Mutex::new((len, BTreeMap::new())) };
    let mut database =
        Builder::new().create_with_backend(overlay).map_err(|error| fail(error.into()))?;
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err(fail("redb had to repair it".into())),
        Err(error) => Err(fail(error.into())),
    }
}
