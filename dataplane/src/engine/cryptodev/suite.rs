//! IPsec's algorithms in the words of crypto devices.

use dpdk::crypto::{self, Aead, Algorithm, Auth, Layout};
use portcullis_config::{Cipher, Direction, Integrity, SaConfig, Transform};
use portcullis_ipsec::engine::parts::Aad;

/// What is the same for all packets of an SA, beside the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// What stands before the explicit IV in nonce or counter block (RFC 4106 4, RFC 4309 4, RFC 7634 2, RFC 3686 4).
    salt: [u8; 4],
    salt_len: usize,
    iv: usize,
    icv: usize,
    is_aead: bool,
    is_counter: bool,
}

/// Length of the ESP header (RFC 4303 2).
const ESP_HEADER: usize = 8;

impl Suite {
    /// The suite of an SA, and what its session must do; `None` where devices have no word for it.
    pub(super) fn of(config: &SaConfig) -> Option<(Suite, crypto::Transform<'_>)> {
        let Transform::Esp(cipher, integrity) = config.transform else {
            return None;
        };
        let keymat = config.cipher_key.expose();
        let aad = if config.esn { 12 } else { 8 };
        let aead = |aead, key| Algorithm::Aead { aead, key, aad };
        let chain = |cipher, key| {
            let auth = (auth(integrity?)?, config.integrity_key.expose());
            let cipher = (cipher, key);
            Some(Algorithm::Chain { cipher, auth })
        };
        let salt_len = match cipher {
            Cipher::AesGcm(..) | Cipher::ChaCha20Poly1305 | Cipher::AesCtr(_) => 4,
            Cipher::AesCcm(..) => 3,
            _ => 0,
        };
        let (key, end) = keymat.split_at_checked(keymat.len().checked_sub(salt_len)?)?;
        let algorithm = match cipher {
            Cipher::AesGcm(..) => aead(Aead::AesGcm, key),
            Cipher::AesCcm(..) => aead(Aead::AesCcm, key),
            Cipher::ChaCha20Poly1305 => aead(Aead::ChaCha20Poly1305, key),
            Cipher::AesCbc(_) => chain(crypto::Cipher::AesCbc, key)?,
            Cipher::AesCtr(_) => chain(crypto::Cipher::AesCtr, key)?,
            Cipher::TripleDesCbc => chain(crypto::Cipher::TripleDesCbc, key)?,
            Cipher::Null => Algorithm::Auth(auth(integrity?)?, config.integrity_key.expose()),
            Cipher::DesCbc | Cipher::AesGmac(_) => return None,
        };
        let icv = config.transform.icv_length();
        let mut salt = [0; 4];
        salt.get_mut(..salt_len)?.copy_from_slice(end);
        let suite = Suite {
            salt,
            salt_len,
            iv: cipher.iv_length(),
            icv,
            is_aead: matches!(algorithm, Algorithm::Aead { .. }),
            is_counter: matches!(cipher, Cipher::AesCtr(_)),
        };
        let transform = crypto::Transform {
            algorithm,
            encrypt: config.direction == Direction::Outbound,
            digest: u8::try_from(icv).ok()?,
        };
        Some((suite, transform))
    }

    /// A packet's layout, whose ESP header is at `at`; `None` if it is too short.
    #[inline]
    pub(super) fn layout(&self, packet: &[u8], at: usize, high: Option<u32>) -> Option<Layout> {
        let esp = packet.get(at..)?;
        let header = esp.first_chunk::<ESP_HEADER>()?;
        let explicit = esp.get(ESP_HEADER..ESP_HEADER + self.iv)?;
        let payload = at + ESP_HEADER + self.iv;
        let digest = packet.len().checked_sub(self.icv)?;
        let mut layout = Layout {
            cipher: payload..digest,
            auth: at..digest,
            digest,
            ..Layout::default()
        };
        if digest < payload {
            return None;
        }
        let (salt, rest) = layout.iv.split_at_mut_checked(self.salt_len)?;
        salt.copy_from_slice(self.salt.get(..self.salt_len)?);
        rest.get_mut(..self.iv)?.copy_from_slice(explicit);
        if let (true, Some(last)) = (self.is_counter, layout.iv.last_mut()) {
            // RFC 3686 4: the block counter begins with one.
            *last = 1;
        }
        if self.is_aead {
            let aad = Aad::new(header, high);
            let aad = aad.as_slice();
            layout.aad.get_mut(..aad.len())?.copy_from_slice(aad);
            layout.auth = 0..0;
        } else {
            // RFC 4303 2.2.1: authenticated, and not on the wire.
            layout.tail = high.map(u32::to_be_bytes);
        }
        Some(layout)
    }
}

fn auth(integrity: Integrity) -> Option<Auth> {
    Some(match integrity {
        Integrity::HmacSha1_96 => Auth::HmacSha1,
        Integrity::HmacSha2_256_128 => Auth::HmacSha256,
        Integrity::HmacSha2_384_192 => Auth::HmacSha384,
        Integrity::HmacSha2_512_256 => Auth::HmacSha512,
        Integrity::AesXcbc96 => Auth::AesXcbc,
        Integrity::AesCmac96 => Auth::AesCmac,
        Integrity::HmacMd5_96 | Integrity::AesGmac(_) => return None,
    })
}
