//! The ISAKMP header (RFC 2408 3.1), which is IKEv2's too (RFC 7296 3.1).

use crate::InvalidMessage;

/// Length of the header in bytes.
pub const LENGTH: usize = 28;
/// Four zero bytes before IKE on a port shared with ESP (RFC 3948 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Initiator's cookie (SPI in IKEv2); never zero.
    pub initiator_cookie: [u8; 8],
    /// Responder's cookie; zero in the first message.
    pub responder_cookie: [u8; 8],
    /// Type of the first payload.
    pub next_payload: u8,
    /// Major version in the high four bits, minor in the low.
    pub version: u8,
    /// Exchange type.
    pub exchange_type: u8,
    /// Flags.
    pub flags: u8,
    /// Message id.
    pub message_id: u32,
    /// Length of the whole message in bytes.
    pub length: u32,
}

impl Header {
    /// Reads the header of a whole message, behind a non-ESP marker if there is one.
    pub fn parse(message: &[u8]) -> Result<Header, InvalidMessage> {
        let message = message.strip_prefix(&NON_ESP_MARKER).unwrap_or(message);
        let bytes: &[u8; LENGTH] = message.first_chunk().ok_or(InvalidMessage::Truncated)?;
        let &[
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            l,
            m,
            n,
            o,
            p,
            next_payload,
            version,
            exchange_type,
            flags,
            ref rest @ ..,
        ] = bytes;
        let [m0, m1, m2, m3, l0, l1, l2, l3] = *rest;
        let header = Header {
            initiator_cookie: [a, b, c, d, e, f, g, h],
            responder_cookie: [i, j, k, l, m, n, o, p],
            next_payload,
            version,
            exchange_type,
            flags,
            message_id: u32::from_be_bytes([m0, m1, m2, m3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        };
        // RFC 2408 2.5.3: the initiator's cookie is never zero.
        if header.initiator_cookie == [0; 8] {
            return Err(InvalidMessage::NoCookie);
        }
        // RFC 2408 5.1: a message of another length than its header says is discarded.
        if header.length as usize != message.len() {
            return Err(InvalidMessage::Length);
        }
        Ok(header)
    }

    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let fields: [&[u8]; 8] = [
            &self.initiator_cookie,
            &self.responder_cookie,
            &[self.next_payload],
            &[self.version],
            &[self.exchange_type],
            &[self.flags],
            &self.message_id.to_be_bytes(),
            &self.length.to_be_bytes(),
        ];
        let fields = fields.into_iter().flatten();
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// 1 or 2.
    pub fn major_version(&self) -> u8 {
        self.version >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IKEv1 main mode header with nothing behind it; layout from RFC 2408 figure 2.
    fn message() -> Vec<u8> {
        let mut bytes = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([1, 0x10, 2, 0]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 28]);
        bytes
    }

    #[test]
    fn reads_a_header_with_and_without_marker() {
        let plain = Header::parse(&message()).unwrap();
        assert_eq!(
            (plain.major_version(), plain.exchange_type, plain.length),
            (1, 2, 28)
        );
        assert_eq!(plain.responder_cookie, [0; 8]);
        let marked = [vec![0; 4], message()].concat();
        assert_eq!(Header::parse(&marked), Ok(plain));
        assert_eq!(plain.encode()[..], message());
    }

    #[test]
    fn refuses_what_is_no_message() {
        for length in 0..28 {
            let cut = message()[..length].to_vec();
            assert_eq!(
                Header::parse(&cut),
                Err(InvalidMessage::Truncated),
                "{length}"
            );
        }
        assert_eq!(
            Header::parse(&[message(), vec![0]].concat()),
            Err(InvalidMessage::Length)
        );
        assert_eq!(
            Header::parse(&[vec![0; 4], vec![0; 8], message()[8..].to_vec()].concat()),
            Err(InvalidMessage::NoCookie)
        );
    }
}
