//! Wrong passwords, and how long the next one waits for that: twice as long each time. Who failed is a user's name at
//! a source; users who share a source, behind a NAT, wait for their own mistakes only, until there are many at that
//! source: guesses for many names come from there; or many for that name, from many sources. Neither concerns who was
//! right at that source lately. Checks under way are few at a source, and one for a name, so that
//! guesses made at once gain nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use crate::Time;

/// Time after which one who failed begins anew, and how many are remembered.
const MEMORY: Duration = Duration::from_secs(900);
const MOST: usize = 10_000;
/// Waiting times: the first, and how often it may double.
const FIRST: Duration = Duration::from_secs(1);
const DOUBLED: u32 = 4;
/// Mistakes that a source may make before all of it waits.
const FORGIVEN: u32 = 10;
/// Mistakes for a name, wherever they come from, before all who use it wait.
const FORGIVEN_NAME: u32 = 100;
/// Checks that a source may have under way, and when others are looked at again.
const UNDER_WAY: usize = 8;
const SOON: Duration = Duration::from_millis(50);

/// Who failed lately.
#[derive(Debug, Default)]
pub(crate) struct WrongPasswords {
    users: Record<Guess>,
    sources: Record<IpAddr>,
    names: Record<String>,
    /// Who was right lately, and where.
    right: Record<Guess>,
    under_way: HashMap<IpAddr, Vec<String>>,
}

/// A password for a user, from somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guess {
    pub(crate) source: IpAddr,
    pub(crate) user: String,
}

impl WrongPasswords {
    /// Begins a check, or tells when it may.
    pub(super) fn begin(&mut self, now: Time, guess: &Guess) -> Result<(), Time> {
        let others = self.others(now, guess);
        let until = self.users.until(guess, 0).max(others);
        if let Some(until) = until.filter(|until| now < *until) {
            return Err(until);
        }
        let most = match others {
            Some(_) => 1,
            None => UNDER_WAY,
        };
        // A name that is guessed from everywhere has one check at a time, wherever it is.
        let mut all = self.under_way.values().flatten();
        let is_guessed = others.is_some() && self.names.until(&guess.user, FORGIVEN_NAME).is_some();
        if is_guessed && all.any(|user| *user == guess.user) {
            return Err(now + SOON);
        }
        let under_way = self.under_way.entry(guess.source).or_default();
        if under_way.len() >= most || under_way.contains(&guess.user) {
            return Err(now + SOON);
        }
        under_way.push(guess.user.clone());
        Ok(())
    }

    /// What the mistakes of others at this source, and for this name elsewhere, have this guess wait for.
    fn others(&self, now: Time, guess: &Guess) -> Option<Time> {
        if self.right.is_fresh(now, guess) {
            return None;
        }
        let source = self.sources.until(&guess.source, FORGIVEN);
        source.max(self.names.until(&guess.user, FORGIVEN_NAME))
    }

    /// A check that was begun has this end. One of which nobody waits for the end was wrong. Gives the time until
    /// which a wrong one waits for its answer.
    pub(super) fn end(&mut self, now: Time, guess: &Guess, right: bool) -> Time {
        if let Some(under_way) = self.under_way.get_mut(&guess.source) {
            under_way.retain(|user| *user != guess.user);
            if under_way.is_empty() {
                self.under_way.remove(&guess.source);
            }
        }
        if right {
            self.users.forget(guess);
            // Once for each name, lest one who may come in guesses for others in between.
            if !self.right.is_fresh(now, guess) {
                self.sources.lower(&guess.source);
            }
            self.right.note(now, guess.clone());
            return now;
        }
        self.users.note(now, guess.clone());
        self.sources.note(now, guess.source);
        self.names.note(now, guess.user.clone());
        let wait = self.users.until(guess, 0).max(self.others(now, guess));
        wait.unwrap_or(now)
    }
}

/// When each last was wrong, or right, and how often.
#[derive(Debug)]
struct Record<K> {
    last: HashMap<K, (Time, u32)>,
    order: VecDeque<(Time, K)>,
}

impl<K> Default for Record<K> {
    fn default() -> Self {
        Record {
            last: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Record<K> {
    /// How long the next try waits, with so many forgiven.
    fn until(&self, who: &K, forgiven: u32) -> Option<Time> {
        let (at, count) = self.last.get(who)?;
        let doubled = count.checked_sub(forgiven + 1)?.min(DOUBLED);
        Some(*at + FIRST * 2_u32.pow(doubled))
    }

    fn note(&mut self, now: Time, who: K) {
        let old = |(at, _): &(Time, K)| now.saturating_sub(*at) > MEMORY;
        while self.order.len() >= MOST || self.order.front().is_some_and(old) {
            let Some((at, who)) = self.order.pop_front() else {
                break;
            };
            if self.last.get(&who).is_some_and(|(last, _)| *last == at) {
                self.last.remove(&who);
            }
        }
        let count = self.last.get(&who).map_or(0, |(_, count)| *count);
        self.last
            .insert(who.clone(), (now, count.saturating_add(1)));
        self.order.push_back((now, who));
    }

    fn is_fresh(&self, now: Time, who: &K) -> bool {
        let last = self.last.get(who);
        last.is_some_and(|(at, _)| now.saturating_sub(*at) <= MEMORY)
    }

    /// One is made good.
    fn lower(&mut self, who: &K) {
        if let Some((_, count)) = self.last.get_mut(who) {
            *count = count.saturating_sub(1);
        }
    }

    fn forget(&mut self, who: &K) {
        self.last.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Duration::from_secs(1000);

    fn guess(user: &str) -> Guess {
        Guess {
            source: [192, 0, 2, 1].into(),
            user: user.to_owned(),
        }
    }

    /// Checks as soon as it may, and is wrong; gives the time from `now` to the next check.
    fn fail(wrong: &mut WrongPasswords, now: Time, guess: &Guess) -> Duration {
        wrong.begin(now, guess).unwrap();
        wrong.end(now, guess, false) - now
    }

    #[test]
    fn wrong_passwords_wait_longer_and_longer() {
        let mut wrong = WrongPasswords::default();
        let (alice, mut now) = (guess("alice"), NOW);
        for seconds in [1, 2, 4, 8, 16, 16] {
            let wait = fail(&mut wrong, now, &alice);
            assert_eq!(wait.as_secs(), seconds);
            let early = now + wait - Duration::from_millis(1);
            assert_eq!(wrong.begin(early, &alice), Err(now + wait));
            now += wait;
        }
        // Bob, at the same place, has done nothing wrong; alice's next right one ends her waiting.
        assert_eq!(fail(&mut wrong, NOW, &guess("bob")).as_secs(), 1);
        assert_eq!(wrong.begin(now, &alice), Ok(()));
        wrong.end(now, &alice, true);
        assert_eq!(wrong.begin(now, &alice), Ok(()));
        wrong.end(now, &alice, true);
        // What is long ago is forgotten.
        let later = now + MEMORY + FIRST;
        assert_eq!(fail(&mut wrong, later, &guess("bob")).as_secs(), 1);
    }

    #[test]
    fn guesses_made_at_once_gain_nothing() {
        let mut wrong = WrongPasswords::default();
        let guesses: Vec<Guess> = (0..1000).map(|n| guess(&n.to_string())).collect();
        let under_way = |wrong: &mut WrongPasswords, now| {
            let begun = guesses.iter().filter(|g| wrong.begin(now, g).is_ok());
            begun.cloned().collect::<Vec<_>>()
        };
        let begun = under_way(&mut wrong, NOW);
        assert_eq!(begun.len(), UNDER_WAY);
        // The same name twice is the same guess made at once.
        assert_eq!(wrong.begin(NOW, &begun[0]), Err(NOW + SOON));
        let (mut now, mut checked) = (NOW, 0);
        let mut open = begun;
        while now < NOW + Duration::from_secs(300) {
            for guess in open {
                wrong.end(now, &guess, false);
                checked += 1;
            }
            now += Duration::from_secs(1);
            open = under_way(&mut wrong, now);
        }
        // Those that are forgiven, with what is under way then; after that one at a time, in the end every 16 seconds.
        let bound = FORGIVEN as usize + UNDER_WAY + 300 / 16 + 4;
        assert!(checked <= bound, "{checked} of {bound}");
    }

    #[test]
    fn who_was_right_does_not_wait_for_others() {
        let mut wrong = WrongPasswords::default();
        let alice = guess("alice");
        wrong.begin(NOW, &alice).unwrap();
        wrong.end(NOW, &alice, true);
        let mut now = NOW;
        for n in 0..20 {
            now += fail(&mut wrong, now, &guess(&n.to_string()));
        }
        fail(&mut wrong, now, &guess("eve"));
        assert!(wrong.begin(now, &guess("bob")).is_err());
        assert_eq!(wrong.begin(now, &alice), Ok(()));
        wrong.end(now, &alice, true);
        // Not for ever.
        let later = now + MEMORY + FIRST;
        assert!(!wrong.right.is_fresh(later, &alice));
    }

    #[test]
    fn a_name_guessed_from_many_sources_waits() {
        let mut wrong = WrongPasswords::default();
        let from = |n: u32| Guess {
            source: IpAddr::from(n.to_be_bytes()),
            user: "alice".to_owned(),
        };
        let home = guess("alice");
        wrong.begin(NOW, &home).unwrap();
        wrong.end(NOW, &home, true);
        for n in 0..=FORGIVEN_NAME {
            fail(&mut wrong, NOW, &from(n));
        }
        let wait = wrong.begin(NOW, &from(1000)).unwrap_err() - NOW;
        assert_eq!(wait.as_secs(), 1);
        // And then one at a time.
        assert_eq!(wrong.begin(NOW + FIRST, &from(1000)), Ok(()));
        let at_once = wrong.begin(NOW + FIRST, &from(1001));
        assert_eq!(at_once, Err(NOW + FIRST + SOON));
        // Where she was right lately she does not wait.
        assert_eq!(wrong.begin(NOW, &home), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut wrong = WrongPasswords::default();
        for n in 0..20_000_u32 {
            let source = IpAddr::from(n.to_be_bytes());
            let user = n.to_string();
            fail(&mut wrong, NOW, &Guess { source, user });
        }
        assert!(wrong.users.last.len() <= MOST && wrong.sources.order.len() <= MOST);
        assert!(wrong.under_way.is_empty());
    }
}
