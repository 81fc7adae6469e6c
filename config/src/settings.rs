//! Reads what goes for a whole policy.

use crate::Profile;
use crate::reader::Section;
use crate::reference::POLICY;

/// `[policy]`, if it is there.
pub(crate) fn open(root: Section<'_>) -> Option<Section<'_>> {
    root.get("policy")?.section(&POLICY)
}

/// Reads the profile in `[policy]`.
pub(crate) fn read_profile(section: Option<Section<'_>>) -> Profile {
    let Some(item) = section.and_then(|section| section.get("profile")) else {
        return Profile::default();
    };
    let profile = item.choice(Profile::NAMES).unwrap_or_default();
    if profile == Profile::Ws2003 {
        item.warning("legacy defaults: 3des-cbc, sha1, md5 and modp1024, and what matches no entry passes in clear");
    }
    profile
}
