//! Vendor ids (RFC 2408 3.16): what they say beyond the protocol.

/// RFC 3947 3.1: MD5 of "RFC 3947".
pub(crate) const RFC_3947: [u8; 16] = [
    0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f,
];
/// MD5 of "draft-ietf-ipsec-nat-t-ike-03".
pub(crate) const NAT_T_03: [u8; 16] = [
    0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56,
];
/// MD5 of "draft-ietf-ipsec-nat-t-ike-02\n", as many hashed it.
pub(crate) const NAT_T_02_N: [u8; 16] = [
    0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b, 0x1f,
];
/// MD5 of "draft-ietf-ipsec-nat-t-ike-02".
pub(crate) const NAT_T_02: [u8; 16] = [
    0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4, 0x48,
];
/// RFC 3706 5.1: dead peer detection, version 1.0.
pub(crate) const DPD: [u8; 16] = [
    0xaf, 0xca, 0xd7, 0x13, 0x68, 0xa1, 0xf1, 0xc9, 0x6b, 0x86, 0x96, 0xfc, 0x77, 0x57, 0x01, 0x00,
];
/// MD5 of "FRAGMENTATION": joins fragments of messages.
pub(crate) const FRAGMENTATION: [u8; 16] = [
    0x40, 0x48, 0xb7, 0xd5, 0x6e, 0xbc, 0xe8, 0x85, 0x25, 0xe7, 0xde, 0x7f, 0x00, 0xd6, 0xc2, 0xd3,
];
/// What follows FRAGMENTATION where the capabilities are told: main mode (and aggressive mode 0x40000000).
const FRAGMENTATION_CAPABLE: u32 = 0x8000_0000 | 0x4000_0000;
/// MD5 of "MS NT5 ISAKMPOAKLEY", before a version: Windows, whose quick mode has four messages (requirement 69).
pub(crate) const WINDOWS: [u8; 16] = [
    0x1e, 0x2b, 0x51, 0x69, 0x05, 0x99, 0x1c, 0x7d, 0x7c, 0x96, 0xfc, 0xbf, 0xb5, 0x87, 0xe4, 0x61,
];

/// draft-beaulieu-ike-xauth-02 4: extended authentication.
pub(crate) const XAUTH: [u8; 8] = [0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12];
/// MD5 of "CISCO-UNITY", whose last two bytes are a version, 1.0: attributes of mode config beyond the draft.
pub(crate) const UNITY: [u8; 16] = [
    0x12, 0xf5, 0xf2, 0x8c, 0x45, 0x71, 0x68, 0xa9, 0x70, 0x2d, 0x9f, 0xe2, 0x74, 0xcc, 0x01, 0x00,
];

/// How NAT-T payloads are numbered and modes are named: a draft's way, or the RFC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatTraversalVersion {
    Draft,
    Rfc3947,
}

/// What a peer's vendor ids say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) nat_traversal: Option<NatTraversalVersion>,
    pub(crate) dpd: bool,
    pub(crate) fragmentation: bool,
    pub(crate) windows: bool,
}

impl Capabilities {
    /// Takes note of one vendor id; unknown ones say nothing (RFC 2408 3.16).
    pub(crate) fn note(&mut self, vendor_id: &[u8]) {
        if vendor_id == RFC_3947 {
            self.nat_traversal = Some(NatTraversalVersion::Rfc3947);
        } else if [NAT_T_03, NAT_T_02, NAT_T_02_N]
            .iter()
            .any(|v| vendor_id == v)
        {
            // The RFC's way goes before a draft's (RFC 3947 3.1).
            self.nat_traversal = self.nat_traversal.or(Some(NatTraversalVersion::Draft));
        } else if vendor_id == DPD {
            self.dpd = true;
        } else if vendor_id.starts_with(&FRAGMENTATION) {
            self.fragmentation = true;
        } else if vendor_id.starts_with(&WINDOWS) {
            self.windows = true;
        }
    }
}

/// Our vendor ids.
pub(crate) fn ours(nat_traversal: bool) -> Vec<Vec<u8>> {
    let mut ids = vec![DPD.to_vec(), fragmentation()];
    if nat_traversal {
        let versions = [RFC_3947, NAT_T_03, NAT_T_02_N, NAT_T_02];
        ids.extend(versions.map(|v| v.to_vec()));
    }
    ids
}

fn fragmentation() -> Vec<u8> {
    let mut id = FRAGMENTATION.to_vec();
    id.extend(FRAGMENTATION_CAPABLE.to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_goes_before_the_drafts() {
        for order in [[RFC_3947, NAT_T_02], [NAT_T_02, RFC_3947]] {
            let mut capabilities = Capabilities::default();
            order.iter().for_each(|id| capabilities.note(id));
            let version = capabilities.nat_traversal;
            assert_eq!(version, Some(NatTraversalVersion::Rfc3947));
        }
        let mut capabilities = Capabilities::default();
        capabilities.note(&NAT_T_02_N);
        let version = capabilities.nat_traversal;
        assert_eq!(version, Some(NatTraversalVersion::Draft));
    }

    #[test]
    fn ours_are_understood() {
        let mut capabilities = Capabilities::default();
        ours(true).iter().for_each(|id| capabilities.note(id));
        assert!(capabilities.dpd && capabilities.fragmentation && !capabilities.windows);
        assert!(capabilities.nat_traversal.is_some());
        // The value in requirement 69.
        capabilities.note(&[&WINDOWS[..], &[0, 0, 0, 2]].concat());
        assert!(capabilities.windows);
    }
}
