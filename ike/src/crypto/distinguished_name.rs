//! Comparison of distinguished names (RFC 5280 7.1): without regard to case, to how much white space there is, and to
//! which type of string a value has.

use std::borrow::Cow;

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::name::{Name, RelativeDistinguishedName};

/// Whether two names in DER are the same. What cannot be read is the same as nothing else.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (Name::from_der(one), Name::from_der(other)) {
        (Ok(one), Ok(other)) => same_name(&one, &other),
        _ => false,
    }
}

fn same_name(one: &Name, other: &Name) -> bool {
    one.iter_rdn().count() == other.iter_rdn().count()
        && one
            .iter_rdn()
            .zip(other.iter_rdn())
            .all(|(one, other)| same_relative(one, other))
}

/// An RDN is a set: each member needs its like.
fn same_relative(one: &RelativeDistinguishedName, other: &RelativeDistinguishedName) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .all(|member| other.iter().any(|like| same_attribute(member, like)))
}

fn same_attribute(one: &AttributeTypeAndValue, other: &AttributeTypeAndValue) -> bool {
    if one.oid != other.oid {
        return false;
    }
    match (text(one), text(other)) {
        (Some(one), Some(other)) => words(&one).eq(words(&other)),
        _ => one.value == other.value,
    }
}

/// The value as text, if it is of a string type.
fn text(attribute: &AttributeTypeAndValue) -> Option<Cow<'_, str>> {
    let bytes = attribute.value.value();
    match attribute.value.tag() {
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String => {
            std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
        }
        // Commonly Latin-1, whatever X.690 says.
        Tag::TeletexString => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| {
                pair.iter()
                    .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
            });
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().map(Cow::Owned)
        }
        _ => None,
    }
}

/// The words of a value, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use x509_cert::der::Encode;

    use super::*;

    fn der(text: &str) -> Vec<u8> {
        Name::from_str(text).unwrap().to_der().unwrap()
    }

    #[test]
    fn case_and_spaces_do_not_matter() {
        let name = der("CN=Gate  Way,O=Example,C=DE");
        assert!(same(&name, &name));
        assert!(same(&name, &der("CN= gate way,O=EXAMPLE,C=de")));
    }

    #[test]
    fn everything_else_does() {
        let name = der("CN=Gate Way,O=Example,C=DE");
        for other in [
            "CN=Gateway,O=Example,C=DE",
            "CN=Gate Way,O=Example",
            "CN=Gate Way,O=Example,C=DE,C=DE",
            "O=Example,CN=Gate Way,C=DE",
            "OU=Gate Way,O=Example,C=DE",
            "CN=Gate Way+OU=x,O=Example,C=DE",
        ] {
            assert!(!same(&name, &der(other)), "{other}");
        }
        assert!(!same(&name, &name[..name.len() - 1]));
        assert!(!same(&name, &[]));
    }

    #[test]
    fn types_of_strings_do_not_matter() {
        // SEQUENCE { SET { SEQUENCE { OID 2.5.4.3, string "Ab" } } }
        let with = |tag: u8, value: &[u8]| {
            let length = u8::try_from(value.len()).unwrap();
            let attribute = [&[0x06, 3, 0x55, 4, 3, tag, length], value].concat();
            let mut out = vec![0x30, length + 11, 0x31, length + 9, 0x30, length + 7];
            out.extend(attribute);
            out
        };
        let printable = with(0x13, b"Ab");
        for other in [
            with(0x0c, b"aB"),
            with(0x16, b"ab"),
            with(0x14, b"AB"),
            with(0x1e, b"\0a\0b"),
        ] {
            assert!(same(&printable, &other));
            assert!(same(&other, &printable));
        }
        for other in [
            with(0x0c, b"b"),
            with(0x1e, b"\0a\0c"),
            with(0x04, b"Ab"),
            with(0x0c, b"\xff\xff"),
        ] {
            assert!(!same(&printable, &other));
        }
    }
}
