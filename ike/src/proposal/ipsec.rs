//! Phase 2: proposals of the IPsec DOI (RFC 2407 4.4 and 4.5, RFC 3947 5.1, RFC 4304).

mod numbers;

use portcullis_config::{ChildProposal, Group, Limits, Mode};

use super::ike::group_number;
use super::lifetime::{KILOBYTES, Lifetime, PHASE_2, SECONDS};
use super::{compare, named};
use crate::InvalidMessage;
use crate::show::{Difference, Mismatch};
use crate::wire::attribute::Attribute;
use crate::wire::protocol;
use crate::wire::security_association::{Proposal, SecurityAssociation, Transform};
use crate::wire::vendor_id::NatTraversalVersion;

pub use numbers::has_names;
use numbers::{AH_NAMES, AUTHENTICATIONS, ESP_NAMES, MODES, ah_transform, esp_transform};

/// Attributes (RFC 2407 4.5, RFC 4304 2).
const LIFE_TYPE: u16 = PHASE_2.0;
const LIFE_DURATION: u16 = PHASE_2.1;
const GROUP: u16 = 3;
const ENCAPSULATION_MODE: u16 = 4;
const AUTHENTICATION: u16 = 5;
const KEY_LENGTH: u16 = 6;
const EXTENDED_SEQUENCE_NUMBERS: u16 = 11;

/// What a child of a connection allows in quick mode.
pub(crate) struct Policy<'a> {
    pub(crate) proposals: &'a [ChildProposal],
    pub(crate) mode: Mode,
    /// ESP in UDP, and who numbers the modes.
    pub(crate) udp: Option<NatTraversalVersion>,
    pub(crate) pfs: Option<Group>,
    pub(crate) hard: Limits,
}

/// SPIs of one end's inbound SAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spis {
    pub(crate) esp: Option<u32>,
    pub(crate) ah: Option<u32>,
}

/// What both agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) proposal: ChildProposal,
    /// The SPIs of the end whose message this was.
    pub(crate) spis: Spis,
    pub(crate) lifetime: Lifetime,
    /// The choice in the initiator's words.
    answer: Vec<Proposal>,
}

impl Chosen {
    /// The responder's answer: the choice as it was offered, with the responder's SPIs.
    pub(crate) fn answer(&self, spis: Spis) -> SecurityAssociation {
        let proposals = self.answer.iter().map(|proposal| {
            let spi = match proposal.protocol {
                protocol::AH => spis.ah,
                _ => spis.esp,
            };
            Proposal {
                spi: spi.unwrap_or_default().to_be_bytes().to_vec(),
                ..proposal.clone()
            }
        });
        SecurityAssociation {
            proposals: proposals.collect(),
        }
    }
}

type Number = Option<u64>;

/// A transform, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offer {
    id: u8,
    key_length: Number,
    authentication: Number,
    mode: Number,
    group: Number,
    esn: Number,
    seconds: Number,
    kilobytes: Number,
    unknown: Number,
}

impl Offer {
    fn read(transform: &Transform) -> Result<Self, InvalidMessage> {
        let mut offer = Offer {
            id: transform.id,
            ..Offer::default()
        };
        let mut life_type = None;
        for attribute in &transform.attributes {
            let value = Some(attribute.as_number()?);
            match attribute.kind {
                LIFE_TYPE => life_type = value,
                LIFE_DURATION if life_type == Some(SECONDS) => offer.seconds = value,
                LIFE_DURATION if life_type == Some(KILOBYTES) => offer.kilobytes = value,
                GROUP => offer.group = value,
                ENCAPSULATION_MODE => offer.mode = value,
                AUTHENTICATION => offer.authentication = value,
                KEY_LENGTH => offer.key_length = value,
                // RFC 4304 2: 1 is 64 bit sequence numbers.
                EXTENDED_SEQUENCE_NUMBERS => offer.esn = value,
                other => offer.unknown = Some(u64::from(other)),
            }
        }
        Ok(offer)
    }

    /// The first attribute in which the peer's offer is not ours.
    fn difference(&self, ours: &Offer, names: &[(u8, &str)]) -> Option<Difference> {
        let number = |n: &Number| n.map_or("none".to_owned(), |n| n.to_string());
        let difference = compare("transform", &self.id, &ours.id, |n| named(names, Some(*n)))
            .or_else(|| compare("key length", &self.key_length, &ours.key_length, number))
            .or_else(|| {
                compare(
                    "authentication",
                    &self.authentication,
                    &ours.authentication,
                    |n| named(AUTHENTICATIONS, *n),
                )
            })
            // RFC 2407 4.5: one that is not said is up to the host.
            .or_else(|| {
                compare("mode", &self.mode.or(ours.mode), &ours.mode, |n| {
                    named(MODES, *n)
                })
            })
            .or_else(|| compare("group", &self.group, &ours.group, number))
            .or_else(|| compare("sequence numbers", &self.esn, &ours.esn, number))
            .or_else(|| compare("attribute", &self.unknown, &ours.unknown, number))?;
        Some(Difference {
            ours: ours.describe(names),
            ..difference
        })
    }

    fn describe(&self, names: &[(u8, &str)]) -> String {
        let bits = self.key_length.map_or(String::new(), |n| format!("-{n}"));
        let mut text = format!("{}{bits}", named(names, Some(self.id)));
        if let Some(authentication) = self.authentication {
            text += &format!(", {}", named(AUTHENTICATIONS, Some(authentication)));
        }
        text += &format!(", {}", named(MODES, self.mode));
        if let Some(group) = self.group {
            text += &format!(", group {group}");
        }
        if self.esn.is_some() {
            text += ", 64 bit sequence numbers";
        }
        text
    }
}

/// Offers of one proposal number: for each protocol the alternatives.
type Alternatives<'a> = Vec<(&'a Proposal, Vec<(&'a Transform, Offer)>)>;

impl Policy<'_> {
    /// Ours that quick mode can name; where a NAT is, without AH, which cannot pass it (RFC 3947 5.1).
    fn usable(
        &self,
    ) -> impl Iterator<Item = (&ChildProposal, Option<Transform>, Option<Transform>)> {
        self.proposals.iter().filter_map(|ours| {
            let esp = match ours.esp {
                Some(transform) => Some(self.transform(esp_transform(transform)?, ours.esn)),
                None => None,
            };
            let ah = match ours.ah {
                Some(_) if self.udp.is_some() => return None,
                Some(integrity) => Some(self.transform(ah_transform(integrity)?, ours.esn)),
                None => None,
            };
            (esp.is_some() || ah.is_some()).then_some((ours, esp, ah))
        })
    }

    fn transform(&self, numbers: numbers::Numbers, esn: bool) -> Transform {
        let mut attributes = lifetime(&self.hard).attributes(PHASE_2);
        attributes.push(Attribute::basic(ENCAPSULATION_MODE, self.mode_number()));
        let mut optional = |kind, value: Option<u16>| {
            attributes.extend(value.map(|value| Attribute::basic(kind, value)));
        };
        optional(AUTHENTICATION, numbers.authentication);
        optional(KEY_LENGTH, numbers.key_length);
        optional(GROUP, self.pfs.map(group_number));
        optional(EXTENDED_SEQUENCE_NUMBERS, esn.then_some(1));
        Transform {
            number: 1,
            id: numbers.id,
            attributes,
        }
    }

    fn mode_number(&self) -> u16 {
        use NatTraversalVersion::{Draft, Rfc3947};
        match (self.mode, self.udp) {
            (Mode::Tunnel, None) => 1,
            (Mode::Transport, None) => 2,
            (Mode::Tunnel, Some(Rfc3947)) => 3,
            (Mode::Transport, Some(Rfc3947)) => 4,
            (Mode::Tunnel, Some(Draft)) => 61443,
            (Mode::Transport, Some(Draft)) => 61444,
        }
    }

    /// The protocols that our offer needs SPIs for.
    pub(crate) fn protocols(&self) -> (bool, bool) {
        let needs = |esp, ah| (esp, ah);
        self.usable()
            .fold(needs(false, false), |sum, (_, esp, ah)| {
                needs(sum.0 || esp.is_some(), sum.1 || ah.is_some())
            })
    }

    /// The offer of an initiator. Neighbours of the same single protocol share a proposal.
    pub(crate) fn offer(&self, spis: Spis) -> SecurityAssociation {
        let mut proposals: Vec<Proposal> = Vec::new();
        let mut number = 0;
        let spi = |spi: Option<u32>| spi.unwrap_or_default().to_be_bytes().to_vec();
        for (_, esp, ah) in self.usable() {
            let single = match (&esp, &ah) {
                (Some(transform), None) => Some((protocol::ESP, transform)),
                (None, Some(transform)) => Some((protocol::AH, transform)),
                _ => None,
            };
            let bundle = proposals.iter().filter(|p| p.number == number).count() > 1;
            if let (Some((protocol, transform)), Some(last), false) =
                (single, proposals.last_mut(), bundle)
            {
                if last.protocol == protocol {
                    let number = last.transforms.len() as u8 + 1;
                    let transform = transform.clone();
                    last.transforms.push(Transform {
                        number,
                        ..transform
                    });
                    continue;
                }
            }
            number += 1;
            let mut add = |protocol, spi, transform: Option<Transform>| {
                proposals.extend(transform.map(|transform| Proposal {
                    number,
                    protocol,
                    spi,
                    transforms: vec![transform],
                }));
            };
            // RFC 2407 4.6.1 does not say an order; from the payload outwards, AH comes last.
            add(protocol::ESP, spi(spis.esp), esp);
            add(protocol::AH, spi(spis.ah), ah);
        }
        SecurityAssociation { proposals }
    }

    /// The responder's choice: the first of ours that the peer offers.
    pub(crate) fn choose(
        &self,
        offered: &SecurityAssociation,
    ) -> Result<Result<Chosen, Vec<Mismatch>>, InvalidMessage> {
        let groups = read(offered)?;
        for (ours, esp, ah) in self.usable() {
            for group in &groups {
                if let Some(chosen) = take(ours, &esp, &ah, group)? {
                    return Ok(Ok(chosen));
                }
            }
        }
        groups
            .iter()
            .map(|group| self.mismatch(group))
            .collect::<Result<_, _>>()
            .map(Err)
    }

    fn mismatch(&self, group: &Alternatives<'_>) -> Result<Mismatch, InvalidMessage> {
        let describe = |(proposal, transforms): &(&Proposal, Vec<(&Transform, Offer)>)| {
            let names = names(proposal.protocol);
            let all = transforms.iter().map(|(_, offer)| offer.describe(names));
            all.collect::<Vec<_>>().join(" or ")
        };
        let offered: Vec<_> = group.iter().map(describe).collect();
        let mut differences = Vec::new();
        for (_, esp, ah) in self.usable() {
            for (number, ours) in [(protocol::ESP, &esp), (protocol::AH, &ah)] {
                let theirs = group.iter().find(|(p, _)| p.protocol == number);
                let names = names(number);
                let difference = match (ours, theirs) {
                    (None, None) => continue,
                    (Some(ours), Some((_, transforms))) => {
                        let ours = Offer::read(ours)?;
                        let last = transforms.last();
                        last.and_then(|(_, offer)| offer.difference(&ours, names))
                    }
                    (ours, theirs) => Some(Difference {
                        ours: match ours {
                            Some(ours) => Offer::read(ours)?.describe(names),
                            None => "ours".to_owned(),
                        },
                        attribute: "protocol",
                        offered: presence(number, theirs.is_some()),
                        expected: presence(number, ours.is_some()),
                    }),
                };
                differences.extend(difference);
            }
        }
        Ok(Mismatch {
            offered: offered.join(" with "),
            differences,
        })
    }

    /// What the responder chose of our offer; `None` if it changed it (requirement 72).
    pub(crate) fn chosen(
        &self,
        answer: &SecurityAssociation,
    ) -> Result<Option<Chosen>, InvalidMessage> {
        let groups = read(answer)?;
        let single = answer.proposals.iter().all(|p| p.transforms.len() == 1);
        let [group] = &groups[..] else {
            return Ok(None);
        };
        if !single {
            return Ok(None);
        }
        for (ours, esp, ah) in self.usable() {
            if let Some(chosen) = take(ours, &esp, &ah, group)? {
                let wanted = esp.as_ref().or(ah.as_ref());
                let wanted = wanted.map(Offer::read).transpose()?.unwrap_or_default();
                let unchanged = |theirs: Number, ours: Number| theirs.is_none() || theirs == ours;
                let same = unchanged(chosen.lifetime.seconds, wanted.seconds)
                    && unchanged(chosen.lifetime.kilobytes, wanted.kilobytes);
                return Ok(same.then_some(chosen));
            }
        }
        Ok(None)
    }
}

/// What a child's hard limits are in the words of quick mode.
pub(crate) fn lifetime(hard: &Limits) -> Lifetime {
    Lifetime {
        seconds: hard.seconds,
        kilobytes: hard.bytes.map(|bytes| bytes.div_ceil(1024)),
    }
}

fn presence(number: u8, there: bool) -> String {
    let name = if number == protocol::AH { "AH" } else { "ESP" };
    match there {
        true => name.to_owned(),
        false => format!("no {name}"),
    }
}

fn names(number: u8) -> &'static [(u8, &'static str)] {
    match number {
        protocol::AH => AH_NAMES,
        _ => ESP_NAMES,
    }
}

/// Groups proposals by number and reads their transforms.
fn read(offered: &SecurityAssociation) -> Result<Vec<Alternatives<'_>>, InvalidMessage> {
    let mut groups: Vec<(u8, Alternatives<'_>)> = Vec::new();
    for proposal in &offered.proposals {
        let transforms = proposal.transforms.iter();
        let transforms = transforms.map(|t| Offer::read(t).map(|offer| (t, offer)));
        let entry = (proposal, transforms.collect::<Result<_, _>>()?);
        match groups.last_mut() {
            Some((number, group)) if *number == proposal.number => group.push(entry),
            _ => groups.push((proposal.number, vec![entry])),
        }
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// Takes a proposal if it has exactly the protocols of ours, each with a transform like ours and an SPI.
fn take(
    ours: &ChildProposal,
    esp: &Option<Transform>,
    ah: &Option<Transform>,
    group: &Alternatives<'_>,
) -> Result<Option<Chosen>, InvalidMessage> {
    let wanted = usize::from(esp.is_some()) + usize::from(ah.is_some());
    if group.len() != wanted {
        return Ok(None);
    }
    let mut chosen = Chosen {
        proposal: *ours,
        spis: Spis::default(),
        lifetime: Lifetime::default(),
        answer: Vec::new(),
    };
    for (proposal, transforms) in group {
        let ours = match proposal.protocol {
            protocol::ESP => esp,
            protocol::AH => ah,
            _ => &None,
        };
        let Some(ours) = ours else {
            return Ok(None);
        };
        let (wanted, names) = (Offer::read(ours)?, names(proposal.protocol));
        let found = transforms
            .iter()
            .find(|(_, offer)| offer.difference(&wanted, names).is_none());
        // RFC 2407 4.6.1: four bytes; 255 and less are reserved (RFC 4303 2.1).
        let spi = <[u8; 4]>::try_from(&proposal.spi[..]).map(u32::from_be_bytes);
        let (Some((transform, offer)), Ok(spi @ 256..)) = (found, spi) else {
            return Ok(None);
        };
        let place = match proposal.protocol {
            protocol::AH => &mut chosen.spis.ah,
            _ => &mut chosen.spis.esp,
        };
        *place = Some(spi);
        let said = Lifetime::said(offer.seconds, offer.kilobytes);
        chosen.lifetime = chosen.lifetime.shorter(said);
        chosen.answer.push(Proposal {
            transforms: vec![(*transform).clone()],
            ..(*proposal).clone()
        });
    }
    let complete = chosen.spis.esp.is_some() == esp.is_some();
    Ok((complete && chosen.spis.ah.is_some() == ah.is_some()).then_some(chosen))
}

#[cfg(test)]
mod tests;
