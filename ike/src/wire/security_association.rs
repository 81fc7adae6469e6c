//! The SA payload with its proposals and transforms (RFC 2408 3.4 to 3.6, RFC 2407 4.6.1).

use crate::InvalidMessage;
use crate::wire::attribute::Attribute;
use crate::wire::payload::kind;
use crate::wire::writer::append;
use crate::wire::{IPSEC_DOI, Reader};

/// SIT_IDENTITY_ONLY (RFC 2407 4.2.1): the one situation that everybody has.
const IDENTITY_ONLY: u32 = 1;
/// More proposals, transforms and attributes than anyone needs.
const PROPOSALS: usize = 64;
const TRANSFORMS: usize = 255;
const ATTRIBUTES: usize = 32;

/// What is offered, or the one that was chosen. Proposals of the same number belong together: all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityAssociation {
    pub(crate) proposals: Vec<Proposal>,
}

/// One protocol, with transforms to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) number: u8,
    pub(crate) protocol: u8,
    pub(crate) spi: Vec<u8>,
    pub(crate) transforms: Vec<Transform>,
}

/// One way to do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transform {
    pub(crate) number: u8,
    pub(crate) id: u8,
    pub(crate) attributes: Vec<Attribute>,
}

impl SecurityAssociation {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        if reader.u32()? != IPSEC_DOI {
            return Err(InvalidMessage::Doi);
        }
        if reader.u32()? != IDENTITY_ONLY {
            return Err(InvalidMessage::Situation);
        }
        let proposals = list(&mut reader, kind::PROPOSAL, PROPOSALS, Proposal::parse)?;
        // RFC 2408 3.5: a proposal's number tells which belong together; they stand together in rising order.
        if !proposals.is_sorted_by_key(|p| p.number) {
            return Err(InvalidMessage::UnexpectedPayload(kind::PROPOSAL));
        }
        Ok(SecurityAssociation { proposals })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(IPSEC_DOI.to_be_bytes());
        bytes.extend(IDENTITY_ONLY.to_be_bytes());
        for (index, proposal) in self.proposals.iter().enumerate() {
            let last = index + 1 == self.proposals.len();
            let next = if last { 0 } else { kind::PROPOSAL };
            append(&mut bytes, next, &proposal.encode());
        }
        bytes
    }
}

impl Proposal {
    fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        let number = reader.u8()?;
        let protocol = reader.u8()?;
        let spi_size = usize::from(reader.u8()?);
        let count = usize::from(reader.u8()?);
        let spi = reader.take(spi_size)?.to_vec();
        let transforms = list(&mut reader, kind::TRANSFORM, TRANSFORMS, Transform::parse)?;
        if transforms.len() != count {
            return Err(InvalidMessage::Length);
        }
        Ok(Proposal {
            number,
            protocol,
            spi,
            transforms,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let count = self.transforms.len() as u8;
        let mut bytes = vec![self.number, self.protocol, self.spi.len() as u8, count];
        bytes.extend(&self.spi);
        for (index, transform) in self.transforms.iter().enumerate() {
            let last = index + 1 == self.transforms.len();
            let next = if last { 0 } else { kind::TRANSFORM };
            append(&mut bytes, next, &transform.encode());
        }
        bytes
    }
}

impl Transform {
    fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        let number = reader.u8()?;
        let id = reader.u8()?;
        if reader.u16()? != 0 {
            return Err(InvalidMessage::Reserved);
        }
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == ATTRIBUTES {
                return Err(InvalidMessage::TooMany);
            }
            attributes.push(Attribute::parse(&mut reader)?);
        }
        Ok(Transform {
            number,
            id,
            attributes,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.number, self.id, 0, 0];
        for attribute in &self.attributes {
            attribute.encode(&mut bytes);
        }
        bytes
    }
}

/// Reads a chain of proposals or transforms that fills what is left: each says whether one of its kind follows.
fn list<T>(
    reader: &mut Reader<'_>,
    kind: u8,
    limit: usize,
    parse: impl Fn(&[u8]) -> Result<T, InvalidMessage>,
) -> Result<Vec<T>, InvalidMessage> {
    let mut found = Vec::new();
    loop {
        let next = reader.u8()?;
        if next != 0 && next != kind {
            return Err(InvalidMessage::UnexpectedPayload(next));
        }
        if reader.u8()? != 0 {
            return Err(InvalidMessage::Reserved);
        }
        let length = usize::from(reader.u16()?);
        let length = length.checked_sub(4).ok_or(InvalidMessage::Length)?;
        if found.len() == limit {
            return Err(InvalidMessage::TooMany);
        }
        found.push(parse(reader.take(length)?)?);
        if next == 0 {
            break;
        }
    }
    match reader.is_empty() {
        true => Ok(found),
        false => Err(InvalidMessage::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2408 4.1.1's figure in shape: ESP with one transform and SPI, then AH of the same number.
    fn bytes() -> Vec<u8> {
        [
            &[0, 0, 0, 1, 0, 0, 0, 1][..],
            // Proposal 1, ESP (3), SPI of 4 bytes, 1 transform.
            &[2, 0, 0, 24, 1, 3, 4, 1, 0xde, 0xad, 0xbe, 0xef],
            // Transform 1, ESP_AES (12), encapsulation mode (4) tunnel (1).
            &[0, 0, 0, 12, 1, 12, 0, 0, 0x80, 4, 0, 1],
            // Proposal 1, AH (2), the same with AH_SHA (3).
            &[0, 0, 0, 24, 1, 2, 4, 1, 1, 2, 3, 4],
            &[0, 0, 0, 12, 1, 3, 0, 0, 0x80, 5, 0, 2],
        ]
        .concat()
    }

    #[test]
    fn reads_and_writes_a_bundle() {
        let sa = SecurityAssociation::parse(&bytes()).unwrap();
        assert_eq!(sa.encode(), bytes());
        let [esp, ah] = &sa.proposals[..] else {
            panic!("{sa:?}");
        };
        assert_eq!((esp.number, esp.protocol, esp.spi.len()), (1, 3, 4));
        assert_eq!((ah.number, ah.protocol, ah.transforms[0].id), (1, 2, 3));
        assert_eq!(
            esp.transforms[0].attributes,
            [Attribute::basic(4, 1)].to_vec()
        );
    }

    #[test]
    fn refuses_wrong_fields() {
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes();
            bytes[at] = value;
            SecurityAssociation::parse(&bytes)
        };
        assert_eq!(changed(3, 2), Err(InvalidMessage::Doi));
        assert_eq!(changed(7, 2), Err(InvalidMessage::Situation));
        assert_eq!(changed(9, 1), Err(InvalidMessage::Reserved));
        assert_eq!(changed(8, 1), Err(InvalidMessage::UnexpectedPayload(1)));
        assert_eq!(changed(11, 25), Err(InvalidMessage::Length));
        assert_eq!(changed(12, 2), Err(InvalidMessage::UnexpectedPayload(2)));
        assert_eq!(changed(15, 2), Err(InvalidMessage::Length));
        assert_eq!(changed(26, 1), Err(InvalidMessage::Reserved));
        for length in 0..bytes().len() {
            assert!(SecurityAssociation::parse(&bytes()[..length]).is_err());
        }
    }
}
