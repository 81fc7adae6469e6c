//! No byte outside a packet is read or written: packets between canaries, and against pages without access.

use vaes::cbc_hmac::Kernel;
use vaes::{BURST, EspPacket};

use super::common::{Island, Random};
use super::kernel;
use super::message::{HEADER, Kind, Message};

/// Of payloads: around those at which a block of a hash function is full or has one of the cipher more.
fn lengths() -> impl Iterator<Item = usize> {
    let some = (0..=272).chain(1392..=1472).chain([2048, 3008, 4000, 4048]);
    some.filter(|length| length % 16 == 0)
}

/// Packets of one length and of different ones, of one kind and of all, as many as go one after the other and as go
/// side by side.
fn bursts(kernel: Kernel, random: &mut Random) -> Vec<Vec<Message>> {
    let (lengths, all): (Vec<_>, _) = (lengths().collect(), Kind::all());
    let mut bursts = Vec::new();
    for (n, &length) in lengths.iter().enumerate() {
        for count in [1, 3, 9, BURST] {
            let kind = all[(n + count) % all.len()];
            let same = (0..count).map(|_| random.message(kernel, &[kind], length));
            bursts.push(same.collect());
            let kinds = random.kinds();
            let mixed = (0..count).map(|_| {
                let length = lengths[random.below(lengths.len())];
                random.message(kernel, &kinds, length)
            });
            bursts.push(mixed.collect());
        }
    }
    bursts
}

#[test]
fn nothing_outside_changes() {
    const MARGIN: usize = 256;
    let Some(kernel) = kernel() else {
        return;
    };
    for messages in bursts(kernel, &mut Random(1)) {
        let mut buffers: Vec<_> = messages
            .iter()
            .map(|m| [&[0xc5; MARGIN], &m.packet[..], &[0xc5; MARGIN]].concat())
            .collect();
        for seal in [true, false, false] {
            let mut packets: Vec<_> = messages
                .iter()
                .zip(&mut buffers)
                .map(|(m, buffer)| EspPacket {
                    key: &m.key,
                    packet: &mut buffer[MARGIN..MARGIN + m.packet.len()],
                    sequence_high: m.sequence_high,
                    ok: false,
                })
                .collect();
            if seal {
                kernel.seal(&mut packets);
            } else {
                // The second time they are not authentic, but those without payload.
                kernel.open(&mut packets);
            }
            for (m, buffer) in messages.iter().zip(&buffers) {
                let behind = MARGIN + m.packet.len();
                assert!(buffer[..MARGIN].iter().all(|&byte| byte == 0xc5));
                assert!(buffer[behind..].iter().all(|&byte| byte == 0xc5));
                assert_eq!(buffer[MARGIN..][..HEADER], m.packet[..HEADER]);
            }
        }
    }
}

/// A read or write outside would end the test by a signal.
#[test]
fn nothing_outside_is_touched() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut islands: Vec<_> = (0..BURST).map(|_| Island::new()).collect();
    for messages in bursts(kernel, &mut Random(2)) {
        for at_end in [true, false] {
            let mut packets: Vec<_> = messages
                .iter()
                .zip(&mut islands)
                .map(|(m, island)| {
                    let (bytes, len) = (island.bytes(), m.packet.len());
                    let start = if at_end { bytes.len() - len } else { 0 };
                    let packet = &mut bytes[start..start + len];
                    packet.copy_from_slice(&m.packet);
                    EspPacket {
                        key: &m.key,
                        packet,
                        sequence_high: m.sequence_high,
                        ok: false,
                    }
                })
                .collect();
            kernel.seal(&mut packets);
            kernel.open(&mut packets);
            for (packet, m) in packets.iter().zip(&messages) {
                assert!(packet.ok);
                assert_eq!(packet.packet[..m.end()], *m.body());
            }
        }
    }
}

/// Packets too short or not of whole blocks, which may be no bytes at all, at either end.
#[test]
fn nothing_outside_malformed_is_touched() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(3);
    let mut islands: Vec<_> = (0..BURST).map(|_| Island::new()).collect();
    for kind in Kind::all() {
        let message = random.message(kernel, &[kind], 0);
        for first in (0..128).step_by(BURST) {
            for at_end in [true, false] {
                let mut packets: Vec<_> = islands
                    .iter_mut()
                    .zip(first..)
                    .map(|(island, len)| {
                        let bytes = island.bytes();
                        let start = if at_end { bytes.len() - len } else { 0 };
                        EspPacket {
                            key: &message.key,
                            packet: &mut bytes[start..start + len],
                            sequence_high: message.sequence_high,
                            ok: false,
                        }
                    })
                    .collect();
                kernel.seal(&mut packets);
                let whole = |len: usize| len.checked_sub(message.packet.len());
                for packet in &packets {
                    let payload = whole(packet.packet.len());
                    assert_eq!(packet.ok, payload.is_some_and(|len| len % 16 == 0));
                }
                kernel.open(&mut packets);
            }
        }
    }
}
