//! Messages in clear and encrypted (RFC 2408 3.1, RFC 2409 appendix B).

use crate::InvalidMessage;
use crate::core::Path;
use crate::crypto::cipher::Iv;
use crate::crypto::keymat::Cookies;
use crate::header::{self, Header};
use crate::v1::keys::Keys;
use crate::wire::Writer;
use crate::wire::writer::set_length;

/// Flags of the header (RFC 2408 3.1).
pub(crate) const ENCRYPTION: u8 = 1;
pub(crate) const COMMIT: u8 = 2;

/// IKEv1 is ISAKMP 1.0.
pub(crate) const VERSION: u8 = 0x10;

/// A message as it came in, without marker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) header: Header,
    pub(crate) bytes: &'a [u8],
    pub(crate) path: Path,
}

impl<'a> Incoming<'a> {
    /// What follows the header.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.bytes.get(header::LENGTH..).unwrap_or_default()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.header.flags & ENCRYPTION != 0
    }

    /// Decrypts the body, and moves the IV on: a copy's, until the message proves authentic.
    pub(crate) fn decrypt(&self, keys: &Keys, iv: &mut Iv) -> Result<Vec<u8>, InvalidMessage> {
        if !self.is_encrypted() {
            return Err(InvalidMessage::Encryption);
        }
        let mut body = self.body().to_vec();
        let decrypted = keys.cipher.decrypt(iv, &mut body);
        decrypted.map_err(|_| InvalidMessage::Encryption)?;
        Ok(body)
    }
}

/// Begins a message.
pub(crate) fn message(cookies: Cookies, exchange_type: u8, message_id: u32) -> Writer {
    Writer::new(&Header {
        initiator_cookie: cookies.initiator,
        responder_cookie: cookies.responder,
        next_payload: 0,
        version: VERSION,
        exchange_type,
        flags: 0,
        message_id,
        length: 0,
    })
}

/// Ends a message: pads it with zeros to whole blocks and encrypts all behind the header (RFC 2409 appendix B).
pub(crate) fn encrypt(
    writer: Writer,
    flags: u8,
    keys: &Keys,
    iv: &mut Iv,
) -> Result<Vec<u8>, crate::Error> {
    let mut bytes = writer.finish();
    let body = bytes.len() - header::LENGTH;
    let padded = body.next_multiple_of(keys.cipher.block_length());
    bytes.resize(header::LENGTH + padded, 0);
    let length = bytes.len();
    set_length(&mut bytes, length);
    if let Some(field) = bytes.get_mut(FLAGS) {
        *field = flags | ENCRYPTION;
    }
    let body = bytes.get_mut(header::LENGTH..).unwrap_or_default();
    let encrypted = keys.cipher.encrypt(iv, body);
    encrypted.map_err(|_| crate::Local::Crypto)?;
    Ok(bytes)
}

/// True for a message that phase 1 protects.
pub(crate) fn is_encrypted(message: &[u8]) -> bool {
    let flags = message.get(FLAGS);
    flags.is_some_and(|flags| flags & ENCRYPTION != 0)
}

/// Offset of the flags in the header.
const FLAGS: usize = 19;
