//! `mantis watch` as it runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::World;

/// A watch that runs, and what it has told so far. Killed when dropped.
#[derive(Debug)]
pub struct Watch {
    /// The command.
    pub child: Child,
    /// What it told.
    pub events: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watch {
    /// Starts the command.
    ///
    /// # Panics
    /// Where it cannot be.
    #[must_use]
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(world.path("watch.log")).unwrap();
        let mut child =
            world.command(arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (told, lines) = (Arc::clone(&events), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            // A line that a kill cut short is none.
            let lines = lines.lines().map_while(Result::ok);
            for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                told.lock().unwrap().push(event);
            }
        });
        Self { child, events }
    }

    /// How many events of a kind it told of.
    ///
    /// # Panics
    /// Where reading what it tells did.
    #[must_use]
    pub fn count(&self, event: &str) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|told| told["event"] == event).count()
    }

    /// Waits until it has told of so many events of a kind.
    ///
    /// # Panics
    /// Where they do not come.
    pub fn until(&self, event: &str, count: usize) {
        // Other tests take the cores meanwhile: how long it takes is not what is tested.
        let patience = Instant::now() + Duration::from_secs(300);
        while self.count(event) < count {
            if Instant::now() >= patience {
                let told = self.events.lock().unwrap();
                let last = &told[told.len().saturating_sub(8)..];
                panic!("{count} times {event} did not come; the last: {last:#?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it as a person would; its exit code.
    ///
    /// # Panics
    /// Where it cannot be.
    #[must_use]
    pub fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}
