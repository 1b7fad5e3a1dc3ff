//! Runs a command under `ptrace(2)`, one call on files at a time.
//!
//! While one thread is in a call on a file that is watched, no other thread's call is let through: the record is the order in which
//! things happened, and a call that is counted as the n-th is the n-th. The effect of a write is read back from the file.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::operation::Stopped;
use super::{Effect, Operation};

/// Threads count, and children of other tests in this process do not.
const FLAGS: WaitPidFlag = WaitPidFlag::__WALL.union(WaitPidFlag::__WNOTHREAD);

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Go,
    /// It is not made, and this is its error (`errno`).
    Fail(i32),
    /// The process is killed in its stead.
    Kill,
}

/// How a traced command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// It did not end, and was killed.
    pub hung: bool,
    /// What it did to the files that were watched, in order.
    pub effects: Vec<Effect>,
}

struct Tracer<'a> {
    watched: &'a [PathBuf],
    decide: &'a mut dyn FnMut(&Operation) -> Verdict,
    /// Threads between the entry and the exit of a call that is not watched.
    inside: HashSet<Pid>,
    effects: Vec<Effect>,
}

impl Tracer<'_> {
    fn is_watched(&self, operation: &Operation) -> bool {
        let within =
            |path: &std::path::Path| self.watched.iter().any(|root| path.starts_with(root));
        operation.paths().into_iter().any(within)
    }

    /// A thread stops at a call's entry: lets it through, or not. Returns whether the thread is at that call's exit now.
    fn enter(&mut self, thread: Pid, process: Pid) -> Result<(), Errno> {
        let mut registers = ptrace::getregs(thread)?;
        let stopped = Stopped {
            thread: thread.as_raw(),
            number: registers.orig_rax,
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        };
        let operation = stopped.decode().filter(|operation| self.is_watched(operation));
        let Some(operation) = operation else {
            self.inside.insert(thread);
            return ptrace::syscall(thread, None);
        };
        match (self.decide)(&operation) {
            Verdict::Kill => return kill(process, Signal::SIGKILL),
            Verdict::Go => {
                if self.finish(thread)? {
                    self.note(&stopped, operation, ptrace::getregs(thread)?.rax as i64);
                    ptrace::syscall(thread, None)?;
                }
            }
            Verdict::Fail(errno) => {
                // A call of a number that there is none of does nothing.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(thread, registers)?;
                if self.finish(thread)? {
                    let mut registers = ptrace::getregs(thread)?;
                    registers.rax = (-i64::from(errno)) as u64;
                    ptrace::setregs(thread, registers)?;
                    ptrace::syscall(thread, None)?;
                }
            }
        }
        Ok(())
    }

    /// Lets a thread go from a call's entry to its exit; `false` where it ended meanwhile.
    fn finish(&mut self, thread: Pid) -> Result<bool, Errno> {
        ptrace::syscall(thread, None)?;
        loop {
            match waitpid(thread, Some(FLAGS))? {
                WaitStatus::PtraceSyscall(_) => return Ok(true),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(false),
                _ => ptrace::syscall(thread, None)?,
            }
        }
    }

    fn note(&mut self, stopped: &Stopped, operation: Operation, result: i64) {
        if result < 0 {
            return;
        }
        let written = match &operation {
            Operation::Write { at, .. } => {
                stopped.open(stopped.written_through()).and_then(|file| {
                    let len = file.metadata().ok()?.len();
                    let at = at.unwrap_or(len.saturating_sub(result.unsigned_abs()));
                    let mut bytes = vec![0; usize::try_from(result).ok()?];
                    file.read_exact_at(&mut bytes, at).ok().map(|()| (at, bytes))
                })
            }
            _ => None,
        };
        self.effects.push(Effect { operation, written });
    }

    /// Follows the process and its threads until it has ended; its exit code.
    fn follow(&mut self, process: Pid) -> Result<Option<i32>, Errno> {
        loop {
            let status = waitpid(None, Some(FLAGS))?;
            let gone = match status {
                WaitStatus::Exited(thread, code) if thread == process => return Ok(Some(code)),
                WaitStatus::Signaled(thread, ..) if thread == process => return Ok(None),
                WaitStatus::PtraceSyscall(thread) if self.inside.remove(&thread) => {
                    ptrace::syscall(thread, None)
                }
                WaitStatus::PtraceSyscall(thread) => self.enter(thread, process),
                // A new thread begins with a stop that is not meant for it.
                WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP)
                | WaitStatus::PtraceEvent(thread, ..) => ptrace::syscall(thread, None),
                WaitStatus::Stopped(thread, signal) => ptrace::syscall(thread, signal),
                _ => Ok(()),
            };
            // A thread that was killed while it was stopped is heard of again.
            if !matches!(gone, Ok(()) | Err(Errno::ESRCH)) {
                gone?;
            }
        }
    }
}

/// Whether this process may trace others here; says so where it may not.
#[must_use]
pub fn is_allowed() -> bool {
    let mut command = Command::new("true");
    traced(&mut command);
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: this process may not trace others here");
        return false;
    };
    let process = Pid::from_raw(child.id() as i32);
    let stopped = waitpid(process, None);
    let _ = ptrace::cont(process, None);
    let _ = waitpid(process, None);
    let allowed = matches!(stopped, Ok(WaitStatus::Stopped(..)));
    if !allowed {
        eprintln!("skipped: this process may not trace others here");
    }
    allowed
}

#[expect(
    unsafe_code,
    reason = "only the child itself can ask to be traced from its first instruction on"
)]
fn traced(command: &mut Command) {
    // SAFETY: between `fork` and `exec`, one system call is made, and nothing is allocated or locked.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from)) };
}

/// Runs a command to its end. `decide` is asked of each call on a file below one of `watched` as it is about to be made.
///
/// # Panics
/// Where tracing fails.
#[allow(clippy::zombie_processes, reason = "it is waited for as a traced process is")]
pub fn trace(
    mut command: Command,
    watched: &[PathBuf],
    decide: &mut dyn FnMut(&Operation) -> Verdict,
) -> Ended {
    traced(&mut command);
    let child = command.spawn().unwrap();
    let process = Pid::from_raw(child.id() as i32);
    // Stopped at `exec`.
    let stopped = waitpid(process, Some(FLAGS)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(process, options).unwrap();
    ptrace::syscall(process, None).unwrap();
    let mut tracer = Tracer { watched, decide, inside: HashSet::new(), effects: Vec::new() };
    let (ended, waiting) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill(process, Signal::SIGKILL);
        }
        hangs
    });
    let code = tracer.follow(process).unwrap();
    drop(ended);
    Ended { code, hung: watchdog.join().unwrap(), effects: tracer.effects }
}
