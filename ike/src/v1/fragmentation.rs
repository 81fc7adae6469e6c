//! Fragments of messages, by the vendor id FRAGMENTATION: what IP would fragment, and firewalls would drop
//! (requirement 76).

use std::collections::BTreeMap;

use crate::core::Path;
use crate::header::{self, Header};
use crate::v1::message::Incoming;
use crate::wire::Writer;
use crate::wire::fragment::Fragment;
use crate::wire::payload::kind;

/// Fragments of one message that are kept, and their bytes.
const FRAGMENTS: usize = 64;
const BYTES: usize = 64 * 1024;
/// IP and UDP headers and the non-ESP marker around a message.
const AROUND_V4: usize = 20 + 8 + 4;
const AROUND_V6: usize = 40 + 8 + 4;
/// ISAKMP header, generic header, and the fragment's own four bytes.
const WITHIN: usize = header::LENGTH + 4 + 4;

/// The fragments of the latest fragmented message of an IKE SA.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    id: u16,
    parts: BTreeMap<u8, Vec<u8>>,
    last: Option<u8>,
    bytes: usize,
}

impl Reassembly {
    /// Takes a fragment; gives the message if it is whole. A fragment of another message than the one before begins
    /// anew.
    pub(crate) fn add(&mut self, incoming: &Incoming<'_>) -> Option<Vec<u8>> {
        let body = incoming.body();
        let length = usize::from(u16::from_be_bytes([*body.get(2)?, *body.get(3)?]));
        let fragment = Fragment::parse(body.get(4..length)?).ok()?;
        if fragment.id != self.id || self.parts.is_empty() {
            *self = Reassembly {
                id: fragment.id,
                ..Reassembly::default()
            };
        }
        if fragment.last {
            self.last = Some(fragment.number);
        }
        self.bytes += fragment.data.len();
        if self.bytes > BYTES || self.parts.len() >= FRAGMENTS {
            *self = Reassembly::default();
            return None;
        }
        self.parts.insert(fragment.number, fragment.data.to_vec());
        let last = self.last?;
        let whole = self.parts.keys().copied().eq(1..=last);
        whole.then(|| {
            let message = self.parts.values().flatten().copied().collect();
            *self = Reassembly::default();
            message
        })
    }
}

/// Splits a message whose IP packet is longer than `limit`.
pub(crate) fn split(message: &[u8], path: Path, limit: Option<u16>) -> Vec<Vec<u8>> {
    let around = match path.remote.is_ipv4() {
        true => AROUND_V4,
        false => AROUND_V6,
    };
    let room = limit.map(usize::from);
    let room = room.filter(|limit| message.len() + around > *limit);
    let room = room.and_then(|limit| limit.checked_sub(around + WITHIN).filter(|room| *room > 0));
    let (Some(room), Ok(header)) = (room, Header::parse(message)) else {
        return vec![message.to_vec()];
    };
    let parts = message.chunks(room);
    let count = parts.len();
    if count > FRAGMENTS {
        return vec![message.to_vec()];
    }
    // The id tells this message from the one before it.
    let id = message
        .iter()
        .rev()
        .take(2)
        .fold(0, |sum, byte| sum << 8 | u16::from(*byte));
    let fragments = parts.zip(1..=u8::MAX).map(|(data, number)| {
        let fragment = Fragment {
            id,
            number,
            last: usize::from(number) == count,
            data,
        };
        let mut writer = Writer::new(&Header { flags: 0, ..header });
        writer.payload(kind::FRAGMENT, &fragment.encode());
        writer.finish()
    });
    fragments.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> Path {
        Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
        }
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = [vec![7; 8], vec![8; 8], vec![5, 0x10, 2, 1, 0, 0, 0, 0]].concat();
        bytes.extend((length as u32).to_be_bytes());
        bytes.resize(length, 0x55);
        bytes
    }

    fn join(parts: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for bytes in parts {
            let header = Header::parse(bytes).unwrap();
            assert_eq!((header.next_payload, header.flags), (132, 0));
            whole = whole.or(reassembly.add(&Incoming {
                header,
                bytes,
                path: path(),
            }));
        }
        whole
    }

    #[test]
    fn what_is_split_is_joined_in_any_order() {
        let whole = message(3000);
        let mut parts = split(&whole, path(), Some(1280));
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() + 32 <= 1280));
        assert_eq!(join(&parts), Some(whole.clone()));
        parts.reverse();
        assert_eq!(join(&parts), Some(whole));
        parts.pop();
        assert_eq!(join(&parts), None);
    }

    #[test]
    fn what_fits_is_left_alone() {
        let small = message(200);
        assert_eq!(
            split(&small, path(), Some(1280)),
            std::slice::from_ref(&small)
        );
        assert_eq!(split(&message(3000), path(), None).len(), 1);
    }

    #[test]
    fn floods_are_bounded() {
        let many: Vec<_> = (0..200_u8)
            .map(|n| {
                let parts = split(&message(3000), path(), Some(1280));
                let mut part = parts[0].clone();
                part[34] = n + 1;
                part
            })
            .collect();
        assert_eq!(join(&many), None);
    }
}
