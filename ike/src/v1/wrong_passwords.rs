//! Wrong passwords, and how long the next one waits for that: twice as long each time. Who failed is a user's name at
//! a source; users who share a source, behind a NAT, wait for their own mistakes only, until there are many at that
//! source: guesses for many names come from there. Checks under way are few at a source, and one for a name, so that
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
/// Checks that a source may have under way, and when others are looked at again.
const UNDER_WAY: usize = 8;
const SOON: Duration = Duration::from_millis(50);

/// Who failed lately.
#[derive(Debug, Default)]
pub(crate) struct WrongPasswords {
    users: Failures<Guess>,
    sources: Failures<IpAddr>,
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
        let until = self
            .users
            .until(guess, 0)
            .max(self.sources.until(&guess.source, FORGIVEN));
        if let Some(until) = until.filter(|until| now < *until) {
            return Err(until);
        }
        let most = match self.sources.until(&guess.source, FORGIVEN) {
            Some(_) => 1,
            None => UNDER_WAY,
        };
        let under_way = self.under_way.entry(guess.source).or_default();
        if under_way.len() >= most || under_way.contains(&guess.user) {
            return Err(now + SOON);
        }
        under_way.push(guess.user.clone());
        Ok(())
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
            return now;
        }
        self.users.note(now, guess.clone());
        self.sources.note(now, guess.source);
        let wait = self
            .users
            .until(guess, 0)
            .max(self.sources.until(&guess.source, FORGIVEN));
        wait.unwrap_or(now)
    }
}

/// When each last failed, and how often.
#[derive(Debug)]
struct Failures<K> {
    last: HashMap<K, (Time, u32)>,
    order: VecDeque<(Time, K)>,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Failures {
            last: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Failures<K> {
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
