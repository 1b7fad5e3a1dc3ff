//! Passwords cannot be tried one after the other without end: whoever was wrong too often waits, longer each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries of one user's name from one address before the first wait, and of all names from it.
const TRIES: (u32, u32) = (5, 30);
/// The first wait; each next one is twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST: Duration = Duration::from_secs(900);
/// Wrong tries are forgotten after so long.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Most that is kept; beyond it the oldest is forgotten.
const MOST: usize = 4096;

/// Whose tries are counted: those from an address, of one name or of all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(IpAddr, Option<String>);

#[derive(Debug, Clone, Copy)]
struct Tries {
    count: u32,
    last: Instant,
}

/// Counts tries to log in.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<Key, Tries>>);

/// The address as it is counted: of version 6 the network of 64 bits, all of which one machine has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

fn keys(address: IpAddr, user: &str) -> [(Key, u32); 2] {
    let address = network(address);
    // Names of any length are not kept.
    let user = user.chars().take(64).collect();
    [(Key(address, Some(user)), TRIES.0), (Key(address, None), TRIES.1)]
}

/// How long is to be waited after so many tries.
fn wait(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => FIRST.saturating_mul(1 << over.min(16)).min(LONGEST),
    }
}

impl Throttle {
    /// Counts a try. It counts before it is known to be wrong: many at once are no way around.
    ///
    /// # Errors
    /// How long to wait first.
    pub(super) fn admit(&self, address: IpAddr, user: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(address, user);
        for (key, free) in &keys {
            if let Some(tries) = all.get(key).filter(|tries| now - tries.last < FORGOTTEN) {
                let left = wait(tries.count, *free).saturating_sub(now - tries.last);
                if !left.is_zero() {
                    return Err(left);
                }
            }
        }
        if all.len() + keys.len() > MOST {
            all.retain(|_, tries| now - tries.last < FORGOTTEN);
            while all.len() + keys.len() > MOST {
                let oldest = all.iter().min_by_key(|(_, tries)| tries.last);
                let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
                all.remove(&oldest);
            }
        }
        for (key, _) in keys {
            let tries = all.entry(key).or_insert(Tries { count: 0, last: now });
            let count = if now - tries.last < FORGOTTEN { tries.count } else { 0 };
            *tries = Tries { count: count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// It was right: what this user got wrong from there before is forgotten.
    pub(super) fn forgive(&self, address: IpAddr, user: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [(own, _), (every, _)] = keys(address, user);
        let own = all.remove(&own).map_or(0, |tries| tries.count);
        if let Some(tries) = all.get_mut(&every) {
            tries.count = tries.count.saturating_sub(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> IpAddr {
        IpAddr::from([192, 0, 2, 7])
    }

    #[test]
    fn who_is_wrong_too_often_waits_longer_each_time() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            throttle.admit(here(), "anna", now).unwrap();
        }
        assert_eq!(throttle.admit(here(), "anna", now), Err(FIRST));
        throttle.admit(here(), "otto", now).unwrap();
        throttle.admit(IpAddr::from([192, 0, 2, 8]), "anna", now).unwrap();
        now += FIRST;
        throttle.admit(here(), "anna", now).unwrap();
        assert_eq!(throttle.admit(here(), "anna", now), Err(2 * FIRST));
        now += 2 * FORGOTTEN;
        for _ in 0..5 {
            throttle.admit(here(), "anna", now).unwrap();
        }
        throttle.forgive(here(), "anna");
        throttle.admit(here(), "anna", now).unwrap();
    }

    #[test]
    fn many_names_from_one_address_are_no_way_around() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let net = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        for at in 0..30 {
            throttle.admit(net(at), &format!("user{at}"), now).unwrap();
        }
        assert!(throttle.admit(net(99), "anna", now).is_err());
        assert!(throttle.admit(here(), "anna", now).is_ok());
    }

    #[test]
    fn what_is_kept_is_bounded_and_so_is_a_wait() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        for at in 0..10_000_u32 {
            now += Duration::from_millis(1);
            let address = IpAddr::from(at.to_be_bytes());
            throttle.admit(address, &"x".repeat(1000), now).unwrap();
        }
        assert!(throttle.0.lock().unwrap().len() <= MOST);
        assert_eq!(wait(u32::MAX, 5), LONGEST);
    }
}
