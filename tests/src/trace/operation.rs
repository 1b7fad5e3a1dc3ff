//! System calls on files, decoded from registers, memory and what `/proc` says of a stopped thread.
//!
//! Numbers and arguments are those of Linux on x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`).

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::libc;

/// The longest path that is read from a process.
const MAX_PATH: usize = 4096;

/// What a call does to files. Paths are absolute, as they were when the call was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file is opened; created where it is not there, or emptied, as far as asked for.
    Open {
        /// Which.
        path: PathBuf,
        /// Made where it is not there.
        create: bool,
        /// Emptied.
        truncate: bool,
    },
    /// Bytes of a file are read.
    Read {
        /// Of which.
        path: PathBuf,
    },
    /// The names in a folder are read, or what is known of a file.
    Look {
        /// At which.
        path: PathBuf,
    },
    /// Bytes are written.
    Write {
        /// To which file.
        path: PathBuf,
        /// From where on; `None` at its end.
        at: Option<u64>,
    },
    /// A file gets another length.
    Resize {
        /// Which.
        path: PathBuf,
        /// How long it becomes.
        len: u64,
    },
    /// What was written to a file, or the names in a folder, become durable.
    Sync {
        /// Which.
        path: PathBuf,
    },
    /// A name is replaced by another, or exchanged for nothing that was there.
    Rename {
        /// Its old name.
        from: PathBuf,
        /// Its new one.
        to: PathBuf,
    },
    /// A file gets a second name.
    Link {
        /// One it has.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// A file loses a name.
    Unlink {
        /// Which.
        path: PathBuf,
    },
    /// A folder is made.
    MakeFolder {
        /// Which.
        path: PathBuf,
    },
    /// A folder is removed.
    RemoveFolder {
        /// Which.
        path: PathBuf,
    },
}

/// What an operation that succeeded did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The operation.
    pub operation: Operation,
    /// What it wrote, and where.
    pub written: Option<(u64, Vec<u8>)>,
}

impl Operation {
    /// The files that it is about.
    #[must_use]
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Rename { from, to } | Self::Link { from, to } => vec![from, to],
            Self::Open { path, .. }
            | Self::Read { path }
            | Self::Look { path }
            | Self::Write { path, .. }
            | Self::Resize { path, .. }
            | Self::Sync { path }
            | Self::Unlink { path }
            | Self::MakeFolder { path }
            | Self::RemoveFolder { path } => vec![path],
        }
    }

    /// Whether it leaves everything as it is.
    #[must_use]
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Look { .. }
                | Self::Open { create: false, truncate: false, .. }
        )
    }
}

/// A thread that is stopped at a call.
pub(super) struct Stopped {
    pub(super) thread: i32,
    pub(super) number: u64,
    pub(super) arguments: [u64; 6],
}

impl Stopped {
    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.thread))
    }

    /// The file that a descriptor leads to; `None` for what has no path.
    pub(super) fn file(&self, descriptor: u64) -> Option<PathBuf> {
        let path = std::fs::read_link(self.proc(&format!("fd/{}", descriptor as i32))).ok()?;
        path.is_absolute().then_some(path)
    }

    /// The file as that descriptor has it, for looking at.
    pub(super) fn open(&self, descriptor: u64) -> Option<File> {
        File::open(self.proc(&format!("fd/{}", descriptor as i32))).ok()
    }

    fn text(&self, address: u64) -> Option<Vec<u8>> {
        let memory = File::open(self.proc("mem")).ok()?;
        let mut text = Vec::new();
        while text.len() < MAX_PATH {
            // Not beyond a page, the one behind which may not be there.
            let at = address + text.len() as u64;
            let mut piece = vec![0; (256 - at % 256) as usize];
            let read = memory.read_at(&mut piece, at).ok().filter(|read| *read > 0)?;
            match piece[..read].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    text.extend_from_slice(&piece[..end]);
                    return Some(text);
                }
                None => text.extend_from_slice(&piece[..read]),
            }
        }
        None
    }

    /// The path that two arguments name: a folder's descriptor, and a path that may begin there.
    fn path(&self, folder: u64, address: u64) -> Option<PathBuf> {
        let text = PathBuf::from(OsString::from_vec(self.text(address)?));
        if text.is_absolute() {
            return Some(tidy(&text));
        }
        let folder = if folder as i32 == libc::AT_FDCWD {
            std::fs::read_link(self.proc("cwd")).ok()?
        } else {
            self.file(folder)?
        };
        Some(tidy(&folder.join(text)))
    }

    /// Where the next plain write to a descriptor goes; `None` for the file's end.
    fn position(&self, descriptor: u64) -> Option<u64> {
        let info = std::fs::read_to_string(self.proc(&format!("fdinfo/{}", descriptor as i32)));
        let info = info.unwrap_or_default();
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).map(str::to_owned)
        };
        let flags = i32::from_str_radix(&field("flags:")?, 8).ok()?;
        if flags & libc::O_APPEND != 0 { None } else { field("pos:")?.parse().ok() }
    }

    /// What the call is about to do to files; `None` for all others.
    pub(super) fn decode(&self) -> Option<Operation> {
        let [a, b, c, d, _, _] = self.arguments;
        let here = libc::AT_FDCWD as u64;
        let open = |path, flags: u64| {
            let flags = flags as i32;
            let (create, truncate) = (flags & libc::O_CREAT != 0, flags & libc::O_TRUNC != 0);
            Operation::Open { path, create, truncate }
        };
        Some(match self.number as i64 {
            libc::SYS_open => open(self.path(here, a)?, b),
            libc::SYS_openat => open(self.path(a, b)?, c),
            libc::SYS_creat => {
                Operation::Open { path: self.path(here, a)?, create: true, truncate: true }
            }
            libc::SYS_read | libc::SYS_readv | libc::SYS_pread64 | libc::SYS_preadv => {
                Operation::Read { path: self.file(a)? }
            }
            libc::SYS_getdents64 | libc::SYS_fstat => Operation::Look { path: self.file(a)? },
            libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_readlink => {
                Operation::Look { path: self.path(here, a)? }
            }
            libc::SYS_newfstatat | libc::SYS_statx => {
                let empty = self.text(b).is_none_or(|text| text.is_empty());
                let path = if empty { self.file(a)? } else { self.path(a, b)? };
                Operation::Look { path }
            }
            libc::SYS_write | libc::SYS_writev => {
                Operation::Write { path: self.file(a)?, at: self.position(a) }
            }
            libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 => {
                Operation::Write { path: self.file(a)?, at: Some(d) }
            }
            libc::SYS_sendfile => Operation::Write { path: self.file(a)?, at: self.position(a) },
            libc::SYS_copy_file_range => {
                Operation::Write { path: self.file(c)?, at: self.position(c) }
            }
            libc::SYS_ftruncate => Operation::Resize { path: self.file(a)?, len: b },
            libc::SYS_truncate => Operation::Resize { path: self.path(here, a)?, len: b },
            libc::SYS_fallocate => Operation::Resize { path: self.file(a)?, len: c + d },
            libc::SYS_fsync | libc::SYS_fdatasync => Operation::Sync { path: self.file(a)? },
            libc::SYS_rename => {
                Operation::Rename { from: self.path(here, a)?, to: self.path(here, b)? }
            }
            libc::SYS_renameat | libc::SYS_renameat2 => {
                Operation::Rename { from: self.path(a, b)?, to: self.path(c, d)? }
            }
            libc::SYS_link => {
                Operation::Link { from: self.path(here, a)?, to: self.path(here, b)? }
            }
            libc::SYS_linkat => Operation::Link { from: self.path(a, b)?, to: self.path(c, d)? },
            libc::SYS_unlink => Operation::Unlink { path: self.path(here, a)? },
            libc::SYS_unlinkat if c as i32 & libc::AT_REMOVEDIR != 0 => {
                Operation::RemoveFolder { path: self.path(a, b)? }
            }
            libc::SYS_unlinkat => Operation::Unlink { path: self.path(a, b)? },
            libc::SYS_rmdir => Operation::RemoveFolder { path: self.path(here, a)? },
            libc::SYS_mkdir => Operation::MakeFolder { path: self.path(here, a)? },
            libc::SYS_mkdirat => Operation::MakeFolder { path: self.path(a, b)? },
            _ => return None,
        })
    }

    /// The descriptor that a call writes through.
    pub(super) fn written_through(&self) -> u64 {
        let copied = self.number as i64 == libc::SYS_copy_file_range;
        if copied { self.arguments[2] } else { self.arguments[0] }
    }
}

/// A path without `.`, `..` and doubled slashes. No symbolic links are looked for.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                tidied.pop();
            }
            std::path::Component::CurDir => {}
            part => tidied.push(part),
        }
    }
    tidied
}
