//! No byte outside a packet is read or written: packets between canaries, and against pages without access.

use std::{ptr, slice};

use vaes::EspPacket;

use super::kernel;
use super::message::{HEADER, Random};

/// Lengths at which a block or a vector is full or has one byte more.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=400)
        .chain(736..=784)
        .chain(1480..=1600)
        .chain([2048, 2100, 3000, 4000, 4064])
}

#[test]
fn nothing_outside_changes() {
    const MARGIN: usize = 256;
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(1);
    for length in lengths() {
        let messages: Vec<_> = (0..5).map(|_| random.message(kernel, length)).collect();
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

/// Two pages with none on either side.
struct Island {
    start: *mut u8,
    page: usize,
}

impl Island {
    fn new() -> Self {
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping where there is none.
        let map = unsafe { libc::mmap(ptr::null_mut(), 4 * page, protection, flags, -1, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        // SAFETY: the second page of the four that were mapped.
        let start = unsafe { map.cast::<u8>().add(page) };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: two pages of the mapping that nobody refers to yet.
        assert_eq!(unsafe { libc::mprotect(start.cast(), 2 * page, access) }, 0);
        Island { start, page }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: two pages that are mapped and accessible while `self` lives, borrowed as `self` is.
        unsafe { slice::from_raw_parts_mut(self.start, 2 * self.page) }
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, to which there are no more references.
        unsafe { libc::munmap(self.start.sub(self.page).cast(), 4 * self.page) };
    }
}

/// A read or write outside would end the test by a signal.
#[test]
fn nothing_outside_is_touched() {
    let Some(kernel) = kernel() else {
        return;
    };
    let mut random = Random(2);
    let mut islands: Vec<_> = (0..3).map(|_| Island::new()).collect();
    for length in lengths() {
        for at_end in [true, false] {
            let messages: Vec<_> = (0..3).map(|_| random.message(kernel, length)).collect();
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
