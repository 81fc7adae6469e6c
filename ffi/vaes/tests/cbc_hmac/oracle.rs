//! The same by the crates `aes`, `cbc`, `hmac`, `sha1` and `sha2`.

use aes::cipher::{Array, BlockCipherEncrypt, BlockModeEncrypt, InnerIvInit};
use aes::{Aes128, Aes192, Aes256};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use vaes::Hash;

use super::message::{HEADER, Message};

/// The packet, sealed.
pub(crate) fn seal(message: &Message) -> Vec<u8> {
    let mut packet = message.body().to_vec();
    let (header, payload) = packet.split_at_mut(HEADER);
    let (key, iv) = (&message.cipher_key[..], &header[8..]);
    match key.len() {
        16 => encrypt(&Aes128::new_from_slice(key).unwrap(), iv, payload),
        24 => encrypt(&Aes192::new_from_slice(key).unwrap(), iv, payload),
        _ => encrypt(&Aes256::new_from_slice(key).unwrap(), iv, payload),
    }
    let icv = icv(message, &packet);
    packet.extend(icv);
    packet
}

/// RFC 3602.
fn encrypt(cipher: &impl BlockCipherEncrypt, iv: &[u8], payload: &mut [u8]) {
    let (blocks, rest) = Array::slice_as_chunks_mut(payload);
    assert!(rest.is_empty());
    cbc::Encryptor::inner_iv_init(cipher, iv.try_into().unwrap()).encrypt_blocks(blocks);
}

/// RFC 2404, RFC 4868: over the encrypted packet, and the high half of an extended sequence number behind it
/// (RFC 4303 2.2.1).
pub(crate) fn icv(message: &Message, body: &[u8]) -> Vec<u8> {
    let high = message.sequence_high.map(u32::to_be_bytes);
    let parts = [body, high.as_ref().map_or(&[], |high| &high[..])];
    let mut icv = match message.hash {
        Hash::Sha1 => tag::<Hmac<Sha1>>(&message.integrity_key, parts),
        Hash::Sha256 => tag::<Hmac<Sha256>>(&message.integrity_key, parts),
    };
    icv.truncate(message.hash.icv_bytes());
    icv
}

fn tag<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 2]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}
