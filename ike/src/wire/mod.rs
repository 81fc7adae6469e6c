//! Wire formats of ISAKMP (RFC 2408 3): one file for each payload that has a structure. Payloads that are a plain
//! string of bytes (key exchange, nonce, hash, signature, vendor id, NAT-D) need none.

pub(crate) mod attribute;
pub(crate) mod certificate;
pub(crate) mod configuration;
pub(crate) mod delete;
pub(crate) mod fragment;
pub(crate) mod identification;
pub(crate) mod nat_original_address;
pub(crate) mod notification;
pub(crate) mod payload;
pub(crate) mod reader;
pub(crate) mod security_association;
pub(crate) mod vendor_id;
pub(crate) mod writer;

pub(crate) use payload::Payloads;
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// IPsec's domain of interpretation (RFC 2407 4.2).
pub(crate) const IPSEC_DOI: u32 = 1;

/// Protocols of the IPsec DOI (RFC 2407 4.4.1).
pub(crate) mod protocol {
    pub(crate) const ISAKMP: u8 = 1;
    pub(crate) const AH: u8 = 2;
    pub(crate) const ESP: u8 = 3;
}
