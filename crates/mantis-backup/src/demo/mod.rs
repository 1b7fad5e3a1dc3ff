//! The main job on real input: a live SQLite database under non-stop writes, hot backups one after
//! another, and the proof that each restore is one consistent moment.

mod bank;
mod figures;
mod run;
pub(crate) mod writer;

pub(crate) use figures::{Figures, Phase, Proof};
pub(crate) use run::run;
