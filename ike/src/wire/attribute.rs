//! Data attributes (RFC 2408 3.3).

use crate::InvalidMessage;
use crate::wire::Reader;

/// An attribute. A value of two bytes has a short form; which form a sender takes does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) kind: u16,
    pub(crate) value: Value,
}

/// Type/value and type/length/value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Basic(u16),
    Variable(Vec<u8>),
}

/// The bit that marks the short form.
const BASIC: u16 = 0x8000;

impl Attribute {
    pub(crate) fn basic(kind: u16, value: u16) -> Self {
        Attribute {
            kind,
            value: Value::Basic(value),
        }
    }

    /// A number, in the short form where it fits.
    pub(crate) fn number(kind: u16, value: u32) -> Self {
        let value = match u16::try_from(value) {
            Ok(short) => Value::Basic(short),
            Err(_) => Value::Variable(value.to_be_bytes().to_vec()),
        };
        Attribute { kind, value }
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, InvalidMessage> {
        let (kind, second) = (reader.u16()?, reader.u16()?);
        let value = if kind & BASIC != 0 {
            Value::Basic(second)
        } else {
            Value::Variable(reader.take(usize::from(second))?.to_vec())
        };
        Ok(Attribute {
            kind: kind & !BASIC,
            value,
        })
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match &self.value {
            Value::Basic(value) => {
                bytes.extend((self.kind | BASIC).to_be_bytes());
                bytes.extend(value.to_be_bytes());
            }
            Value::Variable(value) => {
                bytes.extend(self.kind.to_be_bytes());
                bytes.extend((value.len() as u16).to_be_bytes());
                bytes.extend(value);
            }
        }
    }

    /// The value as a number, whichever form it has.
    pub(crate) fn as_number(&self) -> Result<u64, InvalidMessage> {
        match &self.value {
            Value::Basic(value) => Ok(u64::from(*value)),
            Value::Variable(bytes) if bytes.is_empty() => Err(InvalidMessage::Attribute(self.kind)),
            Value::Variable(bytes) => {
                let significant = bytes.iter().skip_while(|b| **b == 0);
                if significant.clone().count() > 8 {
                    return Err(InvalidMessage::Attribute(self.kind));
                }
                Ok(significant.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_read_and_write() {
        // Life type seconds, short; life duration 86400, long (RFC 2407 4.5.3).
        let bytes = [0x80, 1, 0, 1, 0, 2, 0, 4, 0, 1, 0x51, 0x80];
        let mut reader = Reader::new(&bytes);
        let first = Attribute::parse(&mut reader).unwrap();
        let second = Attribute::parse(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!(first, Attribute::basic(1, 1));
        assert_eq!(second, Attribute::number(2, 86400));
        assert_eq!(second.as_number(), Ok(86400));
        let mut written = Vec::new();
        first.encode(&mut written);
        second.encode(&mut written);
        assert_eq!(written, bytes);
    }

    #[test]
    fn refuses_what_is_cut_or_no_number() {
        let mut cut = Reader::new(&[0, 2, 0, 4, 0, 1, 0x51]);
        assert_eq!(Attribute::parse(&mut cut), Err(InvalidMessage::Truncated));
        for bytes in [&[0, 2, 0, 0][..], &[&[0, 2, 0, 9][..], &[1; 9]].concat()] {
            let attribute = Attribute::parse(&mut Reader::new(bytes)).unwrap();
            assert_eq!(attribute.as_number(), Err(InvalidMessage::Attribute(2)));
        }
    }
}
