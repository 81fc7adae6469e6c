//! Packets to test with, each with its own key.

use vaes::EspPacket;
use vaes::gcm::{Form, Kernel};

use super::common::Random;

/// SPI, sequence number, IV (RFC 4106 3.1).
pub(crate) const HEADER: usize = 16;

/// A packet and what belongs to it.
pub(crate) struct Message<F: Form> {
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) key: F,
    pub(crate) salt: [u8; 4],
    pub(crate) icv: usize,
    pub(crate) sequence_high: Option<u32>,
    /// From the SPI to the end of the ICV.
    pub(crate) packet: Vec<u8>,
    pub(crate) ok: bool,
}

impl<F: Form> Message<F> {
    pub(crate) fn new(
        kernel: Kernel,
        key: &[u8],
        salt: [u8; 4],
        icv: usize,
        packet: Vec<u8>,
    ) -> Self {
        Message {
            key_bytes: key.to_vec(),
            key: kernel.key(key, salt, icv).unwrap(),
            salt,
            icv,
            sequence_high: None,
            packet,
            ok: false,
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.packet[HEADER..self.packet.len() - self.icv]
    }

    /// SPI and sequence number, its high half between them (RFC 4106 5).
    pub(crate) fn aad(&self) -> Vec<u8> {
        let mut aad = self.packet[..4].to_vec();
        if let Some(high) = self.sequence_high {
            aad.extend(high.to_be_bytes());
        }
        aad.extend(&self.packet[4..8]);
        aad
    }

    /// Salt and IV (RFC 4106 4).
    pub(crate) fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&self.packet[8..16]);
        nonce
    }
}

/// One burst; each `ok` is first set to what it must not be left at.
pub(crate) fn run<F: Form>(
    messages: &mut [Message<F>],
    operation: impl FnOnce(&mut [EspPacket<'_, F>]),
) {
    let mut packets: Vec<_> = messages
        .iter_mut()
        .map(|message| EspPacket {
            key: &message.key,
            packet: &mut message.packet,
            sequence_high: message.sequence_high,
            ok: !message.ok,
        })
        .collect();
    operation(&mut packets);
    let results: Vec<_> = packets.iter().map(|packet| packet.ok).collect();
    for (message, ok) in messages.iter_mut().zip(results) {
        message.ok = ok;
    }
}

impl Random {
    /// A packet in the clear with a payload of `len` bytes and all else by chance.
    pub(crate) fn message<F: Form>(&mut self, kernel: Kernel, len: usize) -> Message<F> {
        let key_len = [16, 24, 32][self.below(3)];
        let icv = [8, 12, 16][self.below(3)];
        let (key, packet) = (self.bytes(key_len), self.bytes(HEADER + len + icv));
        let salt = (self.next() as u32).to_be_bytes();
        let mut message = Message::new(kernel, &key, salt, icv, packet);
        message.sequence_high = (self.below(2) == 0).then(|| self.next() as u32);
        message
    }
}
