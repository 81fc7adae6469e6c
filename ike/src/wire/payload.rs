//! The chain of payloads (RFC 2408 3.2).

use crate::InvalidMessage;
use crate::wire::Reader;

/// Payload types (RFC 2408 3.1, RFC 3947 7).
pub(crate) mod kind {
    pub(crate) const SA: u8 = 1;
    pub(crate) const PROPOSAL: u8 = 2;
    pub(crate) const TRANSFORM: u8 = 3;
    pub(crate) const KEY_EXCHANGE: u8 = 4;
    pub(crate) const IDENTIFICATION: u8 = 5;
    pub(crate) const CERTIFICATE: u8 = 6;
    pub(crate) const CERTIFICATE_REQUEST: u8 = 7;
    pub(crate) const HASH: u8 = 8;
    pub(crate) const SIGNATURE: u8 = 9;
    pub(crate) const NONCE: u8 = 10;
    pub(crate) const NOTIFICATION: u8 = 11;
    pub(crate) const DELETE: u8 = 12;
    pub(crate) const VENDOR_ID: u8 = 13;
    /// Attributes of the transaction exchange (draft-dukes-ike-mode-cfg-02 3.2).
    pub(crate) const CONFIGURATION: u8 = 14;
    pub(crate) const NAT_D: u8 = 20;
    pub(crate) const NAT_OA: u8 = 21;
    /// As draft-ietf-ipsec-nat-t-ike-02 and -03 number NAT-D and NAT-OA.
    pub(crate) const NAT_D_DRAFT: u8 = 130;
    pub(crate) const NAT_OA_DRAFT: u8 = 131;
    /// A fragment of a message, by the vendor id FRAGMENTATION.
    pub(crate) const FRAGMENT: u8 = 132;
}

/// More payloads than any exchange has; certificates, requests and vendor ids included.
const LIMIT: usize = 64;

/// One payload without its generic header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

/// The payloads of a message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payloads<'a> {
    list: Vec<Payload<'a>>,
    /// Everything behind the first payload, without padding: what HASH(1) covers in quick mode.
    after_first: &'a [u8],
}

impl<'a> Payloads<'a> {
    /// Reads a chain that begins with `first`. What lies behind its end is padding.
    pub(crate) fn parse(mut kind: u8, bytes: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(bytes);
        let mut list = Vec::new();
        let mut first_end = 0;
        while kind != 0 {
            if list.len() == LIMIT {
                return Err(InvalidMessage::TooMany);
            }
            let next = reader.u8()?;
            // RFC 2408 5.3: RESERVED is zero, or the message is discarded. After decryption with a wrong key it
            // is not.
            if reader.u8()? != 0 {
                return Err(InvalidMessage::Reserved);
            }
            let length = usize::from(reader.u16()?);
            let length = length.checked_sub(4).ok_or(InvalidMessage::Length)?;
            list.push(Payload {
                kind,
                body: reader.take(length)?,
            });
            if list.len() == 1 {
                first_end = length + 4;
            }
            kind = next;
        }
        let end = bytes.len() - reader.rest().len();
        Ok(Payloads {
            list,
            after_first: bytes.get(first_end..end).unwrap_or_default(),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Payload<'a>> {
        self.list.iter().copied()
    }

    /// Bodies of all payloads of a kind.
    pub(crate) fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |p| p.kind == kind).map(|p| p.body)
    }

    /// The body of the payload of a kind that may be there once.
    pub(crate) fn optional(&self, kind: u8) -> Result<Option<&'a [u8]>, InvalidMessage> {
        let mut all = self.all(kind);
        let first = all.next();
        match all.next() {
            Some(_) => Err(InvalidMessage::RepeatedPayload(kind)),
            None => Ok(first),
        }
    }

    /// The body of the payload of a kind that must be there once.
    pub(crate) fn one(&self, kind: u8) -> Result<&'a [u8], InvalidMessage> {
        self.optional(kind)?
            .ok_or(InvalidMessage::MissingPayload(kind))
    }

    /// The body of the first payload, which must be of this kind, and all that follows it but padding.
    pub(crate) fn first(&self, kind: u8) -> Result<(&'a [u8], &'a [u8]), InvalidMessage> {
        match self.list.first() {
            Some(payload) if payload.kind == kind => Ok((payload.body, self.after_first)),
            Some(payload) => Err(InvalidMessage::UnexpectedPayload(payload.kind)),
            None => Err(InvalidMessage::MissingPayload(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_chain_and_leaves_padding() {
        // HASH (8), then NONCE (10), then three bytes of padding; RFC 2408 3.2.
        let bytes = [10, 0, 0, 6, 1, 2, 0, 0, 0, 5, 3, 0, 0, 0];
        let payloads = Payloads::parse(8, &bytes).unwrap();
        assert_eq!(payloads.one(8), Ok(&[1, 2][..]));
        assert_eq!(payloads.one(10), Ok(&[3][..]));
        assert_eq!(payloads.one(5), Err(InvalidMessage::MissingPayload(5)));
        let (hash, covered) = payloads.first(8).unwrap();
        assert_eq!((hash, covered), (&[1, 2][..], &[0, 0, 0, 5, 3][..]));
    }

    #[test]
    fn refuses_chains_that_cannot_be() {
        let parse = |bytes: &[u8]| Payloads::parse(8, bytes).map(|_| ());
        assert_eq!(parse(&[0, 0, 0, 6, 1]), Err(InvalidMessage::Truncated));
        assert_eq!(parse(&[0, 0, 0, 3]), Err(InvalidMessage::Length));
        assert_eq!(parse(&[0, 1, 0, 4]), Err(InvalidMessage::Reserved));
        assert_eq!(parse(&[8, 0, 0, 4]), Err(InvalidMessage::Truncated));
        let many = [8, 0, 0, 4].repeat(65);
        assert_eq!(parse(&many), Err(InvalidMessage::TooMany));
        let twice = [8, 0, 0, 4, 0, 0, 0, 4];
        let twice = Payloads::parse(8, &twice).unwrap();
        assert_eq!(twice.one(8), Err(InvalidMessage::RepeatedPayload(8)));
    }
}
