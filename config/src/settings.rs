//! Reads what goes for a whole policy.

use crate::Profile;
use crate::reader::Section;
use crate::reference::POLICY;

/// Reads the profile in `[policy]`.
pub(crate) fn read_profile(root: Section<'_>) -> Profile {
    let section = root.get("policy").and_then(|i| i.section(&POLICY));
    let Some(item) = section.and_then(|section| section.get("profile")) else {
        return Profile::default();
    };
    let profile = item.choice(Profile::NAMES).unwrap_or_default();
    if profile == Profile::Ws2003 {
        item.warning("legacy defaults: 3des-cbc, sha1, md5 and modp1024, and what matches no entry passes in clear");
    }
    profile
}
