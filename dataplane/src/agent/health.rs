//! Whether the store of the policy answers, and how old the policy is that goes on without it: told when it goes away and
//! when it is back, once each.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::events::Event;

/// The store as an operator asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StoreStatus {
    /// A URL, a directory or a file.
    pub place: String,
    /// Why it is of no help, if it is none.
    pub away: Option<String>,
    /// Milliseconds since it is.
    pub away_ms: Option<u64>,
    /// Which policy is in force.
    pub policy: String,
    /// Seconds since the store had that policy, so far as is known.
    pub policy_age_s: Option<u64>,
}

/// What is known of a store.
#[derive(Debug)]
pub struct Health {
    place: String,
    /// Where the policy in force is from.
    pub state: State,
    /// Why it is of no help, and since when.
    away: Option<(String, u64)>,
    told: bool,
    /// When the store last had what is in force.
    confirmed: Option<SystemTime>,
}

impl Health {
    /// Of a store that has not been asked yet.
    pub fn new(place: String) -> Self {
        Health {
            place,
            state: State::Initial,
            away: None,
            told: false,
            confirmed: None,
        }
    }

    /// What is in force is what it has.
    pub fn confirm(&mut self) {
        self.confirmed = Some(SystemTime::now());
    }

    /// It has answered.
    pub fn answered(&mut self, now: u64) -> Option<Event> {
        let (_, since) = self.away.take()?;
        std::mem::take(&mut self.told).then(|| Event::StoreBack {
            store: self.place.clone(),
            away_s: (now - since) / 1000,
        })
    }

    /// It is of no help.
    pub fn failed(&mut self, now: u64, reason: &str) {
        let since = self.away.as_ref().map_or(now, |(_, since)| *since);
        self.away = Some((reason.to_owned(), since));
    }

    /// The cache that is read instead was written then.
    pub fn cache_read(&mut self, written: Option<SystemTime>) {
        self.confirmed = written;
    }

    /// That it is away, once there is a policy without it, or none.
    pub fn tell(&mut self) -> Option<Event> {
        let (reason, _) = self.away.as_ref().filter(|_| !self.told)?;
        self.told = true;
        Some(Event::StoreAway {
            store: self.place.clone(),
            reason: reason.clone(),
            policy: self.state.text().to_owned(),
            policy_age_s: self.age(),
        })
    }

    /// As of `now`.
    pub fn status(&self, now: u64) -> StoreStatus {
        let away = self.away.as_ref();
        StoreStatus {
            place: self.place.clone(),
            away: away.map(|(reason, _)| reason.clone()),
            away_ms: away.map(|(_, since)| now - since),
            policy: self.state.text().to_owned(),
            policy_age_s: self.age(),
        }
    }

    fn age(&self) -> Option<u64> {
        let of_store = matches!(self.state, State::CentralDownloaded | State::Cached);
        let confirmed = self.confirmed.filter(|_| of_store)?;
        let age = SystemTime::now().duration_since(confirmed);
        Some(age.unwrap_or_default().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_goes_and_comes_back_once() {
        let mut health = Health::new("https://policy.example/a".into());
        assert_eq!(health.answered(0), None);
        health.confirm();
        health.state = State::CentralDownloaded;
        assert_eq!(health.tell(), None);
        health.failed(5000, "nobody is there");
        health.failed(9000, "the door is shut");
        let away = Event::StoreAway {
            store: "https://policy.example/a".into(),
            reason: "the door is shut".into(),
            policy: "from the store".into(),
            policy_age_s: Some(0),
        };
        assert_eq!(health.tell(), Some(away));
        health.failed(12_000, "still shut");
        assert_eq!(health.tell(), None);
        let shown = health.status(13_000);
        assert_eq!(
            (shown.away.as_deref(), shown.away_ms),
            (Some("still shut"), Some(8000))
        );
        let back = Event::StoreBack {
            store: "https://policy.example/a".into(),
            away_s: 9,
        };
        assert_eq!(health.answered(14_999), Some(back));
        assert_eq!(health.answered(15_000), None);
    }
}
