//! Checks the SAs of a protect entry: order, modes and endpoints.

use crate::mistake::shown;
use crate::reader::Section;
use crate::sa::Sas;
use crate::spd::admits;
use crate::{Mode, SaConfig, Selector, Transform};

/// Checks both bundles of an entry, each a list of SA numbers, innermost first.
pub(crate) fn check(
    section: Section<'_>,
    selector: &Selector,
    outbound: &[usize],
    inbound: &[usize],
    sas: &Sas<'_>,
) {
    if outbound.is_empty() && inbound.is_empty() {
        let message = "expected `outbound` and `inbound` SAs with action \"protect\"";
        section.error("action", message);
        return;
    }
    for (key, bundle, lost) in [
        ("outbound", outbound, "packets to the peer are dropped"),
        ("inbound", inbound, "nothing from the peer is accepted"),
    ] {
        if bundle.is_empty() {
            section.warning(key, format!("no {key} SA: {lost}"));
        }
    }
    let configs = |bundle: &[usize]| bundle.iter().map(|i| sas.config(*i)).collect();
    // What could not be read has been reported: no more can be said of its bundle.
    let (Some(outbound), Some(inbound)): (Option<Vec<_>>, Option<Vec<_>>) =
        (configs(outbound), configs(inbound))
    else {
        return;
    };
    let ordered = [("outbound", &outbound), ("inbound", &inbound)]
        .map(|(key, bundle)| check_order(section, key, bundle));
    if ordered != [true, true] {
        return;
    }
    for (key, bundle) in [("outbound", &outbound), ("inbound", &inbound)] {
        if let [esp, ah] = bundle.as_slice() {
            check_pair(section, key, esp, ah);
        }
        if let Some(sa) = bundle.first().filter(|sa| sa.mode == Mode::Transport) {
            check_transport(section, key, selector, sa);
        }
    }
    if let (Some(out), Some(back)) = (outbound.first(), inbound.first()) {
        if out.mode != back.mode {
            // RFC 4301 4.4.1.2: the mode belongs to the entry, not to one direction.
            let message =
                "expected the mode of the outbound SA: an entry has one mode (RFC 4301 4.4.1.2)";
            section.error("inbound", message);
        }
    }
}

/// One SA, or ESP and AH around it.
fn check_order(section: Section<'_>, key: &'static str, bundle: &[&SaConfig]) -> bool {
    let message = match bundle {
        [] | [_] => return true,
        [esp, ah] if is_esp(esp) && !is_esp(ah) => return true,
        [ah, esp] if is_esp(esp) && !is_esp(ah) => {
            let (esp, ah) = (shown(&esp.name), shown(&ah.name));
            format!("expected ESP inside AH: first {esp}, then {ah}")
        }
        _ => "expected one SA, or one of ESP and then one of AH around it".to_owned(),
    };
    section.error(key, message);
    false
}

/// AH around ESP is in transport mode, between the same two addresses.
fn check_pair(section: Section<'_>, key: &'static str, esp: &SaConfig, ah: &SaConfig) {
    if ah.mode == Mode::Tunnel {
        let name = shown(&ah.name);
        let message =
            format!("expected transport mode for {name}: only the innermost may be a tunnel");
        section.error(key, message);
    }
    if (esp.source, esp.destination) != (ah.source, ah.destination) {
        let (source, destination) = (esp.source, esp.destination);
        let message = format!(
            "expected {} to go from {source} to {destination}, as {} inside it",
            shown(&ah.name),
            shown(&esp.name)
        );
        section.error(key, message);
    }
    if esp.udp.is_some() {
        // RFC 3948 1: AH covers the addresses that a NAT changes, so there is nothing to gain.
        let message = format!(
            "expected no UDP encapsulation in {}: AH around it does not pass address translation",
            shown(&esp.name)
        );
        section.error(key, message);
    }
}

/// In transport mode the selected packets carry the SA's own addresses (RFC 4301 4.1).
fn check_transport(section: Section<'_>, key: &str, selector: &Selector, sa: &SaConfig) {
    let (near, far) = match key {
        "outbound" => (sa.source, sa.destination),
        _ => (sa.destination, sa.source),
    };
    for (side, ranges, address) in [
        ("local", &selector.local, near),
        ("remote", &selector.remote, far),
    ] {
        if !admits(ranges, address) {
            let name = shown(&sa.name);
            let message =
                format!("expected {address} in it: {name} is in transport mode with that address");
            section.error(side, message);
        }
    }
}

fn is_esp(sa: &SaConfig) -> bool {
    matches!(sa.transform, Transform::Esp(..))
}
