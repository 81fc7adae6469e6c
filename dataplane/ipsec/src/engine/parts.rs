//! How engines find the parts of an ESP packet, and what a combined mode makes of them.

use portcullis_config::{Integrity, Transform};

use super::KeyError;

/// An ESP packet taken apart.
#[derive(Debug)]
pub struct EspParts<'a> {
    /// SPI and sequence number.
    pub header: &'a [u8; 8],
    /// Explicit IV.
    pub iv: &'a [u8],
    /// What the cipher covers: payload, padding, pad length, next header.
    pub payload: &'a mut [u8],
    /// ICV.
    pub icv: &'a mut [u8],
}

impl<'a> EspParts<'a> {
    /// With an IV of `iv` and an ICV of `icv` bytes; `None` if the packet is too short.
    pub fn split(packet: &'a mut [u8], iv: usize, icv: usize) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_at_mut_checked(iv)?;
        let (payload, icv) = split_icv(rest, icv)?;
        Some(EspParts {
            header,
            iv,
            payload,
            icv,
        })
    }
}

/// All before the ICV, and the ICV; `None` if the packet is too short.
pub fn split_icv(packet: &mut [u8], icv: usize) -> Option<(&mut [u8], &mut [u8])> {
    packet.split_at_mut_checked(packet.len().checked_sub(icv)?)
}

/// Associated data of the combined modes: SPI and sequence number, the latter of 64 bits with ESN
/// (RFC 4106 5, RFC 4309 5, RFC 4543 3.3, RFC 7634 2.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Aad {
    bytes: [u8; 12],
    length: usize,
}

impl Aad {
    /// From the ESP header and the high half of an ESN.
    pub fn new(header: &[u8; 8], sequence_high: Option<u32>) -> Self {
        let [spi @ .., s0, s1, s2, s3] = *header;
        let low = [s0, s1, s2, s3];
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi);
        match sequence_high {
            Some(high) => {
                bytes[4..8].copy_from_slice(&high.to_be_bytes());
                bytes[8..].copy_from_slice(&low);
            }
            None => bytes[4..8].copy_from_slice(&low),
        }
        let length = if sequence_high.is_some() { 12 } else { 8 };
        Aad { bytes, length }
    }

    /// The bytes, 8 of them or 12.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Both keys have the length that the transform says.
pub fn check_key_lengths(
    transform: Transform,
    cipher_key: &[u8],
    integrity_key: &[u8],
) -> Result<(), KeyError> {
    let lengths = match transform {
        Transform::Esp(cipher, integrity) => (
            cipher.key_length(),
            integrity.map_or(0, Integrity::key_length),
        ),
        Transform::Ah(integrity) => (0, integrity.key_length()),
    };
    match (cipher_key.len(), integrity_key.len()) == lengths {
        true => Ok(()),
        false => Err(KeyError::Length),
    }
}

/// The salt is the end of the keying material (RFC 4106 8.1, RFC 4309 7.1, RFC 4543 5.4, RFC 7634 2).
pub fn salted<const N: usize>(keymat: &[u8]) -> Result<(&[u8], [u8; N]), KeyError> {
    let (key, salt) = keymat.split_last_chunk().ok_or(KeyError::Length)?;
    Ok((key, *salt))
}

/// Salt and explicit IV; `None` unless they fill the nonce (RFC 4106 4, RFC 4309 4, RFC 4543 3.2, RFC 7634 2).
pub fn nonce<const N: usize>(salt: &[u8], iv: &[u8]) -> Option<[u8; N]> {
    let mut nonce = [0; N];
    let (head, tail) = nonce.split_at_mut_checked(salt.len())?;
    head.copy_from_slice(salt);
    (tail.len() == iv.len()).then(|| tail.copy_from_slice(iv))?;
    Some(nonce)
}
