//! Known answers, computed by OpenSSL 3: for every hash function and key length, with and without ESN, thirty-two packets
//! with different keys, IVs, lengths and data, since what works on many packets at once may mix them up.

use sha2::{Digest, Sha256};

use super::few;
use super::{Kernel, Key};
use crate::{BURST, EspPacket, Hash, Unsupported};

/// Hash function, length of the AES key, and SHA-256 of all packets, sealed.
#[rustfmt::skip]
const CASES: [(Hash, usize, [u8; 32]); 6] = [
    (Hash::Sha1, 16, [
        0x1b, 0x79, 0xd0, 0x48, 0x1e, 0xb3, 0xee, 0x32, 0x1c, 0xc4, 0x26, 0xa9, 0xe7, 0x09, 0xf0, 0xe7,
        0x0d, 0x67, 0xbd, 0x0a, 0xe4, 0xeb, 0x64, 0x8d, 0x56, 0x28, 0xaa, 0x22, 0xb6, 0x7d, 0x94, 0x8e,
    ]),
    (Hash::Sha1, 24, [
        0xba, 0xbe, 0x11, 0x2e, 0xfe, 0x50, 0x63, 0x0f, 0xe4, 0x8b, 0x53, 0xf9, 0xd0, 0xcd, 0x89, 0x20,
        0x80, 0x02, 0xf0, 0xd0, 0xc8, 0xcb, 0x5f, 0xcc, 0x70, 0x45, 0x4b, 0x57, 0x7f, 0xb7, 0x5f, 0xf0,
    ]),
    (Hash::Sha1, 32, [
        0x1b, 0xa3, 0xf0, 0xac, 0x3f, 0x03, 0x7b, 0x1a, 0xe5, 0x2e, 0x27, 0x63, 0x07, 0x89, 0xd5, 0x6b,
        0x97, 0x0e, 0x46, 0x02, 0x1c, 0xfe, 0x2a, 0x1d, 0xfb, 0x50, 0xc0, 0x18, 0xc9, 0xad, 0x5b, 0x57,
    ]),
    (Hash::Sha256, 16, [
        0x2f, 0x7a, 0x12, 0x6e, 0xb7, 0x9f, 0x02, 0x9b, 0x37, 0xc8, 0x9f, 0x0a, 0x84, 0x35, 0x74, 0x5c,
        0xc3, 0xb7, 0xe6, 0x9e, 0x22, 0x43, 0x78, 0x50, 0x5b, 0x77, 0xe8, 0x2a, 0x06, 0x30, 0xda, 0xcd,
    ]),
    (Hash::Sha256, 24, [
        0x34, 0x42, 0xb6, 0x53, 0xc6, 0x02, 0xed, 0x83, 0xad, 0x23, 0xd9, 0x32, 0x64, 0x5a, 0xe1, 0x63,
        0xd3, 0xf7, 0xd6, 0x79, 0x32, 0xa1, 0x2a, 0x4e, 0xa5, 0xe6, 0xf9, 0x2f, 0xa3, 0xb2, 0xde, 0xc2,
    ]),
    (Hash::Sha256, 32, [
        0x07, 0x91, 0x39, 0x06, 0x1e, 0xc6, 0x5b, 0xc5, 0x42, 0x82, 0x71, 0x61, 0x91, 0xe1, 0x8f, 0x44,
        0x27, 0xc6, 0xa7, 0x9a, 0x13, 0x0a, 0x07, 0x28, 0x0b, 0x21, 0x97, 0xdd, 0xac, 0x3c, 0x94, 0x5c,
    ]),
];

/// SPI, sequence number and IV.
const HEADER: usize = 24;

/// The `stream`th input of a lane: bytes that no other lane has at this place.
fn input(lane: usize, stream: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (lane * 31 + stream * 59 + i * 7 + (i >> 8) * 3 + 1) as u8)
        .collect()
}

/// One lane's inputs and outputs.
struct Lane {
    key: Key,
    sequence_high: Option<u32>,
    packet: Vec<u8>,
    clear: Vec<u8>,
    ok: bool,
}

impl Lane {
    fn new(kernel: &Kernel, hash: Hash, key_len: usize, lane: usize) -> Option<Self> {
        let mut clear = input(lane, 2, HEADER);
        clear.extend(input(lane, 4, 16 * (lane * 37 % 96)));
        let mut packet = clear.clone();
        packet.resize(packet.len() + hash.icv_bytes(), 0);
        let high = input(lane, 3, 4);
        Some(Lane {
            key: kernel.key(
                hash,
                &input(lane, 0, key_len),
                &input(lane, 1, hash.bytes()),
            )?,
            sequence_high: (lane % 3 == 0).then_some(u32::from_be_bytes(*high.first_chunk()?)),
            packet,
            clear,
            ok: false,
        })
    }

    fn packet(&mut self) -> EspPacket<'_, Key> {
        EspPacket {
            key: &self.key,
            packet: &mut self.packet,
            sequence_high: self.sequence_high,
            ok: false,
        }
    }
}

/// Seals and opens all lanes, side by side and few at a time, and opens them with a wrong ICV.
pub(super) fn check(kernel: &Kernel) -> Result<(), Unsupported> {
    for (hash, key_len, expected) in CASES {
        for burst in [BURST, 16, few::many(hash) - 1] {
            let outcome = Lanes::new(kernel, hash, key_len).and_then(|mut lanes| {
                lanes.run(burst, |packets| kernel.seal(packets));
                lanes.expect(|lane| lane.ok)?;
                (lanes.digest() == expected).then_some(())?;
                lanes.run(burst, |packets| kernel.open(packets));
                lanes.expect(|lane| lane.ok && lane.packet.starts_with(&lane.clear))?;
                lanes.run(burst, |packets| kernel.seal(packets));
                lanes.spoil();
                lanes.run(burst, |packets| kernel.open(packets));
                lanes.expect(|lane| !lane.ok)
            });
            let name = match hash {
                Hash::Sha1 => "AES-CBC with HMAC-SHA-1",
                Hash::Sha256 => "AES-CBC with HMAC-SHA-256",
            };
            outcome.ok_or(Unsupported::KnownAnswer(name, key_len * 8))?;
        }
    }
    Ok(())
}

struct Lanes(Vec<Lane>);

impl Lanes {
    fn new(kernel: &Kernel, hash: Hash, key_len: usize) -> Option<Self> {
        let lanes = (0..BURST).map(|lane| Lane::new(kernel, hash, key_len, lane));
        Some(Lanes(lanes.collect::<Option<_>>()?))
    }

    fn run(&mut self, burst: usize, operation: impl Fn(&mut [EspPacket<'_, Key>])) {
        for lanes in self.0.chunks_mut(burst) {
            let mut packets: Vec<_> = lanes.iter_mut().map(Lane::packet).collect();
            operation(&mut packets);
            let results: Vec<_> = packets.iter().map(|packet| packet.ok).collect();
            for (lane, ok) in lanes.iter_mut().zip(results) {
                lane.ok = ok;
            }
        }
    }

    fn expect(&self, right: impl Fn(&Lane) -> bool) -> Option<()> {
        self.0.iter().all(right).then_some(())
    }

    fn digest(&self) -> [u8; 32] {
        let all = self
            .0
            .iter()
            .fold(Sha256::new(), |all, lane| all.chain_update(&lane.packet));
        all.finalize().into()
    }

    fn spoil(&mut self) {
        let last = self.0.iter_mut().filter_map(|lane| lane.packet.last_mut());
        last.for_each(|byte| *byte ^= 1);
    }
}
