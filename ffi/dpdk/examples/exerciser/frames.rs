//! The frames that the hosts send and expect, by the addresses of `scripts/lab.sh`.

/// Ethernet header and IPv4 header without options.
const HEADERS: usize = 34;
/// The gateway's MAC address on each side, and ours.
const GATEWAY: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]];
const HOST: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0x10], [2, 0, 0, 0, 2, 2]];
/// The same for IPv4 addresses.
const GATEWAY_IP: [[u8; 4]; 2] = [[10, 1, 0, 1], [192, 0, 2, 1]];
const HOST_IP: [[u8; 4]; 2] = [[10, 1, 0, 2], [192, 0, 2, 2]];
/// Behind the tunnel.
const FAR_IP: [u8; 4] = [10, 2, 0, 2];

/// A side of the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Lan,
    Wan,
}

/// What arrives and is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// ESP with its sequence number.
    Esp(u32),
    ArpReply,
    EchoReply,
}

/// The Internet checksum (RFC 1071) of a header with an even length.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|w| w.iter().fold(0, |word, b| word << 8 | u32::from(*b)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum + (sum >> 16)) as u16).to_be_bytes()
}

/// An IPv4 packet (RFC 791) of `size` bytes in a frame to the gateway.
fn ipv4(side: Side, destination: [u8; 4], protocol: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let size = size.max(HEADERS - 14 + payload.len());
    let side = side as usize;
    let [high, low] = (size as u16).to_be_bytes();
    let mut header = [
        [0x45, 0, high, low],
        [0, 0, 0x40, 0],
        [64, protocol, 0, 0],
        HOST_IP[side],
        destination,
    ]
    .concat();
    let sum = checksum(&header);
    header.splice(10..12, sum);
    let mut frame = [
        &GATEWAY[side][..],
        &HOST[side],
        &[0x08, 0x00],
        &header,
        payload,
    ]
    .concat();
    frame.resize(14 + size, 0);
    frame
}

/// UDP (RFC 768) without checksum, its payload being zeros up to `size`.
fn udp(side: Side, destination: [u8; 4], port: u16, size: usize) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let [len_high, len_low] = (size.saturating_sub(20) as u16).to_be_bytes();
    let header = [4, 0, high, low, len_high, len_low, 0, 0];
    ipv4(side, destination, 17, &header, size)
}

/// To the host behind the tunnel.
pub(crate) fn data(size: usize) -> Vec<u8> {
    udp(Side::Lan, FAR_IP, 9, size)
}

/// TCP (RFC 9293) to the gateway, which neither listens nor answers.
pub(crate) fn to_gateway(size: usize) -> Vec<u8> {
    ipv4(Side::Lan, GATEWAY_IP[0], 6, &[0; 20], size)
}

/// As long as an IKE header (RFC 7296 3.1), to its port.
pub(crate) fn ike() -> Vec<u8> {
    udp(Side::Wan, GATEWAY_IP[1], 500, 20 + 8 + 28)
}

/// An echo request (RFC 792) to the gateway's address in the LAN.
pub(crate) fn ping(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut message = [8, 0, 0, 0, 0x70, 0x63, high, low];
    let [a, b] = checksum(&message);
    (message[2], message[3]) = (a, b);
    ipv4(Side::Lan, GATEWAY_IP[0], 1, &message, 28)
}

/// A request (RFC 826) for the gateway's MAC address.
pub(crate) fn arp(side: Side) -> Vec<u8> {
    let side = side as usize;
    let header = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    [
        &[0xff; 6][..],
        &HOST[side],
        &header,
        &HOST[side],
        &HOST_IP[side],
        &[0; 6],
        &GATEWAY_IP[side],
    ]
    .concat()
}

/// What a frame from the gateway is.
#[inline]
pub(crate) fn see(frame: &[u8]) -> Option<Seen> {
    let (header, rest) = frame.split_first_chunk::<HEADERS>()?;
    match (&header[12..14], header[23]) {
        ([0x08, 0x00], 50) => {
            let (_spi, rest) = rest.split_first_chunk::<4>()?;
            Some(Seen::Esp(u32::from_be_bytes(*rest.first_chunk()?)))
        }
        ([0x08, 0x00], 1) => (*rest.first()? == 0).then_some(Seen::EchoReply),
        ([0x08, 0x06], _) => (header[20..22] == [0, 2]).then_some(Seen::ArpReply),
        _ => None,
    }
}
