//! A file of JSON lines that is added to for ever: the oldest go when it grows too long. Several processes may write to it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::durable;

/// When it is longer, its older half goes.
pub(super) const MAX_LEN: u64 = 8 << 20;

/// A file of JSON lines.
#[derive(Debug, Clone)]
pub(super) struct JsonLines(PathBuf);

impl JsonLines {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Adds lines, which end with a line feed each. After a crash the last one may be cut short; it is left out when read, and ended before
    /// the next one.
    pub(super) fn add(&self, mut lines: Vec<u8>) -> io::Result<()> {
        let _lock = durable::lock(&self.0)?;
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.0)?;
        let len = file.metadata()?.len();
        if len > 0 {
            file.seek(SeekFrom::Start(len - 1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                lines.insert(0, b'\n');
            }
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        if len > MAX_LEN { self.cut(&mut file, len) } else { Ok(()) }
    }

    /// Leaves the newer half.
    fn cut(&self, file: &mut File, len: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(len / 2))?;
        let mut kept = Vec::new();
        file.read_to_end(&mut kept)?;
        let start = kept.iter().position(|byte| *byte == b'\n').map_or(kept.len(), |end| end + 1);
        durable::replace(&self.0, kept.get(start..).unwrap_or_default())
    }

    /// Gives each line to `each`, oldest first. What is none of theirs is passed over; a file that is not there is empty.
    pub(super) fn read<T: DeserializeOwned>(&self, mut each: impl FnMut(T)) -> io::Result<()> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut reader = BufReader::new(file.take(4 * MAX_LEN));
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if let Ok(record) = serde_json::from_slice(&line) {
                each(record);
            }
        }
    }

    /// The newest of those that fit, so many at most, oldest first.
    pub(super) fn newest<T: DeserializeOwned>(
        &self,
        limit: usize,
        fits: impl Fn(&T) -> bool,
    ) -> io::Result<VecDeque<T>> {
        let mut newest = VecDeque::new();
        self.read(|record| {
            if fits(&record) {
                newest.push_back(record);
                if newest.len() > limit {
                    newest.pop_front();
                }
            }
        })?;
        Ok(newest)
    }
}
