//! A repository in hostile hands: objects that are gone, changed, cut, exchanged, and made anew.
//!
//! Damage is found: a backup restores to what it was, or not at all. Whoever may write to a repository that is not encrypted can make a
//! backup of his own; then nothing is promised of what is in it, but that reading it ends, in bounded memory, without a panic.

use std::sync::Arc;

use bytes::Bytes;
use mantis_repo::{
    PruneOptions, RepoError, Repository, SessionId, UnixMillis, VerifyOptions, fuzzing,
};
use mantis_sink::{MemorySink, ObjectKey};

use crate::differential::options;
use crate::take::Take;
use crate::template::{RUNTIME, TEMPLATE, back_up, contents, pages};

/// Bytes of a restored backup that are looked at.
const LIMIT: usize = 1 << 20;
/// Hostile deeds in a row.
const DEEDS: usize = 24;
/// Numbers that are wrong in interesting ways.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "2",
    "511",
    "65537",
    "4294967295",
    "4294967296",
    "281474976710655",
    "9223372036854775807",
    "18446744073709551615",
    "-1",
    "1e9",
];

/// Puts another number in the place of the n-th one in a JSON text.
fn other_number(json: &[u8], n: usize, number: &str) -> Vec<u8> {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let starts: Vec<usize> = (1..json.len())
        .filter(|at| digit(&json[*at]) && matches!(json[*at - 1], b':' | b',' | b'['))
        .collect();
    let Some(start) = starts.get(n % starts.len().max(1)) else { return json.to_vec() };
    let len = json[*start..].iter().take_while(|byte| digit(byte)).count();
    [&json[..*start], number.as_bytes(), &json[*start + len..]].concat()
}

/// Puts bytes in the place of some of a text.
fn spliced(json: &[u8], take: &mut Take<'_>) -> Vec<u8> {
    let mut json = json.to_vec();
    let at = take.below(json.len() + 1);
    let end = (at + usize::from(take.byte() % 16)).min(json.len());
    json.splice(at..end, take.bytes().iter().copied());
    json
}

fn sessions(keys: &[ObjectKey], folder: &str) -> Vec<(SessionId, ObjectKey)> {
    let of = |key: &ObjectKey| {
        let session = key.as_str().strip_prefix(folder)?.split('/').next()?.parse().ok()?;
        Some((session, key.clone()))
    };
    keys.iter().filter_map(of).collect()
}

/// Does something to the store; whether the objects that it made are whole.
async fn deed(repo: &Repository, sink: &MemorySink, take: &mut Take<'_>) -> bool {
    let keys: Vec<ObjectKey> = TEMPLATE.objects.keys().cloned().collect();
    let key = &keys[take.below(keys.len())];
    let other = &keys[take.below(keys.len())];
    let bytes = &TEMPLATE.objects[key];
    let make = |(key, payload): (ObjectKey, mantis_sink::Payload)| {
        sink.replace(&key, payload.to_bytes());
    };
    let manifests = sessions(&keys, "man/");
    match take.byte() % 9 {
        0 => drop(mantis_sink::Sink::delete(sink, key).await),
        1 => {
            let mut changed = bytes.to_vec();
            let at = take.below(changed.len().max(1));
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= take.byte();
            }
            sink.replace(key, changed.into());
        }
        2 => sink.replace(key, bytes.slice(..take.below(bytes.len() + 1))),
        3 => sink.replace(key, TEMPLATE.objects[other].clone()),
        4 => {
            let longer = [bytes, take.bytes()].concat();
            sink.replace(key, longer.into());
        }
        5 | 6 => {
            let (session, manifest) = &manifests[take.below(manifests.len())];
            let json = fuzzing::unseal(repo, manifest, &TEMPLATE.objects[manifest]).unwrap();
            let json = if take.byte() & 1 == 0 {
                let number = NUMBERS[take.below(NUMBERS.len())];
                other_number(&json, take.number(), number)
            } else {
                spliced(&json, take)
            };
            if let Ok(made) = fuzzing::forge(repo, *session, &json.into()) {
                made.into_iter().for_each(make);
            }
            return false;
        }
        7 => {
            // An outcome, a record of forgetting, a list of what is to be freed: anything in a whole envelope.
            let kind = [1, 3, 5, 6][take.below(4)];
            let chunk = Bytes::copy_from_slice(take.bytes());
            if let Ok(made) = fuzzing::seal(repo, kind, &chunk) {
                make((key.clone(), made));
            }
            return false;
        }
        _ => {
            let kept = sessions(&keys, "out/");
            let session = kept[take.below(kept.len())].0;
            let name = ObjectKey::new(format!("forget/{session}")).unwrap();
            if let Ok(made) = fuzzing::seal(repo, 6, &Bytes::from_static(br#"{"at":6}"#)) {
                make((name, made));
            }
        }
    }
    true
}

pub(crate) fn repository(bytes: &[u8]) {
    let mut take = Take(bytes);
    RUNTIME.block_on(async {
        let sink = MemorySink::new();
        TEMPLATE.objects.iter().for_each(|(key, bytes)| sink.replace(key, bytes.clone()));
        let repo = Repository::open(Arc::new(sink.clone()), None).await.unwrap();
        let mut honest = true;
        for _ in 0..DEEDS {
            if take.is_empty() {
                break;
            }
            honest &= deed(&repo, &sink, &mut take).await;
        }
        let _: Result<(), RepoError> = live_with(&sink, honest).await;
    });
}

/// Uses a repository, whatever became of it.
async fn live_with(sink: &MemorySink, honest: bool) -> Result<(), RepoError> {
    let repo = Repository::open(Arc::new(sink.clone()), None).await?;
    look(&repo, honest).await?;
    let _ = repo.verify(&[], &VerifyOptions::default()).await;
    let bytes = pages(9, 20);
    let made = back_up(&repo, [21; 32], ("a", 21), &bytes).await;
    let prune = PruneOptions { grace_ms: 0, dry_run: false, exclusive: false };
    let _ = repo.prune(prune, [22; 32], UnixMillis(1 << 40)).await;
    let _ = repo.compact(&options(), [23; 32], UnixMillis(1 << 40)).await;
    let _ = repo.prune(prune, [24; 32], UnixMillis(1 << 40)).await;
    look(&repo, honest).await?;
    // What was told to be made, after the damage, is there; whoever makes manifests of his own can make it look forgotten.
    if honest && let Ok(made) = made {
        let catalogue = repo.catalogue().await?;
        assert!(catalogue.backups.iter().any(|info| info.id == made.id), "a new backup is gone");
    }
    Ok(())
}

async fn look(repo: &Repository, honest: bool) -> Result<(), RepoError> {
    for info in &repo.catalogue().await?.backups {
        let read = contents(repo, info, LIMIT).await;
        if let (true, Ok(read), Some(wanted)) =
            (honest, read, TEMPLATE.held.get(&info.id.to_string()))
        {
            assert!(read == *wanted, "{} restores to something else", info.id);
        }
    }
    Ok(())
}
