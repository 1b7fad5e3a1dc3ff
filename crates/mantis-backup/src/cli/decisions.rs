//! What becomes of backups and why, for people and as JSON: what `forget` does, and what `retention simulate` would.

use std::collections::BTreeMap;

use mantis_retention::{Plan, Reason};
use serde_json::{Value, json};

use super::context::Context;
use crate::Error;

/// What is going to happen to a backup.
pub(crate) enum Fate {
    /// It is kept, for these reasons.
    Keep(Vec<String>),
    /// It goes: why, and which rules would have kept it.
    Forget(String, Vec<String>),
}

impl Fate {
    pub(crate) const fn goes(&self) -> bool {
        matches!(self, Self::Forget(..))
    }
}

/// The fates that a plan has for the backups that it counts.
pub(crate) fn fates<Id: Clone + Ord>(plan: &Plan<Id>) -> BTreeMap<Id, Fate> {
    let texts = |reasons: &[Reason]| reasons.iter().map(ToString::to_string).collect();
    let kept = plan.kept.iter().map(|kept| (kept.id.clone(), Fate::Keep(texts(&kept.reasons))));
    let removed = plan.removed.iter().map(|removed| {
        (removed.id.clone(), Fate::Forget(removed.why.to_string(), texts(&removed.despite)))
    });
    kept.chain(removed).collect()
}

/// Prints a line for each backup, which begins with what it is called.
pub(crate) fn show<'a>(
    context: &Context,
    decisions: impl Iterator<Item = (String, &'a Fate)>,
    dry_run: bool,
) -> Result<(), Error> {
    for (name, fate) in decisions {
        let what = match fate {
            Fate::Keep(reasons) => format!("keep ({})", reasons.join(", ")),
            Fate::Forget(why, despite) => {
                let forget = if dry_run { "would forget" } else { "forgot" };
                let despite = match &despite[..] {
                    [] => String::new(),
                    rules => format!(", despite {}", rules.join(", ")),
                };
                format!("{forget} ({why}{despite})")
            }
        };
        context.say(format!("{name}: {what}"))?;
    }
    Ok(())
}

/// Prints what a person should know besides.
pub(crate) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
}

/// The same as JSON: each backup as it is given, with the reasons that keep it or why it goes.
pub(crate) fn as_json<'a>(
    decisions: impl Iterator<Item = (Value, &'a Fate)>,
    warnings: &[String],
) -> Value {
    let (mut keep, mut remove) = (Vec::new(), Vec::new());
    for (mut backup, fate) in decisions {
        match fate {
            Fate::Keep(reasons) => {
                backup["reasons"] = json!(reasons);
                keep.push(backup);
            }
            Fate::Forget(why, despite) => {
                backup["why"] = json!(why);
                backup["despite"] = json!(despite);
                remove.push(backup);
            }
        }
    }
    json!({ "keep": keep, "remove": remove, "warnings": warnings })
}
