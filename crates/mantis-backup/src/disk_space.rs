//! What there is of a file system.

use std::path::Path;

fn existing(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.exists())
}

/// Bytes that are free for us where a folder is, or is going to be.
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(existing(folder)?).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether what is written there stays in memory.
pub(crate) fn is_memory(folder: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// As `statfs` tells it of tmpfs and of ramfs (linux/magic.h).
        const OF_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58F6];
        let found = existing(folder).and_then(|there| rustix::fs::statfs(there).ok());
        found.is_some_and(|found| OF_MEMORY.contains(&(found.f_type as u32)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_disks_from_memory() {
        assert!(free_space(Path::new("/no/such/folder/yet")).is_some());
        let shared = Path::new("/dev/shm");
        if cfg!(target_os = "linux") && shared.exists() {
            assert!(is_memory(&shared.join("below")));
        }
        assert!(!is_memory(Path::new("/proc")));
    }
}
