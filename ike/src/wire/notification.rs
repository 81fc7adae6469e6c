//! The notification payload (RFC 2408 3.14, RFC 2407 4.6.3).

use crate::InvalidMessage;
use crate::wire::{IPSEC_DOI, Reader};

/// Notification types.
pub(crate) mod notify {
    pub(crate) const DOI_NOT_SUPPORTED: u16 = 2;
    pub(crate) const SITUATION_NOT_SUPPORTED: u16 = 3;
    pub(crate) const INVALID_MAJOR_VERSION: u16 = 5;
    pub(crate) const PAYLOAD_MALFORMED: u16 = 16;
    pub(crate) const NO_PROPOSAL_CHOSEN: u16 = 14;
    pub(crate) const INVALID_KEY_INFORMATION: u16 = 17;
    pub(crate) const INVALID_ID_INFORMATION: u16 = 18;
    pub(crate) const INVALID_CERTIFICATE: u16 = 20;
    pub(crate) const INVALID_HASH_INFORMATION: u16 = 23;
    pub(crate) const AUTHENTICATION_FAILED: u16 = 24;
    pub(crate) const INVALID_SIGNATURE: u16 = 25;
    /// Below this they are errors (RFC 2408 3.14.1).
    pub(crate) const CONNECTED: u16 = 16384;
    pub(crate) const RESPONDER_LIFETIME: u16 = 24576;
    pub(crate) const INITIAL_CONTACT: u16 = 24578;
    /// RFC 3706 5.2.
    pub(crate) const R_U_THERE: u16 = 36136;
    pub(crate) const R_U_THERE_ACK: u16 = 36137;
}

/// Names of the types that refuse something, from 1 on (RFC 2408 3.14.1).
const ERRORS: [&str; 30] = [
    "INVALID-PAYLOAD-TYPE",
    "DOI-NOT-SUPPORTED",
    "SITUATION-NOT-SUPPORTED",
    "INVALID-COOKIE",
    "INVALID-MAJOR-VERSION",
    "INVALID-MINOR-VERSION",
    "INVALID-EXCHANGE-TYPE",
    "INVALID-FLAGS",
    "INVALID-MESSAGE-ID",
    "INVALID-PROTOCOL-ID",
    "INVALID-SPI",
    "INVALID-TRANSFORM-ID",
    "ATTRIBUTES-NOT-SUPPORTED",
    "NO-PROPOSAL-CHOSEN",
    "BAD-PROPOSAL-SYNTAX",
    "PAYLOAD-MALFORMED",
    "INVALID-KEY-INFORMATION",
    "INVALID-ID-INFORMATION",
    "INVALID-CERT-ENCODING",
    "INVALID-CERTIFICATE",
    "CERT-TYPE-UNSUPPORTED",
    "INVALID-CERT-AUTHORITY",
    "INVALID-HASH-INFORMATION",
    "AUTHENTICATION-FAILED",
    "INVALID-SIGNATURE",
    "ADDRESS-NOTIFICATION",
    "NOTIFY-SA-LIFETIME",
    "CERTIFICATE-UNAVAILABLE",
    "UNSUPPORTED-EXCHANGE-TYPE",
    "UNEQUAL-PAYLOAD-LENGTHS",
];

/// A type's name in the RFC.
pub(crate) fn name(kind: u16) -> Option<&'static str> {
    ERRORS.get(usize::from(kind.checked_sub(1)?)).copied()
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) protocol: u8,
    pub(crate) spi: Vec<u8>,
    pub(crate) kind: u16,
    pub(crate) data: Vec<u8>,
}

impl Notification {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        // Errors may come in before the DOI is agreed on: 0 is ISAKMP itself (RFC 2408 3.14).
        if ![0, IPSEC_DOI].contains(&reader.u32()?) {
            return Err(InvalidMessage::Doi);
        }
        let protocol = reader.u8()?;
        let spi_size = usize::from(reader.u8()?);
        let kind = reader.u16()?;
        let spi = reader.take(spi_size)?.to_vec();
        Ok(Notification {
            protocol,
            spi,
            kind,
            data: reader.rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = IPSEC_DOI.to_be_bytes().to_vec();
        bytes.extend([self.protocol, self.spi.len() as u8]);
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(&self.spi);
        bytes.extend(&self.data);
        bytes
    }

    /// True for what refuses something (RFC 2408 3.14.1).
    pub(crate) fn is_error(&self) -> bool {
        self.kind < notify::CONNECTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_names_of_the_rfc() {
        assert_eq!(name(0), None);
        assert_eq!(name(1), Some("INVALID-PAYLOAD-TYPE"));
        assert_eq!(name(14), Some("NO-PROPOSAL-CHOSEN"));
        assert_eq!(name(17), Some("INVALID-KEY-INFORMATION"));
        assert_eq!(name(24), Some("AUTHENTICATION-FAILED"));
        assert_eq!(name(30), Some("UNEQUAL-PAYLOAD-LENGTHS"));
        assert_eq!(name(31), None);
    }

    #[test]
    fn reads_and_writes() {
        // R-U-THERE (RFC 3706 5.3): DOI 1, ISAKMP (1), SPI size 16, 36136, both cookies, sequence number.
        let bytes = [
            &[0, 0, 0, 1, 1, 16, 0x8d, 0x28][..],
            &[7; 8],
            &[8; 8],
            &[0, 0, 0, 5],
        ]
        .concat();
        let notification = Notification::parse(&bytes).unwrap();
        assert_eq!(notification.kind, 36136);
        assert_eq!(notification.spi, [[7; 8], [8; 8]].concat());
        assert_eq!(notification.data, [0, 0, 0, 5]);
        assert_eq!(notification.encode(), bytes);
        assert!(!notification.is_error());
        for length in 0..24 {
            let cut = Notification::parse(&bytes[..length]);
            assert_eq!(cut, Err(InvalidMessage::Truncated));
        }
    }
}
