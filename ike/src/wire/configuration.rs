//! The attributes payload of the transaction exchange (draft-dukes-ike-mode-cfg-02 3.2).

use crate::InvalidMessage;
use crate::wire::Reader;
use crate::wire::attribute::{Attribute, Value};

/// Message types (draft-dukes-ike-mode-cfg-02 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Request,
    Reply,
    Set,
    Acknowledge,
}

/// Attributes of mode config (draft-dukes-ike-mode-cfg-02 3.4), and those of Cisco's Unity.
pub(crate) mod mode_config {
    pub(crate) const IP4_ADDRESS: u16 = 1;
    pub(crate) const IP4_NETMASK: u16 = 2;
    pub(crate) const IP4_DNS: u16 = 3;
    pub(crate) const IP4_NBNS: u16 = 4;
    pub(crate) const ADDRESS_EXPIRY: u16 = 5;
    pub(crate) const APPLICATION_VERSION: u16 = 7;
    pub(crate) const IP6_ADDRESS: u16 = 8;
    pub(crate) const IP6_DNS: u16 = 10;
    pub(crate) const IP4_SUBNET: u16 = 13;
    pub(crate) const SUPPORTED_ATTRIBUTES: u16 = 14;
    pub(crate) const IP6_SUBNET: u16 = 15;
    pub(crate) const UNITY_BANNER: u16 = 28672;
    pub(crate) const UNITY_DEF_DOMAIN: u16 = 28674;
    pub(crate) const UNITY_SPLIT_INCLUDE: u16 = 28676;
}

/// Attributes of XAUTH (draft-beaulieu-ike-xauth-02 6.2).
pub(crate) mod xauth {
    pub(crate) const TYPE: u16 = 16520;
    pub(crate) const USER_NAME: u16 = 16521;
    pub(crate) const USER_PASSWORD: u16 = 16522;
    pub(crate) const MESSAGE: u16 = 16524;
    pub(crate) const STATUS: u16 = 16527;
    /// From the first to the last of them.
    pub(crate) const ALL: std::ops::RangeInclusive<u16> = TYPE..=16529;
}

/// Attributes of one payload; clients ask for a dozen or two.
const MOST: usize = 256;

/// An attributes payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) kind: Type,
    /// The same in all exchanges of one transaction.
    pub(crate) identifier: u16,
    pub(crate) attributes: Vec<Attribute>,
}

impl Configuration {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, InvalidMessage> {
        let mut reader = Reader::new(body);
        let kind = match reader.u8()? {
            1 => Type::Request,
            2 => Type::Reply,
            3 => Type::Set,
            4 => Type::Acknowledge,
            _ => return Err(InvalidMessage::Header),
        };
        reader.u8()?;
        let identifier = reader.u16()?;
        let mut attributes = Vec::new();
        // libreswan pads the payload with zeros, which no attribute begins with: type 0 is reserved.
        let padding = reader.rest().iter().rev().take_while(|byte| **byte == 0);
        let padding = padding.count();
        while reader.rest().len() > padding {
            if attributes.len() == MOST {
                return Err(InvalidMessage::Header);
            }
            attributes.push(Attribute::parse(&mut reader)?);
        }
        Ok(Configuration {
            kind,
            identifier,
            attributes,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Type::Request => 1,
            Type::Reply => 2,
            Type::Set => 3,
            Type::Acknowledge => 4,
        };
        let mut bytes = vec![kind, 0];
        bytes.extend(self.identifier.to_be_bytes());
        self.attributes.iter().for_each(|a| a.encode(&mut bytes));
        bytes
    }

    /// The first attribute of a type.
    pub(crate) fn attribute(&self, kind: u16) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.kind == kind)
    }

    /// The value of an attribute that is a string of bytes.
    pub(crate) fn bytes(&self, kind: u16) -> Option<&[u8]> {
        match &self.attribute(kind)?.value {
            Value::Variable(bytes) => Some(bytes),
            Value::Basic(_) => None,
        }
    }

    /// True if it has attributes of XAUTH: mode config has others.
    pub(crate) fn is_xauth(&self) -> bool {
        let mut attributes = self.attributes.iter();
        attributes.any(|a| xauth::ALL.contains(&a.kind))
    }
}

impl Drop for Configuration {
    /// One of the values may be a password.
    fn drop(&mut self) {
        for attribute in &mut self.attributes {
            if let Value::Variable(bytes) = &mut attribute.value {
                zeroize::Zeroize::zeroize(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_name_and_password() {
        // Attribute types and message types from draft-beaulieu-ike-xauth-02 6.2 and draft-dukes-ike-mode-cfg-02 3.3:
        // REQUEST(NAME="" PASSWORD=""), the example of 5.1, as identifier 7.
        let bytes = [1, 0, 0, 7, 0x40, 0x89, 0, 0, 0x40, 0x8a, 0, 0];
        let request = Configuration::parse(&bytes).unwrap();
        assert_eq!((request.kind, request.identifier), (Type::Request, 7));
        assert_eq!(request.bytes(16521), Some(&[][..]));
        assert_eq!(request.bytes(16522), Some(&[][..]));
        assert!(request.is_xauth());
        assert_eq!(request.encode(), bytes);
        // REPLY(NAME="joe" PASSWORD="foobar").
        let mut reply = vec![2, 0, 0, 7, 0x40, 0x89, 0, 3];
        reply.extend(b"joe");
        reply.extend([0x40, 0x8a, 0, 6]);
        reply.extend(b"foobar");
        let read = Configuration::parse(&reply).unwrap();
        assert_eq!(read.bytes(16521), Some(&b"joe"[..]));
        assert_eq!(read.bytes(16522), Some(&b"foobar"[..]));
        // SET(STATUS=OK), in the short form.
        let set = [3, 0, 0, 7, 0xc0, 0x8f, 0, 1];
        let status = Configuration::parse(&set).unwrap();
        let status = status.attribute(16527).map(Attribute::as_number);
        assert_eq!(status, Some(Ok(1)));
    }

    #[test]
    fn an_address_and_its_netmask() {
        // draft-dukes-ike-mode-cfg-02 5.1: INTERNAL_ADDRESS(192.168.219.202), INTERNAL_NETMASK(255.255.255.0).
        let bytes = [
            2, 0, 0, 1, 0, 1, 0, 4, 192, 168, 219, 202, 0, 2, 0, 4, 255, 255, 255, 0,
        ];
        let reply = Configuration::parse(&bytes).unwrap();
        assert_eq!(reply.bytes(1), Some(&[192, 168, 219, 202][..]));
        assert_eq!(reply.bytes(2), Some(&[255, 255, 255, 0][..]));
        assert!(!reply.is_xauth());
        // Zeros behind it are padding.
        let padded = Configuration::parse(&[&bytes[..], &[0; 3]].concat());
        assert_eq!(padded.as_ref(), Ok(&reply));
        for length in 0..bytes.len() {
            let cut = Configuration::parse(&bytes[..length]);
            assert!(cut.as_ref() != Ok(&reply), "{length}");
        }
    }

    #[test]
    fn unknown_message_types_are_refused() {
        for kind in [0, 5, 128, 255] {
            let read = Configuration::parse(&[kind, 0, 0, 1]);
            assert_eq!(read, Err(InvalidMessage::Header));
        }
    }
}
