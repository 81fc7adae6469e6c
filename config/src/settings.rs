//! Reads what goes for a whole policy.

use crate::ports::members;
use crate::reader::{Item, Section};
use crate::reference::{MANAGEMENT, POLICY};
use crate::{Exemptions, Profile, Selector, spd};

/// Next layer protocol of management where nothing is said.
const TCP: u8 = 6;
/// Seconds of a day.
const DAY: u64 = 86_400;

/// `[policy]`.
pub(crate) struct Settings<'a> {
    /// `None`: it is left out.
    pub(crate) section: Option<Section<'a>>,
    pub(crate) profile: Profile,
    pub(crate) exemptions: Option<Exemptions>,
    /// Seconds.
    pub(crate) inbound_overlap: u64,
    /// Ways in that must stay open; an empty `local` is this gateway.
    pub(crate) management: Vec<(Item<'a>, Selector)>,
}

/// Reads `[policy]`.
pub(crate) fn read(root: Section<'_>) -> Settings<'_> {
    let section = root.get("policy").and_then(|i| i.section(&POLICY));
    let get = |key| section.and_then(|section| section.get(key));
    let profile = get("profile").and_then(read_profile).unwrap_or_default();
    let usual = (profile == Profile::Ws2003).then_some(Exemptions::WS2003);
    let exemptions = get("default-exemption").and_then(read_exemptions);
    let overlap = get("inbound-overlap").and_then(|item| item.integer(0, DAY));
    let management = section.into_iter().flat_map(|s| members(s, "management"));
    Settings {
        section,
        profile,
        exemptions: exemptions.or(usual),
        inbound_overlap: overlap.unwrap_or(profile.inbound_overlap()),
        management: management.filter_map(read_management).collect(),
    }
}

fn read_profile(item: Item<'_>) -> Option<Profile> {
    let profile = item.choice(Profile::NAMES)?;
    if profile == Profile::Ws2003 {
        item.warning("legacy defaults: 3des-cbc, sha1, md5 and modp1024, and what matches no entry passes in clear");
    }
    Some(profile)
}

fn read_exemptions(item: Item<'_>) -> Option<Exemptions> {
    let exemptions = Exemptions::new(item.integer(0, 3)?)?;
    if exemptions.has_kerberos() {
        item.warning("Kerberos is exempt: whoever sends from port 88 reaches every port of this gateway in clear");
    }
    Some(exemptions)
}

fn read_management(item: Item<'_>) -> Option<(Item<'_>, Selector)> {
    let section = item.section(&MANAGEMENT)?;
    let local = spd::read_ranges(section, "local");
    section.require("remote")?;
    let remote = spd::read_ranges(section, "remote");
    let upper = spd::read_upper_or(section, ["local-port", "remote-port"], Some(TCP));
    let selector = Selector {
        local: local?,
        remote: remote?,
        upper: upper?,
    };
    Some((item, selector))
}
