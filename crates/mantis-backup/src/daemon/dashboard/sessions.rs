//! Who has logged in: kept in memory, so that a restart ends every session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantis_repo::ObjectHash;
use zeroize::Zeroizing;

use super::visitor::Visitor;
use crate::Error;
use crate::access::{PasswordHash, unguessable};
use crate::config::DashboardConfig;

/// The most sessions; beyond them the oldest ends.
const MOST: usize = 1024;

#[derive(Debug)]
struct Session {
    user: String,
    /// The hash that the password was of: with another one the session ends.
    password: PasswordHash,
    csrf: String,
    began: Instant,
    until: Instant,
}

/// Sessions, by the hashes of their ids: how long a lookup takes tells nothing of an id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<ObjectHash, Session>>);

fn key(id: &str) -> ObjectHash {
    ObjectHash::of([id.as_bytes()])
}

impl Sessions {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectHash, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one for a user whose password was right. Returns its id, which is for the user's browser alone.
    ///
    /// # Errors
    /// Without random numbers.
    pub(super) fn begin(
        &self,
        user: &str,
        password: &PasswordHash,
        lasts: Duration,
    ) -> Result<Zeroizing<String>, Error> {
        let (id, csrf) = (unguessable()?, unguessable()?.to_string());
        let began = Instant::now();
        // A time that no clock can hold is as good as a year.
        let until = began.checked_add(lasts).unwrap_or(began + Duration::from_secs(31_536_000));
        let session =
            Session { user: user.to_owned(), password: password.clone(), csrf, began, until };
        let mut all = self.all();
        all.retain(|_, session| session.until > began);
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.began)
        {
            let oldest = *oldest.0;
            all.remove(&oldest);
        }
        all.insert(key(&id), session);
        Ok(id)
    }

    /// Whose session it is, if the user is still there with the same password; with the role that the configuration gives now.
    pub(super) fn find(&self, id: &str, config: &DashboardConfig, from: &str) -> Option<Visitor> {
        let all = self.all();
        let session = all.get(&key(id)).filter(|session| session.until > Instant::now())?;
        let user = config.users.get(&session.user)?;
        let password = user.password_hash.as_ref()?;
        (password.0 == session.password)
            .then(|| Visitor::user(&session.user, user.role, session.csrf.clone(), from.to_owned()))
    }

    /// Ends one.
    pub(super) fn end(&self, id: &str) {
        self.all().remove(&key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn config(hash: &PasswordHash, role: &str) -> DashboardConfig {
        let text = format!(
            "[dashboard.users.anna]\nrole = \"{role}\"\npassword_hash = \"{}\"",
            hash.as_str()
        );
        parse(&text).unwrap().dashboard
    }

    #[test]
    fn a_session_is_its_users_until_it_ends() {
        let (hash, other) = (PasswordHash::of(b"a").unwrap(), PasswordHash::of(b"b").unwrap());
        let sessions = Sessions::default();
        let id = sessions.begin("anna", &hash, Duration::from_secs(60)).unwrap();
        let find = |id: &str, config: &DashboardConfig| sessions.find(id, config, "here");
        let operator = config(&hash, "operator");
        let anna = find(&id, &operator).unwrap();
        assert!(anna.may_change() && anna.name() == "anna" && anna.csrf.len() == 64);
        assert!(!find(&id, &config(&hash, "read-only")).unwrap().may_change(), "as it is now");
        assert_eq!(find(&id, &config(&other, "operator")), None, "another password");
        assert_eq!(find(&id, &DashboardConfig::default()), None, "no user any more");
        assert_eq!(find("", &operator), None);
        assert_eq!(find(&anna.csrf, &operator), None, "what forms carry opens nothing");
        sessions.end(&id);
        assert_eq!(find(&id, &operator), None);
        let short = sessions.begin("anna", &hash, Duration::ZERO).unwrap();
        assert_eq!(find(&short, &operator), None, "over");
        sessions.begin("anna", &hash, Duration::MAX).unwrap();
    }

    #[test]
    fn there_are_not_more_than_so_many() {
        let hash = PasswordHash::of(b"a").unwrap();
        let (sessions, config) = (Sessions::default(), config(&hash, "operator"));
        let begin = || sessions.begin("anna", &hash, Duration::from_secs(60)).unwrap();
        let ids: Vec<_> = (0..=MOST).map(|_| begin()).collect();
        assert_eq!(sessions.all().len(), MOST);
        let known = ids.iter().filter(|id| sessions.find(id, &config, "").is_some());
        assert_eq!(known.count(), MOST);
    }
}
