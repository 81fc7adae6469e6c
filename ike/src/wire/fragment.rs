//! A fragment of a message (draft-smyslov-ipsec-ikev1-fragmentation 2.2; the vendor id FRAGMENTATION).

use crate::InvalidMessage;
use crate::wire::Reader;

/// Marks the last fragment.
const LAST: u8 = 1;

/// A part of a message. Numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) id: u16,
    pub(crate) number: u8,
    pub(crate) last: bool,
    pub(crate) data: &'a [u8],
}

impl<'a> Fragment<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        let (id, number, flags) = (reader.u16()?, reader.u8()?, reader.u8()?);
        if number == 0 || reader.is_empty() {
            return Err(InvalidMessage::Fragment);
        }
        Ok(Fragment {
            id,
            number,
            last: flags & LAST != 0,
            data: reader.rest(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend([self.number, u8::from(self.last)]);
        bytes.extend(self.data);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let bytes = [0, 1, 2, 1, 0xaa, 0xbb];
        let fragment = Fragment::parse(&bytes).unwrap();
        assert_eq!((fragment.id, fragment.number, fragment.last), (1, 2, true));
        assert_eq!(fragment.encode(), bytes);
        assert_eq!(
            Fragment::parse(&[0, 1, 0, 1, 9]),
            Err(InvalidMessage::Fragment)
        );
        assert_eq!(Fragment::parse(&bytes[..4]), Err(InvalidMessage::Fragment));
        assert_eq!(Fragment::parse(&bytes[..3]), Err(InvalidMessage::Truncated));
    }
}
