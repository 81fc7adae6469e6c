//! Builds a message: a header, and payloads that each name the next one.

use crate::header::{self, Header};

/// Offset of the header's next payload (RFC 2408 3.1).
const NEXT_PAYLOAD: usize = 16;
/// Offset of the header's length.
const LENGTH: usize = 24;

/// A message under construction.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Where the type of the next payload belongs.
    next: usize,
}

impl Writer {
    /// A message with this header; its next payload and length are filled in.
    pub(crate) fn new(header: &Header) -> Self {
        Writer {
            bytes: header.encode().to_vec(),
            next: NEXT_PAYLOAD,
        }
    }

    /// Appends a payload behind its generic header (RFC 2408 3.2).
    pub(crate) fn payload(&mut self, kind: u8, body: &[u8]) {
        if let Some(next) = self.bytes.get_mut(self.next) {
            *next = kind;
        }
        self.next = self.bytes.len();
        append(&mut self.bytes, 0, body);
    }

    /// The payloads so far.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(header::LENGTH..).unwrap_or_default()
    }

    /// The message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len();
        set_length(&mut self.bytes, length);
        self.bytes
    }
}

/// Writes a length into a message's header.
pub(crate) fn set_length(message: &mut [u8], length: usize) {
    if let Some(field) = message.get_mut(LENGTH..LENGTH + 4) {
        field.copy_from_slice(&(length as u32).to_be_bytes());
    }
}

/// Appends generic header and body: also the form of proposals and transforms.
pub(crate) fn append(bytes: &mut Vec<u8>, next: u8, body: &[u8]) {
    bytes.extend([next, 0]);
    bytes.extend((body.len() as u16 + 4).to_be_bytes());
    bytes.extend(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_payloads() {
        let header = Header {
            initiator_cookie: [1; 8],
            responder_cookie: [2; 8],
            next_payload: 0,
            version: 0x10,
            exchange_type: 2,
            flags: 0,
            message_id: 0,
            length: 0,
        };
        let mut writer = Writer::new(&header);
        writer.payload(4, &[9, 9]);
        writer.payload(10, &[7]);
        let expected = [
            vec![1; 8],
            vec![2; 8],
            // Next payload KE (4), version 1.0, identity protection (2), flags, message id, length.
            vec![4, 0x10, 2, 0, 0, 0, 0, 0, 0, 0, 0, 39],
            // Next payload NONCE (10), reserved, length.
            vec![10, 0, 0, 6, 9, 9],
            vec![0, 0, 0, 5, 7],
        ];
        assert_eq!(writer.finish(), expected.concat());
    }
}
