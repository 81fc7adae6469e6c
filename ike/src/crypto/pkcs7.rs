//! PKCS#7 wrapped certificates, certificate encoding 1 (RFC 2408 3.9): a SignedData of which only the certificates
//! matter (RFC 2315 9.1), as Windows sends a whole chain.

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Error, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::certificate::CertificateError;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// Both the content of a ContentInfo and the certificates of a SignedData are marked with [0].
const ZERO: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(0),
};

/// The certificates in it, in DER.
pub fn certificates(wrapped: &[u8]) -> Result<Vec<&[u8]>, CertificateError> {
    read(wrapped).map_err(|_| CertificateError::Encoding)
}

fn read(wrapped: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut content_info = inside(wrapped, Tag::Sequence)?;
    let kind: ObjectIdentifier = content_info.decode()?;
    if kind != SIGNED_DATA {
        return Err(Tag::ObjectIdentifier.value_error().into());
    }
    let mut explicit = inside(content_info.tlv_bytes()?, ZERO)?;
    let mut signed_data = inside(explicit.tlv_bytes()?, Tag::Sequence)?;
    let mut out = Vec::new();
    while !signed_data.is_finished() {
        // Version, digest algorithms and content come before, revocation lists and signers behind.
        if Tag::peek(&signed_data)? != ZERO {
            signed_data.tlv_bytes()?;
            continue;
        }
        let mut certificates = inside(signed_data.tlv_bytes()?, ZERO)?;
        while !certificates.is_finished() {
            out.push(certificates.tlv_bytes()?);
        }
    }
    Ok(out)
}

/// What is inside of one element with this tag.
fn inside(element: &[u8], tag: Tag) -> Result<SliceReader<'_>, Error> {
    let element = AnyRef::from_der(element)?;
    element.tag().assert_eq(tag)?;
    SliceReader::new(element.value())
}
