//! Checks SAs against each other: identity, shared keys, and whether anything uses them.

use std::collections::HashMap;

use crate::keys::{CIPHER_KEY, INTEGRITY_KEY};
use crate::sa::Sas;
use crate::spd::Entry;
use crate::{Action, Direction, Integrity, SaConfig, Secret, Transform};

/// Refuses two SAs with one identity in one direction (RFC 4301 4.1).
pub(crate) fn check_identities(sas: &Sas<'_>) {
    let mut known = HashMap::with_capacity(sas.list.len());
    for (number, sa) in (0u32..).zip(&sas.list) {
        let Some(config) = &sa.config else { continue };
        let protocol = config.transform.protocol();
        let identity = (config.direction, config.spi, config.destination, protocol);
        let first = known.insert(identity, number);
        if let Some(first) = first.and_then(|first| sas.list.get(first as usize)) {
            let first = first.section.line();
            let direction = match config.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            let message = format!(
                "the {direction} SA in line {first} has this SPI with the same destination and protocol"
            );
            sa.section.error("spi", message);
        }
    }
}

/// Warns of one key in two SAs with counter modes: both count from 1, so every nonce comes twice.
pub(crate) fn check_shared_keys(sas: &Sas<'_>) {
    let mut known: HashMap<&[u8], u32> = HashMap::with_capacity(sas.list.len());
    for (number, sa) in (0u32..).zip(&sas.list) {
        let counter_key = sa.config.as_ref().and_then(counter_mode_key);
        let Some((key, (inline, file))) = counter_key.filter(|(key, _)| !key.expose().is_empty())
        else {
            continue;
        };
        let name = if sa.section.has(inline) { inline } else { file };
        let first = known.insert(key.expose(), number);
        if let Some(first) = first.and_then(|first| sas.list.get(first as usize)) {
            let first = first.section.line();
            let message = format!(
                "the SA in line {first} has the same key: in a counter mode every nonce is used twice (RFC 4106 2)"
            );
            sa.section.warning(name, message);
        }
    }
}

/// Warns of SAs that no SPD entry names.
pub(crate) fn check_unused(sas: &Sas<'_>, entries: &[Entry<'_>]) {
    let mut used = vec![false; sas.list.len()];
    for entry in entries {
        match &entry.entry {
            Some(entry) => uses(&entry.action, |index| {
                if let Some(mark) = used.get_mut(index) {
                    *mark = true;
                }
            }),
            // An entry that could not be read may name any of them.
            None => return,
        }
    }
    for (sa, _) in sas.list.iter().zip(&used).filter(|(_, used)| !**used) {
        sa.section
            .warning("name", "no SPD entry names this SA: nothing uses it");
    }
}

/// Calls `mark` with the number of every SA of an action.
pub(crate) fn uses(action: &Action, mark: impl FnMut(usize)) {
    if let Action::Protect { outbound, inbound } = action {
        outbound.iter().chain(inbound).copied().for_each(mark);
    }
}

fn counter_mode_key(config: &SaConfig) -> Option<(&Secret, crate::keys::KeyNames)> {
    match config.transform {
        Transform::Esp(cipher, _) if cipher.is_counter_mode() => {
            Some((&config.cipher_key, CIPHER_KEY))
        }
        Transform::Ah(Integrity::AesGmac(_)) => Some((&config.integrity_key, INTEGRITY_KEY)),
        _ => None,
    }
}
