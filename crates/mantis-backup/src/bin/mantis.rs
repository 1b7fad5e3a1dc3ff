//! The `mantis` command.

use std::process::ExitCode;

/// glibc gives each thread that works a pool of memory of its own, up to eight for each core, and each keeps the most that its
/// threads ever had: in the soak the daemon grew from 50 to 250 MiB in a quarter of an hour, nearly all of it free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_pools_of_memory() {
    #[allow(unsafe_code, reason = "the C library has no safe way to say it")]
    // SAFETY: it takes two numbers, and no other thread is there yet.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn share_pools_of_memory() {}

fn main() -> ExitCode {
    share_pools_of_memory();
    mantis_backup::cli::main()
}
