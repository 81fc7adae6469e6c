//! Packets as hosts write them, from the RFCs and not from the crate under test.

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const ICMPV6: u8 = 58;

/// xorshift64*: the same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize) % n
    }
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 40) as u8).collect()
    }
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// RFC 1071 by its definition.
pub fn checksum(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An IP packet to be written: of the family of its addresses, which are 4 or 16 bytes.
#[derive(Clone)]
pub struct Ip {
    pub source: Vec<u8>,
    pub destination: Vec<u8>,
    pub protocol: u8,
    pub ttl: u8,
    pub class: u8,
    pub dont_fragment: bool,
    pub id: u16,
    /// Options (IPv4) or extension headers (IPv6), the latter beginning with the kind of the first.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

pub fn bytes(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        std::net::IpAddr::V4(a) => a.octets().to_vec(),
        std::net::IpAddr::V6(a) => a.octets().to_vec(),
    }
}

impl Ip {
    pub fn new(source: &str, destination: &str, protocol: u8, payload: Vec<u8>) -> Self {
        Ip {
            source: bytes(source),
            destination: bytes(destination),
            protocol,
            ttl: 64,
            class: 0,
            dont_fragment: false,
            id: 0x1234,
            options: Vec::new(),
            payload,
        }
    }
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }
    pub fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }
    pub fn df(mut self) -> Self {
        self.dont_fragment = true;
        self
    }
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = match self.source.len() {
            4 => {
                let words = (20 + self.options.len()) / 4;
                let total = (words * 4 + self.payload.len()) as u16;
                let flags = if self.dont_fragment { 0x40 } else { 0 };
                let mut h = vec![0x40 | words as u8, self.class];
                h.extend(total.to_be_bytes());
                h.extend(self.id.to_be_bytes());
                h.extend([flags, 0, self.ttl, self.protocol, 0, 0]);
                h.extend(self.source.iter().chain(&self.destination));
                h.extend(&self.options);
                let sum = checksum(&h).to_be_bytes();
                h[10..12].copy_from_slice(&sum);
                h
            }
            _ => {
                let len = (self.options.len().saturating_sub(1) + self.payload.len()) as u16;
                let (next, chain) = match self.options.split_first() {
                    Some((kind, chain)) => (*kind, chain),
                    None => (self.protocol, &[][..]),
                };
                let mut h = vec![0x60 | self.class >> 4, self.class << 4, 0, 0];
                h.extend(len.to_be_bytes());
                h.extend([next, self.ttl]);
                h.extend(self.source.iter().chain(&self.destination));
                h.extend(chain);
                h
            }
        };
        out.extend(&self.payload);
        out
    }
}

/// Sum over pseudo-header and payload, for UDP and ICMPv6 over either family.
pub fn upper_checksum(source: &[u8], destination: &[u8], protocol: u8, payload: &[u8]) -> u16 {
    let mut all = [source, destination].concat();
    all.extend((payload.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, protocol]);
    all.extend(payload);
    checksum(&all)
}

pub fn udp(source: &str, destination: &str, ports: (u16, u16), data: &[u8]) -> Ip {
    let mut h = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    h.extend((8 + data.len() as u16).to_be_bytes());
    h.extend([0, 0]);
    h.extend(data);
    let sum = match upper_checksum(&bytes(source), &bytes(destination), UDP, &h) {
        0 => 0xffff,
        sum => sum,
    };
    h[6..8].copy_from_slice(&sum.to_be_bytes());
    Ip::new(source, destination, UDP, h)
}

/// An ICMP or ICMPv6 message, by the addresses' family.
pub fn icmp(source: &str, destination: &str, kind: u8, code: u8, body: &[u8]) -> Ip {
    let mut message = vec![kind, code, 0, 0];
    message.extend(body);
    let (from, to) = (bytes(source), bytes(destination));
    let (protocol, sum) = match from.len() {
        4 => (ICMP, checksum(&message)),
        _ => (ICMPV6, upper_checksum(&from, &to, ICMPV6, &message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ip::new(source, destination, protocol, message)
}

pub fn echo(source: &str, destination: &str, data: &[u8]) -> Ip {
    let kind = if source.contains(':') { 128 } else { 8 };
    icmp(
        source,
        destination,
        kind,
        0,
        &[&[0, 7, 0, 1], data].concat(),
    )
}

/// Fragments of a packet without options, at most `room` bytes of payload each (a multiple of 8).
pub fn fragments(packet: &Ip, room: usize) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let count = packet.payload.len().div_ceil(room);
    for (i, part) in packet.payload.chunks(room).enumerate() {
        let more = i + 1 < count;
        let mut piece = packet.clone();
        piece.payload = part.to_vec();
        if packet.source.len() == 4 {
            let mut bytes = piece.write();
            let field = ((i * room / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes();
            bytes[6] = bytes[6] & 0x40 | field[0];
            bytes[7] = field[1];
            fix_checksum(&mut bytes);
            out.push(bytes);
        } else {
            let field = ((i * room) as u16 | u16::from(more)).to_be_bytes();
            let id = packet.id.to_be_bytes();
            piece.options = vec![
                44,
                piece.protocol,
                0,
                field[0],
                field[1],
                0,
                0,
                id[0],
                id[1],
            ];
            out.push(piece.write());
        }
    }
    out
}

/// Makes an IPv4 header's checksum right again after a change.
pub fn fix_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..len.min(packet.len())]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}

pub fn is_v4(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4
}

/// TTL or hop limit.
pub fn ttl(packet: &[u8]) -> u8 {
    packet[if is_v4(packet) { 8 } else { 7 }]
}

/// TOS octet or traffic class.
pub fn class(packet: &[u8]) -> u8 {
    if is_v4(packet) {
        packet[1]
    } else {
        packet[0] << 4 | packet[1] >> 4
    }
}

/// The protocol in the fixed header.
pub fn protocol(packet: &[u8]) -> u8 {
    packet[if is_v4(packet) { 9 } else { 6 }]
}

pub fn source(packet: &[u8]) -> Vec<u8> {
    if is_v4(packet) {
        packet[12..16].to_vec()
    } else {
        packet[8..24].to_vec()
    }
}

pub fn destination(packet: &[u8]) -> Vec<u8> {
    if is_v4(packet) {
        packet[16..20].to_vec()
    } else {
        packet[24..40].to_vec()
    }
}

/// What is behind a fixed header without options.
pub fn payload(packet: &[u8]) -> &[u8] {
    if is_v4(packet) {
        &packet[20..]
    } else {
        &packet[40..]
    }
}

/// The packet with its TTL lowered by `hops`, as it comes out behind that many routers.
pub fn after(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut out = packet.to_vec();
    if is_v4(&out) {
        out[8] -= hops;
        fix_checksum(&mut out);
    } else {
        out[7] -= hops;
    }
    out
}

/// Puts fragments of one packet together again; a whole packet stays as it is.
pub fn reassemble(packets: &[Vec<u8>]) -> Vec<u8> {
    let v4 = is_v4(&packets[0]);
    let mut parts: Vec<(usize, bool, &[u8])> = packets
        .iter()
        .map(|p| {
            if v4 {
                let field = u16::from_be_bytes([p[6], p[7]]);
                (
                    usize::from(field & 0x1fff) * 8,
                    field & 0x2000 != 0,
                    &p[20..],
                )
            } else if p[6] == 44 {
                let field = u16::from_be_bytes([p[42], p[43]]);
                (usize::from(field & 0xfff8), field & 1 != 0, &p[48..])
            } else {
                (0, false, &p[40..])
            }
        })
        .collect();
    parts.sort_by_key(|p| p.0);
    let mut payload = Vec::new();
    for (offset, _, part) in &parts {
        assert_eq!(*offset, payload.len(), "fragments are in one piece");
        payload.extend(*part);
    }
    assert!(!parts.last().unwrap().1, "the last fragment is the last");
    let first = packets
        .iter()
        .find(|p| !v4 || p[6] & 0x1f == 0 && p[7] == 0)
        .unwrap();
    let mut whole = if v4 {
        let mut h = first[..20].to_vec();
        h[6] &= 0x40;
        h[7] = 0;
        h
    } else {
        let mut h = first[..40].to_vec();
        if h[6] == 44 {
            h[6] = first[40];
        }
        h
    };
    whole.extend(&payload);
    let len = (whole.len() - if v4 { 0 } else { 40 }) as u16;
    let at = if v4 { 2 } else { 4 };
    whole[at..at + 2].copy_from_slice(&len.to_be_bytes());
    if v4 {
        fix_checksum(&mut whole);
    }
    whole
}
