//! What the wire tests share: foreign vectors, a plain `Io`, a small generator.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)] // each test file uses a part

use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::ip::IpHeader;
use portcullis_ipsec::{InterfaceId, Io, PacketBuf};

/// A packet or frame of `vectors.txt`, which `vectors.py` wrote with scapy 2.8.0.
pub fn scapy(name: &str) -> Vec<u8> {
    let line = include_str!("vectors.txt").lines().find_map(|line| {
        let (n, hex) = line.split_once(' ')?;
        (n == name).then_some(hex)
    });
    hex(line.unwrap_or_else(|| panic!("no vector {name}")))
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub fn parse(packet: &[u8]) -> IpHeader {
    IpHeader::parse(packet).unwrap()
}

/// Counts what goes in and out.
#[derive(Default)]
pub struct TestIo {
    pub allocated: usize,
    pub discarded: usize,
    /// Allocations that still succeed.
    pub left: Option<usize>,
}

impl Io for TestIo {
    type Buf = TestBuf;
    fn allocate(&mut self, len: usize) -> Option<TestBuf> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        self.allocated += 1;
        Some(TestBuf::with_capacity(len))
    }
    fn transmit(&mut self, _: InterfaceId, _: TestBuf) {
        panic!("nothing here transmits")
    }
    fn discard(&mut self, _: TestBuf) {
        self.discarded += 1;
    }
}

/// xorshift64*: the same numbers in every run.
pub struct Generator(pub u64);

impl Generator {
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
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// RFC 1071 by its definition, word by word.
pub fn plain_checksum(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An IPv4 packet with `options` (a multiple of 4 bytes) and `payload`.
pub fn ipv4(protocol: u8, id: u16, flags: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let head = 20 + options.len();
    let mut p = vec![0x40 | (head / 4) as u8, 0];
    p.extend(((head + payload.len()) as u16).to_be_bytes());
    p.extend(id.to_be_bytes());
    p.extend(flags.to_be_bytes());
    p.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    p.extend(options);
    let sum = plain_checksum(&p);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend(payload);
    p
}

/// An IPv6 packet from 2001:db8::1 to 2001:db8::2 whose `payload` starts with header `next`.
pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([next, 64]);
    for last in [1, 2] {
        p.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    p.extend(payload);
    p
}

pub fn data(buf: &TestBuf) -> Vec<u8> {
    buf.data().to_vec()
}
