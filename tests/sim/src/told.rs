//! What happened in a history, in numbers.

use std::fmt;
use std::ops::AddAssign;

/// How much there was of each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Commits to the live databases.
    pub commits: u64,
    /// Backups that somebody was told of.
    pub backups: u64,
    /// Copies of them.
    pub copies: u64,
    /// Runs of the daemon's schedules that are written down as done.
    pub runs: u64,
    /// Tasks that did what they were about to do.
    pub done: u64,
    /// Tasks that did not.
    pub failed: u64,
    /// Calls that failed.
    pub faults: u64,
    /// Clients that were killed.
    pub crashes: u64,
    /// Clients whose clock was wrong.
    pub wrong_clocks: u64,
    /// Looks at everything.
    pub looks: u64,
}

impl AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.commits += other.commits;
        self.backups += other.backups;
        self.copies += other.copies;
        self.runs += other.runs;
        self.done += other.done;
        self.failed += other.failed;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.wrong_clocks += other.wrong_clocks;
        self.looks += other.looks;
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commits, ", self.commits)?;
        write!(f, "{} backups told, {} copies of them, ", self.backups, self.copies)?;
        write!(f, "{} scheduled runs, ", self.runs)?;
        write!(f, "{} tasks done, {} failed, ", self.done, self.failed)?;
        write!(f, "{} calls failed, {} clients killed, ", self.faults, self.crashes)?;
        write!(f, "{} with a wrong clock, {} looks at everything", self.wrong_clocks, self.looks)
    }
}
