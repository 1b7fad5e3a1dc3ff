//! Every call on files that a process makes: recorded, failed on purpose, or the last thing that it does.

mod operation;
mod tracer;

pub use operation::{Effect, Operation};
pub use tracer::{Ended, Verdict, is_allowed, trace};
