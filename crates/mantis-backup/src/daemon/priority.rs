//! Giving way to the databases' own processes, for the processor and for disks.

use ioprio::{BePriorityLevel, Class};

use crate::config::{Config, IoPriority};
use crate::nice::{USUAL, io_class, nice_at_least};

/// Has the calling thread give way from here on, and those that it starts. To be called on each thread that works. A system
/// that refuses is no reason to fail.
pub fn give_way(config: &Config) {
    nice_at_least(i32::from(config.nice.unwrap_or(USUAL).min(19)));
    let class = match config.io_priority {
        IoPriority::Idle => Class::Idle,
        IoPriority::Low => Class::BestEffort(BePriorityLevel::lowest()),
        IoPriority::Normal => return,
    };
    io_class(class);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_way() {
        let config = crate::config::parse("nice = 7\nio_priority = \"idle\"").unwrap();
        // Not the test's own thread: what was given away is not had back.
        let of_thread = move || {
            give_way(&config);
            let io = ioprio::get_priority(ioprio::Target::Process(ioprio::Pid::from_raw(0)));
            (rustix::process::nice(0).unwrap(), io.unwrap().class())
        };
        let again = of_thread.clone();
        let both =
            std::thread::spawn(move || (of_thread(), std::thread::spawn(again).join().unwrap()));
        let expected = (7, Some(Class::Idle));
        assert_eq!(both.join().unwrap(), (expected, expected), "nor is it given away twice");
    }
}
