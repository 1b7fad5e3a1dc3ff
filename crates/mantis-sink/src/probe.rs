//! What a store does, tried out: each fault with its cure.
//!
//! Objects are made under `probe/` and removed again. A store that lets two create one object at once shows it under a
//! race more often than not, never for sure: a clean race proves nothing, a lost one does.

use std::time::Duration;

use futures::future::join_all;

use crate::{ObjectKey, Payload, Sink, SinkError, SinkErrorKind, Span, error_chain};

/// Those who create one object at once, and how often that is tried.
const RACERS: usize = 8;
const RACES: usize = 3;
/// More objects than a store lists in one answer.
const MANY: usize = 1100;
/// How far a store's clock may be from ours before that is worth a word.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// One thing that a store was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStep {
    /// What.
    pub name: &'static str,
    /// What was found: fine, or what is wrong and what cures it.
    pub found: Result<String, ProbeFault>,
}

/// What is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFault {
    /// What.
    pub what: String,
    /// What cures it.
    pub cure: &'static str,
    /// Whether a repository can be kept there all the same.
    pub bearable: bool,
}

/// What a store was found to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeReport {
    /// In the order in which it was tried.
    pub steps: Vec<ProbeStep>,
}

impl ProbeReport {
    /// Whether backups can be kept in the store.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.faults().all(|(_, fault)| fault.bearable)
    }

    /// What is wrong.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, &ProbeFault)> {
        self.steps.iter().filter_map(|step| Some((step.name, step.found.as_ref().err()?)))
    }

    fn note(&mut self, name: &'static str, found: Result<String, ProbeFault>) -> bool {
        let fine = found.is_ok();
        self.steps.push(ProbeStep { name, found });
        fine
    }
}

fn fault(error: &SinkError) -> ProbeFault {
    ProbeFault { what: error_chain(error), cure: error.help(), bearable: false }
}

fn wrong(what: &str, cure: &'static str) -> ProbeFault {
    ProbeFault { what: what.into(), cure, bearable: false }
}

/// Names of this probe's own objects.
#[derive(Debug, Clone)]
struct Folder(String);

impl Folder {
    fn key(&self, name: &str) -> Result<ObjectKey, ProbeFault> {
        ObjectKey::new(format!("{}/{name}", self.0))
            .map_err(|_| wrong("a name of the probe is none", "report this"))
    }
}

const CONTENT: &[u8] = b"mantis looks whether this comes back";

async fn writes(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let key = folder.key("a")?;
    sink.put_new(&key, Payload::from(CONTENT)).await.map_err(|error| fault(&error))?;
    Ok("an object was written".into())
}

async fn reads(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let key = folder.key("a")?;
    let fail = |error: SinkError| fault(&error);
    let whole = sink.get(&key, Span::Whole { limit: 1000 }).await.map_err(fail)?;
    let part = sink.get(&key, Span::Part(7..12)).await.map_err(fail)?;
    let len = sink.stat(&key).await.map_err(fail)?;
    if whole == CONTENT && part == CONTENT[7..12] && len == CONTENT.len() as u64 {
        return Ok("it came back, whole and in part".into());
    }
    let cure = "something between here and the store changes what passes: look for a proxy";
    Err(wrong("what was read is not what was written", cure))
}

async fn lists(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let listed = sink.list(&folder.0).await.map_err(|error| fault(&error))?;
    let key = folder.key("a")?;
    if listed.len() == 1 && listed[0].key == key && listed[0].len == CONTENT.len() as u64 {
        return Ok("what was written is listed at once".into());
    }
    let what = format!("{} objects are listed where one is", listed.len());
    Err(wrong(&what, "use a store whose listings are consistent with its writes"))
}

/// What to do about a store where two may create one object.
const NOT_EXCLUSIVE: &str = "backups are safe there; run `mantis prune` only while nothing else uses the repository, with \
     --exclusive";

async fn refuses(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let key = folder.key("a")?;
    match sink.put_new(&key, Payload::from("another")).await {
        Err(error) if error.is_already_exists() => {}
        Err(error) => return Err(fault(&error)),
        Ok(()) => {
            let what = "an object that was there was replaced";
            return Err(wrong(
                what,
                "use a store with conditional writes, or switch them on there",
            ));
        }
    }
    let kept = sink.get(&key, Span::Whole { limit: 1000 }).await.map_err(|error| fault(&error))?;
    if kept == CONTENT {
        return Ok("an object that is there is not replaced".into());
    }
    Err(wrong("an object that was there was replaced", "use a store with conditional writes"))
}

/// Has several create one object at once, again and again: an error where more than one was told that it did, or none.
///
/// # Errors
/// What is wrong, and the store's own errors.
pub async fn race_creators(sink: &dyn Sink, seed: u64) -> Result<String, ProbeFault> {
    let folder = Folder(format!("probe/{seed:016x}r"));
    let raced = races(sink, &folder).await;
    let removed = clean(sink, &folder).await;
    let raced = raced?;
    removed.map(|_| raced)
}

async fn races(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let bearable = |what: String| ProbeFault { what, cure: NOT_EXCLUSIVE, bearable: true };
    if !sink.capabilities().exclusive_create {
        return Err(bearable("the store does not promise that of two creators one wins".into()));
    }
    for round in 0..RACES {
        let key = folder.key(&format!("race-{round}"))?;
        let racers = (0..RACERS).map(|racer| sink.put_new(&key, Payload::from(racer.to_string())));
        let mut winners = 0;
        for result in join_all(racers).await {
            match result {
                Ok(()) => winners += 1,
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(fault(&error)),
            }
        }
        if winners != 1 {
            return Err(bearable(format!("{winners} of {RACERS} created one object at once")));
        }
    }
    Ok(format!("of {RACERS} creators one wins, {RACES} times over"))
}

async fn pages(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let folder = Folder(format!("{}/many", folder.0));
    let keys: Vec<ObjectKey> =
        (0..MANY).map(|number| folder.key(&number.to_string())).collect::<Result<_, _>>()?;
    for keys in keys.chunks(32) {
        let puts = keys.iter().map(|key| sink.put_new(key, Payload::from("x")));
        for put in join_all(puts).await {
            put.map_err(|error| fault(&error))?;
        }
    }
    let listed = sink.list(&folder.0).await.map_err(|error| fault(&error))?.len();
    if listed == MANY {
        return Ok(format!("{MANY} objects are listed, over several answers"));
    }
    let what = format!("{listed} of {MANY} objects are listed");
    Err(wrong(&what, "use a store whose listings are complete"))
}

async fn clean(sink: &dyn Sink, folder: &Folder) -> Result<String, ProbeFault> {
    let fail = |error: SinkError| {
        let denied = error.kind() == SinkErrorKind::PermissionDenied;
        let cure = if denied {
            "give the right to delete, or leave pruning to another user; locked objects go when their time is over"
        } else {
            error.help()
        };
        ProbeFault { what: error_chain(&error), cure, bearable: denied }
    };
    let listed = sink.list(&folder.0).await.map_err(fail)?;
    let keys: Vec<ObjectKey> = listed.into_iter().map(|object| object.key).collect();
    sink.delete_many(&keys).await.map_err(fail)?;
    for key in keys.iter().take(3) {
        match sink.stat(key).await {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(fail(error)),
            Ok(_) => {
                let cure = "use a store whose reads are consistent with its deletes";
                return Err(wrong("an object that was deleted is still there", cure));
            }
        }
    }
    Ok(format!("{} objects were deleted", keys.len()))
}

fn clock(sink: &dyn Sink) -> Option<Result<String, ProbeFault>> {
    let skew = sink.clock_skew_ms()?;
    let apart = Duration::from_millis(skew.unsigned_abs());
    Some(if apart <= MAX_SKEW {
        Ok(format!("the store's clock is {:.1} s from ours", apart.as_secs_f32()))
    } else {
        Err(ProbeFault {
            what: format!("the store's clock is {} s from ours", apart.as_secs()),
            cure: "set this machine's clock by NTP: signatures expire, and times of backups are wrong",
            bearable: true,
        })
    })
}

/// Tries a store out. `seed` must be fresh: it names the objects of this probe. `thorough` also makes more objects than
/// a store lists in one answer.
pub async fn probe(sink: &dyn Sink, seed: u64, thorough: bool) -> ProbeReport {
    let folder = Folder(format!("probe/{seed:016x}"));
    let mut report = ProbeReport::default();
    // Where an object cannot be written there is nothing else to try.
    let mut fine = report.note("write", writes(sink, &folder).await);
    fine = fine && report.note("read", reads(sink, &folder).await);
    fine = fine && report.note("list", lists(sink, &folder).await);
    if fine {
        report.note("create", refuses(sink, &folder).await);
        report.note("race", races(sink, &folder).await);
        if thorough {
            report.note("pages", pages(sink, &folder).await);
        }
    }
    if report.steps.len() > 1 {
        report.note("delete", clean(sink, &folder).await);
    }
    if let Some(found) = clock(sink) {
        report.note("clock", found);
    }
    report
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Fault, FaultSink, MemorySink};

    #[tokio::test]
    async fn a_sound_store_has_no_faults_and_nothing_is_left_in_it() {
        let sink = MemorySink::new();
        let report = probe(&sink, 7, true).await;
        assert!(report.is_usable() && report.faults().next().is_none(), "{report:?}");
        let names: Vec<&str> = report.steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["write", "read", "list", "create", "race", "pages", "delete"]);
        assert!(sink.list("").await.unwrap().is_empty());
        race_creators(&sink, 8).await.unwrap();
        assert!(sink.list("").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_usable_at_whichever_call_it_fails() {
        let calls = {
            let sink = crate::RecordingSink::new(Arc::new(MemorySink::new()));
            probe(&sink, 7, false).await;
            sink.take().len()
        };
        for at in 0..calls as u64 {
            let sink = FaultSink::new(Arc::new(MemorySink::new()));
            sink.fail_once(at, Fault::Before(SinkErrorKind::Other));
            let report = probe(&sink, 7, false).await;
            assert!(report.faults().next().is_some(), "call {at}: {report:?}");
        }
    }
}
