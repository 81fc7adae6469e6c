//! Packets to test with, each with its own key.

use vaes::cbc_hmac::{Kernel, Key};
use vaes::{EspPacket, Hash};

use super::common::Random;

/// SPI, sequence number (RFC 4303 2), IV (RFC 3602 3).
pub(crate) const HEADER: usize = 8 + 16;

/// What packets go together: a hash function and the length of a key of AES.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) hash: Hash,
    pub(crate) key_len: usize,
}

impl Kind {
    pub(crate) fn all() -> Vec<Kind> {
        let of = |hash| [16, 24, 32].map(|key_len| Kind { hash, key_len });
        Hash::ALL.into_iter().flat_map(of).collect()
    }
}

/// A packet and what belongs to it.
pub(crate) struct Message {
    pub(crate) hash: Hash,
    pub(crate) cipher_key: Vec<u8>,
    pub(crate) integrity_key: Vec<u8>,
    pub(crate) key: Key,
    pub(crate) sequence_high: Option<u32>,
    /// From the SPI to the end of the ICV.
    pub(crate) packet: Vec<u8>,
    pub(crate) ok: bool,
}

impl Message {
    pub(crate) fn new(
        kernel: Kernel,
        hash: Hash,
        cipher_key: &[u8],
        integrity_key: &[u8],
        packet: Vec<u8>,
    ) -> Self {
        Message {
            hash,
            cipher_key: cipher_key.to_vec(),
            integrity_key: integrity_key.to_vec(),
            key: kernel.key(hash, cipher_key, integrity_key).unwrap(),
            sequence_high: None,
            packet,
            ok: false,
        }
    }

    /// The same packet with an equal key.
    pub(crate) fn copy(&self, kernel: Kernel) -> Self {
        let (cipher_key, integrity_key) = (&self.cipher_key, &self.integrity_key);
        let packet = self.packet.clone();
        let mut copy = Message::new(kernel, self.hash, cipher_key, integrity_key, packet);
        copy.sequence_high = self.sequence_high;
        copy
    }

    /// Where the ICV begins.
    pub(crate) fn end(&self) -> usize {
        self.packet.len() - self.hash.icv_bytes()
    }

    /// From the SPI to the end of the payload.
    pub(crate) fn body(&self) -> &[u8] {
        &self.packet[..self.end()]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.body()[HEADER..]
    }

    /// All but keys and bytes.
    pub(crate) fn describe(&self) -> String {
        let (len, high) = (self.packet.len(), self.sequence_high);
        format!("{:?}, packet of {len} bytes, high {high:?}", self.key)
    }
}

/// One burst; each `ok` is first set to what it must not be left at.
pub(crate) fn run(messages: &mut [Message], operation: impl FnOnce(&mut [EspPacket<'_, Key>])) {
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
    /// The kinds of a burst: one, which goes together; or two; or all.
    pub(crate) fn kinds(&mut self) -> Vec<Kind> {
        let mut kinds = Kind::all();
        let count = [1, 2, kinds.len()][self.below(3)];
        while kinds.len() > count {
            kinds.swap_remove(self.below(kinds.len()));
        }
        kinds
    }

    /// A packet in the clear with a payload of `len` bytes and all else by chance.
    pub(crate) fn message(&mut self, kernel: Kernel, kinds: &[Kind], len: usize) -> Message {
        let Kind { hash, key_len } = kinds[self.below(kinds.len())];
        let (cipher_key, integrity_key) = (self.bytes(key_len), self.bytes(hash.bytes()));
        let packet = self.bytes(HEADER + len + hash.icv_bytes());
        let mut message = Message::new(kernel, hash, &cipher_key, &integrity_key, packet);
        message.sequence_high = (self.below(2) == 0).then(|| self.next() as u32);
        message
    }

    /// Flips a bit anywhere.
    pub(crate) fn spoil(&mut self, packet: &mut [u8]) {
        let bit = self.below(8 * packet.len());
        packet[bit / 8] ^= 1 << (bit % 8);
    }
}
