//! Blocks of a pcapng file (draft-ietf-opsawg-pcapng): section header, interfaces, packets.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_config::Side;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Link type Ethernet.
const ETHERNET: u16 = 1;

// Options.
const END: u16 = 0;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const SHB_USERAPPL: u16 = 4;
const EPB_FLAGS: u16 = 2;

/// Section header, and one interface for each of the policy's, in order.
pub(super) fn head<'a>(interfaces: impl Iterator<Item = (&'a str, Side)>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
    body.extend_from_slice(&1u16.to_le_bytes()); // version 1.0
    body.extend_from_slice(&0u16.to_le_bytes());
    body.extend_from_slice(&u64::MAX.to_le_bytes()); // a section of unknown length
    option(&mut body, SHB_USERAPPL, b"portcullis capture");
    option(&mut body, END, &[]);
    let mut head = block(SECTION_HEADER, &body);
    for (name, side) in interfaces {
        let mut body = Vec::new();
        body.extend_from_slice(&ETHERNET.to_le_bytes());
        body.extend_from_slice(&[0; 6]); // reserved; no limit to the length of packets
        option(&mut body, IF_NAME, name.as_bytes());
        let description: &[u8] = match side {
            Side::Protected => b"protected side: clear text",
            Side::Unprotected => b"unprotected side",
        };
        option(&mut body, IF_DESCRIPTION, description);
        option(&mut body, IF_TSRESOL, &[9]); // nanoseconds
        option(&mut body, END, &[]);
        head.extend(block(INTERFACE_DESCRIPTION, &body));
    }
    head
}

/// One frame.
pub(super) fn packet(interface: u16, now: SystemTime, inbound: bool, frame: &[u8]) -> Vec<u8> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = since.as_nanos() as u64;
    let (high, low) = ((nanoseconds >> 32) as u32, nanoseconds as u32);
    let length = frame.len() as u32;
    let mut body = Vec::with_capacity(frame.len() + 48);
    for word in [u32::from(interface), high, low, length, length] {
        body.extend_from_slice(&word.to_le_bytes());
    }
    padded(&mut body, frame);
    let direction: u32 = if inbound { 1 } else { 2 };
    option(&mut body, EPB_FLAGS, &direction.to_le_bytes());
    option(&mut body, END, &[]);
    block(ENHANCED_PACKET, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 12;
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend_from_slice(&kind.to_le_bytes());
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(body);
    block.extend_from_slice(&length.to_le_bytes());
    block
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(body, value);
}

/// To a multiple of four bytes.
fn padded(body: &mut Vec<u8>, value: &[u8]) {
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
