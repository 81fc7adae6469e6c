//! PEM (RFC 7468): certificates, revocation lists and private keys as text. Buffers are wiped: one may be a key.

use std::mem;

use zeroize::Zeroizing;

/// One part of a PEM file.
pub(crate) struct Part<'a> {
    /// What stands behind `BEGIN`.
    pub(crate) label: &'a str,
    /// What it encodes.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// All parts of a file; text around them is ignored (RFC 7468 2).
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let label = line.trim_end().strip_prefix(BEGIN);
        let Some(label) = label.and_then(|l| l.strip_suffix(DASHES)) else {
            continue;
        };
        // As much room as all of the text could take, so that no copy is left behind.
        let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
        loop {
            let line = lines
                .next()
                .ok_or_else(|| format!("no `{END}{label}{DASHES}`"))?
                .trim();
            if let Some(end) = line.strip_prefix(END) {
                if end.strip_suffix(DASHES) != Some(label) {
                    return Err(format!("expected `{END}{label}{DASHES}`"));
                }
                break;
            }
            digits.extend_from_slice(line.as_bytes());
        }
        let der = base64(&digits).ok_or_else(|| format!("the {label} is not base64"))?;
        parts.push(Part { label, der });
    }
    Ok(parts)
}

/// Decodes base64 (RFC 4648 4), padded.
fn base64(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let value = |digit: u8| {
        Some(match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 4 * 3));
    let mut rest = digits;
    while let Some((quad, behind)) = rest.split_first_chunk::<4>() {
        let padding = quad.iter().rev().take_while(|d| **d == b'=').count();
        if padding > 2 || padding != 0 && !behind.is_empty() {
            return None;
        }
        let mut word = 0;
        for digit in quad.iter().take(4 - padding) {
            word = word << 6 | u32::from(value(*digit)?);
        }
        let [_, triple @ ..] = (word << (6 * padding)).to_be_bytes();
        bytes.extend(triple.iter().take(3 - padding));
        rest = behind;
    }
    (rest.is_empty() && !bytes.is_empty()).then(|| Zeroizing::new(mem::take(&mut *bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648_10() {
        let cases = [
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (digits, text) in cases {
            let bytes = base64(digits.as_bytes()).expect(digits);
            assert_eq!(bytes.as_slice(), text.as_bytes());
        }
        for wrong in ["", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9\u{fe}"] {
            assert!(base64(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn parts_and_what_is_around_them() {
        let text = "subject\n-----BEGIN A B-----\nZm9v\r\nYmFy\n-----END A B-----\n\n\
                    -----BEGIN C-----\nZg==\n-----END C-----\n";
        let found = parts(text).expect("two");
        let found: Vec<_> = found.iter().map(|p| (p.label, p.der.as_slice())).collect();
        assert_eq!(found, [("A B", &b"foobar"[..]), ("C", b"f")]);
    }

    #[test]
    fn damage_is_told() {
        let said = |text| parts(text).err();
        assert_eq!(
            said("-----BEGIN A-----\nZg==\n").as_deref(),
            Some("no `-----END A-----`")
        );
        let wrong = "-----BEGIN A-----\nZg==\n-----END B-----\n";
        assert_eq!(said(wrong).as_deref(), Some("expected `-----END A-----`"));
        let wrong = "-----BEGIN A-----\nZ!==\n-----END A-----\n";
        assert_eq!(said(wrong).as_deref(), Some("the A is not base64"));
    }
}
