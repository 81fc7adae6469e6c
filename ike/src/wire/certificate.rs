//! Certificate and certificate request payloads (RFC 2408 3.9, 3.10).

use crate::InvalidMessage;
use crate::wire::Reader;

/// X.509 certificate for signatures (RFC 2408 3.9): DER.
pub(crate) const X509_SIGNATURE: u8 = 4;
/// PKCS #7 wrapped certificates: as some peers send a chain.
pub(crate) const PKCS7: u8 = 1;

/// Encoding and data of either payload: a certificate, or the name of an acceptable root.
pub(crate) fn parse(body: &[u8]) -> Result<(u8, &[u8]), InvalidMessage> {
    let mut reader = Reader::new(body);
    Ok((reader.u8()?, reader.rest()))
}

/// The body of either payload.
pub(crate) fn encode(encoding: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![encoding];
    bytes.extend(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        assert_eq!(parse(&[4, 0x30, 0]), Ok((4, &[0x30, 0][..])));
        assert_eq!(encode(4, &[0x30, 0]), [4, 0x30, 0]);
        assert_eq!(parse(&[]), Err(InvalidMessage::Truncated));
    }
}
