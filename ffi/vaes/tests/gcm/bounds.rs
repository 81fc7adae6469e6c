//! No byte outside a packet is read or written: packets between canaries, and against pages without access.

use vaes::EspPacket;
use vaes::gcm::Form;

use super::common::{Island, Random};
use super::kernel;
use super::message::HEADER;

super::with_both_forms! {
    nothing_outside_changes nothing_outside_is_touched
}

/// All lengths of packets whose counters a key knows, and some beyond.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=2100).chain([3000, 4000, 4064])
}

fn nothing_outside_changes<F: Form>() {
    const MARGIN: usize = 256;
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(1);
    for length in lengths() {
        let messages: Vec<_> = (0..5)
            .map(|_| random.message::<F>(kernel, length))
            .collect();
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
                // The second time they are not authentic.
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
fn nothing_outside_is_touched<F: Form>() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(2);
    let mut islands: Vec<_> = (0..3).map(|_| Island::new()).collect();
    for length in lengths() {
        for at_end in [true, false] {
            let messages: Vec<_> = (0..3)
                .map(|_| random.message::<F>(kernel, length))
                .collect();
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
                let end = m.packet.len() - m.icv;
                assert!(packet.ok);
                assert_eq!(packet.packet[..end], m.packet[..end]);
            }
        }
    }
}
