//! The delete payload (RFC 2408 3.15).

use crate::InvalidMessage;
use crate::wire::{IPSEC_DOI, Reader};

/// SAs that the sender has deleted, by the SPIs of its inbound ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) protocol: u8,
    /// All of the same length: 16 (both cookies) for ISAKMP, 4 for AH and ESP.
    pub(crate) spis: Vec<Vec<u8>>,
}

impl Delete {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        if reader.u32()? != IPSEC_DOI {
            return Err(InvalidMessage::Doi);
        }
        let protocol = reader.u8()?;
        let spi_size = usize::from(reader.u8()?);
        let count = usize::from(reader.u16()?);
        let rest = reader.rest();
        if spi_size == 0 || rest.len() != spi_size * count {
            return Err(InvalidMessage::Length);
        }
        Ok(Delete {
            protocol,
            spis: rest.chunks(spi_size).map(<[u8]>::to_vec).collect(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let size = self.spis.first().map_or(0, Vec::len);
        let mut bytes = IPSEC_DOI.to_be_bytes().to_vec();
        bytes.extend([self.protocol, size as u8]);
        bytes.extend((self.spis.len() as u16).to_be_bytes());
        bytes.extend(self.spis.iter().flatten());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let bytes = [0, 0, 0, 1, 3, 4, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        let delete = Delete::parse(&bytes).unwrap();
        assert_eq!(delete.protocol, 3);
        assert_eq!(delete.spis, [vec![1, 2, 3, 4], vec![5, 6, 7, 8]]);
        assert_eq!(delete.encode(), bytes);
        for wrong in [&bytes[..15], &[&bytes[..], &[0]].concat()] {
            assert_eq!(Delete::parse(wrong), Err(InvalidMessage::Length));
        }
        let none = [0, 0, 0, 1, 3, 0, 0xff, 0xff];
        assert_eq!(Delete::parse(&none), Err(InvalidMessage::Length));
    }
}
