//! Identities (RFC 2407 4.6.2.1) as text, and distinguished names as DER (X.690, RFC 4514, RFC 5280 4.1.2.4).

use std::net::IpAddr;

use crate::Identity;
use crate::mistake::shown;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
/// Explicit tag 0: the version of a certificate.
const VERSION: u8 = 0xa0;

/// Attribute types of names with their object identifiers (RFC 4519 2, RFC 5280 A.1).
const ATTRIBUTES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    (
        "UID",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
    ),
    (
        "DC",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
    ),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];

/// An address, a name, `user@name`, a distinguished name, or `keyid:` and text.
pub(crate) fn read(text: &str) -> Result<Identity, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Identity::Address(address));
    }
    if let Some(id) = text.strip_prefix("keyid:").filter(|id| !id.is_empty()) {
        return Ok(Identity::KeyId(id.as_bytes().to_vec()));
    }
    if text.contains('=') {
        return distinguished_name(text).map(Identity::DistinguishedName);
    }
    let (user, name) = text
        .split_once('@')
        .map_or((None, text), |(u, n)| (Some(u), n));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || !name.chars().all(is_name) || user.is_some_and(str::is_empty) {
        let forms = "an address, a name, user@name, a distinguished name such as CN=a.example, or keyid: and text";
        return Err(format!("expected {forms}; got {}", shown(text)));
    }
    Ok(match user {
        Some(_) => Identity::UserFqdn(text.to_owned()),
        None => Identity::Fqdn(text.to_owned()),
    })
}

/// `CN=a.example, O=Example`, first the outermost as in the certificate, to DER.
fn distinguished_name(text: &str) -> Result<Vec<u8>, String> {
    let mut names = Vec::new();
    for part in text.split(',') {
        let (kind, value) = part.split_once('=').unwrap_or((part, ""));
        let (kind, value) = (kind.trim(), value.trim());
        let known = ATTRIBUTES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(kind));
        let Some((name, oid)) = known else {
            let known: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "expected one of {}; got {}",
                known.join(", "),
                shown(kind)
            ));
        };
        if value.is_empty() {
            return Err(format!("expected a value for {name}"));
        }
        let mut pair = tlv(OBJECT_IDENTIFIER, oid);
        pair.extend(tlv(string_type(name, value), value.as_bytes()));
        names.extend(tlv(SET, &tlv(SEQUENCE, &pair)));
    }
    Ok(tlv(SEQUENCE, &names))
}

/// RFC 5280 4.1.2.4, A.1: domain components and mail addresses are IA5; else what is enough for the value.
fn string_type(name: &str, value: &str) -> u8 {
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
    match name {
        "DC" | "E" => IA5_STRING,
        _ if value.chars().all(printable) => PRINTABLE_STRING,
        _ => UTF8_STRING,
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = bytes.split_at(long.leading_zeros() as usize / 8).1;
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(value);
    out
}

/// The subject of a certificate (RFC 5280 4.1), `None` if there is no certificate in these bytes.
pub(crate) fn subject(certificate: &[u8]) -> Option<Vec<u8>> {
    let (tbs, _) = open(certificate, SEQUENCE)?;
    let (mut rest, _) = open(tbs, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = skip(rest)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = skip(rest)?;
    }
    let (_, behind) = open(rest, SEQUENCE)?;
    rest.get(..rest.len() - behind.len()).map(<[u8]>::to_vec)
}

/// The value of the first element, which has this tag, and what is behind it.
fn open(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    let [found, length] = *head;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            let (bytes, rest) = rest
                .split_at_checked(count)
                .filter(|_| (1..=4).contains(&count))?;
            let length = bytes.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}

fn skip(der: &[u8]) -> Option<&[u8]> {
    open(der, *der.first()?).map(|(_, behind)| behind)
}

/// A distinguished name as text, for people: what has no name here is left out.
pub fn distinguished_name_text(der: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut rest = open(der, SEQUENCE).map_or(&[][..], |(names, _)| names);
    while let Some((set, behind)) = open(rest, SET) {
        rest = behind;
        let pair = open(set, SEQUENCE).map(|(pair, _)| pair);
        let Some((oid, value)) = pair.and_then(|pair| open(pair, OBJECT_IDENTIFIER)) else {
            continue;
        };
        let known = ATTRIBUTES.iter().find(|(_, known)| *known == oid);
        let value = value.first().and_then(|tag| open(value, *tag));
        if let (Some((name, _)), Some((value, _))) = (known, value) {
            let value = String::from_utf8_lossy(value);
            parts.push(format!("{name}={}", value.escape_debug()));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let address = "2001:db8::1".parse().expect("an address");
        assert_eq!(read("2001:db8::1"), Ok(Identity::Address(address)));
        assert_eq!(read("a.example"), Ok(Identity::Fqdn("a.example".into())));
        assert_eq!(
            read("u@a.example"),
            Ok(Identity::UserFqdn("u@a.example".into()))
        );
        assert_eq!(
            read("keyid:group 1"),
            Ok(Identity::KeyId(b"group 1".to_vec()))
        );
        for wrong in ["a b", "@a", "a/b", "keyid:", "CN=", "XX=a", "CN=a,b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    /// What `openssl asn1parse -genstr` makes of the same name.
    #[test]
    fn distinguished_name_in_der() {
        let expected = [
            0x30, 0x1f, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'D',
            b'E', 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 0x07, b'T', b'e',
            b's', b't', b' ', b'C', b'A',
        ];
        let name = Identity::DistinguishedName(expected.to_vec());
        assert_eq!(read("C=DE, CN=Test CA"), Ok(name));
        assert_eq!(distinguished_name_text(&expected), "C=DE, CN=Test CA");
    }

    #[test]
    fn long_lengths() {
        let long = "x".repeat(300);
        let Ok(Identity::DistinguishedName(der)) = read(&format!("CN={long}")) else {
            panic!("no name");
        };
        let (inside, behind) = open(&der, SEQUENCE).expect("a sequence");
        assert!(behind.is_empty() && inside.len() == der.len() - 4);
    }

    #[test]
    fn subject_of_what_is_no_certificate() {
        for wrong in [
            &[][..],
            &[0x30],
            &[0x30, 0x82, 0xff, 0xff],
            &[0x30, 2, 0x30, 0],
            &[0x30; 64],
        ] {
            assert_eq!(subject(wrong), None);
        }
    }
}
