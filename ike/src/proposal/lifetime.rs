//! How long SAs live: the life types and durations of both phases (RFC 2409 appendix A, RFC 2407 4.5), in proposals and
//! in RESPONDER-LIFETIME (RFC 2407 4.6.3.1).

use crate::InvalidMessage;
use crate::wire::attribute::Attribute;
use crate::wire::{Payloads, Reader};

pub(crate) const SECONDS: u64 = 1;
pub(crate) const KILOBYTES: u64 = 2;

/// The attributes' numbers: life type, life duration.
pub(crate) type Numbers = (u16, u16);
/// RFC 2409 appendix A.
pub(crate) const PHASE_1: Numbers = (11, 12);
/// RFC 2407 4.5.
pub(crate) const PHASE_2: Numbers = (1, 2);

/// The shortest life of phase 1 that a peer gets by asking: the least of a policy.
pub(crate) const LEAST_OF_PHASE_1: Lifetime = Lifetime {
    seconds: Some(60),
    kilobytes: Some(64),
};
/// The same of quick mode. A policy may have less of its own.
pub(crate) const LEAST_OF_PHASE_2: Lifetime = Lifetime {
    seconds: Some(60),
    kilobytes: Some(1024),
};

/// The life of an SA; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) seconds: Option<u64>,
    pub(crate) kilobytes: Option<u64>,
}

impl Lifetime {
    /// As a peer says it; zero is no limit, as strongSwan has it.
    pub(crate) fn said(seconds: Option<u64>, kilobytes: Option<u64>) -> Self {
        let limit = |said: Option<u64>| said.filter(|said| *said != 0);
        Lifetime {
            seconds: limit(seconds),
            kilobytes: limit(kilobytes),
        }
    }

    /// The shorter of both, in each measure.
    pub(crate) fn shorter(self, other: Self) -> Self {
        let shorter = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Lifetime {
            seconds: shorter(self.seconds, other.seconds),
            kilobytes: shorter(self.kilobytes, other.kilobytes),
        }
    }

    /// What a peer said, raised to the least that it gets: with one second, or a kilobyte, it would have us renew
    /// without end. It may still end its SA when it likes.
    pub(crate) fn at_least(self, least: Self) -> Self {
        let raised =
            |said: Option<u64>, least: Option<u64>| said.map(|said| said.max(least.unwrap_or(0)));
        Lifetime {
            seconds: raised(self.seconds, least.seconds),
            kilobytes: raised(self.kilobytes, least.kilobytes),
        }
    }

    /// What it says that `offered` does not: that the other end does not know yet.
    pub(crate) fn beside(self, offered: Self) -> Option<Self> {
        self.where_it(offered, |ours, offered| Some(ours) != offered)
    }

    /// What it says that is less than `life`.
    pub(crate) fn below(self, life: Self) -> Option<Self> {
        self.where_it(life, |said, life| life.is_some_and(|life| said < life))
    }

    fn where_it(self, other: Self, holds: impl Fn(u64, Option<u64>) -> bool) -> Option<Self> {
        let kept = |it: Option<u64>, other| it.filter(|it| holds(*it, other));
        let kept = Lifetime {
            seconds: kept(self.seconds, other.seconds),
            kilobytes: kept(self.kilobytes, other.kilobytes),
        };
        Some(kept).filter(|kept| *kept != Lifetime::default())
    }

    /// Attributes that say it.
    pub(crate) fn attributes(self, (kind, duration): Numbers) -> Vec<Attribute> {
        let pair = |measure: u64, said: Option<u64>| {
            said.map(|said| {
                let said = u32::try_from(said).unwrap_or(u32::MAX);
                [
                    Attribute::basic(kind, measure as u16),
                    Attribute::number(duration, said),
                ]
            })
        };
        let all = [pair(SECONDS, self.seconds), pair(KILOBYTES, self.kilobytes)];
        all.into_iter().flatten().flatten().collect()
    }

    /// The data of RESPONDER-LIFETIME.
    pub(crate) fn encode(self, numbers: Numbers) -> Vec<u8> {
        let mut bytes = Vec::new();
        for attribute in self.attributes(numbers) {
            attribute.encode(&mut bytes);
        }
        bytes
    }

    /// Reads that. Of phase 1 some speak with the numbers of the DOI, others with those of RFC 2409.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, InvalidMessage> {
        let (mut reader, mut measure) = (Reader::new(data), None);
        let (mut seconds, mut kilobytes) = (None, None);
        while !reader.is_empty() {
            let attribute = Attribute::parse(&mut reader)?;
            let value = Some(attribute.as_number()?);
            match attribute.kind {
                kind if [PHASE_1.0, PHASE_2.0].contains(&kind) => measure = value,
                kind if ![PHASE_1.1, PHASE_2.1].contains(&kind) => {}
                _ if measure == Some(SECONDS) => seconds = value,
                _ if measure == Some(KILOBYTES) => kilobytes = value,
                _ => {}
            }
        }
        Ok(Lifetime::said(seconds, kilobytes))
    }
}

/// What the responder's notifications of a message say of the SA with this protocol and one of these SPIs.
pub(crate) fn of_responder(
    payloads: &Payloads<'_>,
    is_about: impl Fn(u8, &[u8]) -> bool,
) -> Lifetime {
    use crate::wire::notification::{Notification, notify};
    use crate::wire::payload::kind;
    let all = payloads.all(kind::NOTIFICATION);
    let all = all.filter_map(|body| Notification::parse(body).ok());
    let all = all.filter(|n| n.kind == notify::RESPONDER_LIFETIME && is_about(n.protocol, &n.spi));
    let all = all.filter_map(|n| Lifetime::parse(&n.data).ok());
    all.fold(Lifetime::default(), Lifetime::shorter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let life = Lifetime {
            seconds: Some(28800),
            kilobytes: Some(0x0012_d687),
        };
        // Life type (1) seconds (1), duration (2) 28800; kilobytes (2), of four bytes.
        let bytes = [
            &[0x80, 1, 0, 1, 0x80, 2, 0x70, 0x80][..],
            &[0x80, 1, 0, 2, 0, 2, 0, 4, 0, 0x12, 0xd6, 0x87],
        ];
        assert_eq!(life.encode(PHASE_2), bytes.concat());
        assert_eq!(Lifetime::parse(&bytes.concat()), Ok(life));
        // Of phase 1 in the numbers of RFC 2409, as Cisco's devices say it: a day.
        let day = [0x80, 11, 0, 1, 0, 12, 0, 4, 0, 1, 0x51, 0x80];
        assert_eq!(Lifetime::parse(&day).unwrap().seconds, Some(86400));
        assert_eq!(Lifetime::parse(&[]), Ok(Lifetime::default()));
        assert_eq!(Lifetime::parse(&day[..7]), Err(InvalidMessage::Truncated));
    }

    #[test]
    fn the_shorter_one_counts_but_for_less_than_a_peer_gets() {
        let hour = Lifetime::said(Some(3600), Some(0));
        let day = Lifetime::said(Some(86400), Some(1000));
        assert_eq!(hour.kilobytes, None);
        let both = Lifetime::said(Some(3600), Some(1000));
        assert_eq!(hour.shorter(day), both);
        assert_eq!(hour.beside(day), Some(hour));
        assert_eq!(both.beside(hour), Some(Lifetime::said(None, Some(1000))));
        assert_eq!(hour.beside(both), None);
        let second = Lifetime::said(Some(1), None);
        let minute = Lifetime::said(Some(60), None);
        assert_eq!(second.at_least(LEAST_OF_PHASE_1), minute);
        assert_eq!(minute.beside(second), Some(minute));
        assert_eq!(second.below(minute), Some(second));
        assert_eq!(day.below(both), None);
        assert_eq!(both.at_least(LEAST_OF_PHASE_1), both);
    }
}
