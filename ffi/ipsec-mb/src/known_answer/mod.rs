//! Known answers, computed by OpenSSL 3: of every algorithm a burst with different key, nonce, data and length in
//! each lane, since libraries of this kind have been known to mix lanes up.

mod answers;

use crate::{
    Aead, AeadJob, Algorithm, Cipher, CipherJob, GcmJob, KeyLength, Mac, MacJob, Manager, Tag,
};

/// More than the library has side by side, so that lanes are filled a second time.
const LANES: usize = 20;

/// The `stream`th input of a lane: bytes that no other lane has at this place.
fn input(lane: usize, stream: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (lane * 31 + stream * 59 + i * 7 + (i >> 8) * 3 + 1) as u8)
        .collect()
}

/// A word that depends on each bit of `data` and its place.
fn fold(data: &[u8]) -> u128 {
    data.chunks(16).fold(0, |answer: u128, chunk| {
        let mut block = [0; 16];
        block.iter_mut().zip(chunk).for_each(|(b, c)| *b = *c);
        answer.rotate_left(1) ^ u128::from_be_bytes(block)
    })
}

/// Inputs and outputs of one lane.
struct Lane {
    key: Vec<u8>,
    nonce: [u8; 16],
    aad: Vec<u8>,
    clear: Vec<u8>,
    data: Vec<u8>,
    tag: Tag,
    ok: bool,
    answer: u128,
}

impl Lane {
    fn nonce12(&self) -> [u8; 12] {
        let [nonce @ .., _, _, _, _] = self.nonce;
        nonce
    }
}

/// Lanes with keys of `key` bytes and messages that are multiples of `unit`.
fn lanes(key: usize, unit: usize, answers: &[u128; LANES]) -> Vec<Lane> {
    let lane = |(lane, answer): (usize, &u128)| {
        let clear = input(lane, 3, unit * (1 + (lane * lane * 7 + lane * 13) % 97));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&input(lane, 1, 16));
        Lane {
            key: input(lane, 0, key),
            nonce,
            aad: input(lane, 2, 8 + 4 * (lane % 2)),
            data: clear.clone(),
            clear,
            tag: [0; 32],
            ok: false,
            answer: *answer,
        }
    };
    answers.iter().enumerate().map(lane).collect()
}

/// The algorithms that the library lacks or computes wrongly.
pub(crate) fn wrong(manager: &mut Manager) -> Vec<Algorithm> {
    let mut wrong = Vec::new();
    let mut note = |algorithm, right: Option<bool>| {
        if right != Some(true) {
            wrong.push(algorithm);
        }
    };
    for length in KeyLength::ALL {
        note(Algorithm::Gcm(length), gcm(manager, length));
        note(Algorithm::Gmac(length), gmac(manager, length));
    }
    for kind in Aead::ALL {
        note(Algorithm::Aead(kind), aead(manager, kind));
    }
    for kind in Cipher::ALL {
        note(Algorithm::Cipher(kind), cipher(manager, kind));
    }
    for kind in Mac::ALL {
        note(Algorithm::Mac(kind), mac(manager, kind));
    }
    wrong
}

/// Makes a key for each lane and a job of both.
fn jobs<'a, K, J>(
    keys: &'a [K],
    lanes: &'a mut [Lane],
    job: impl Fn(&'a K, &'a mut Lane) -> J,
) -> Vec<J> {
    let lanes = keys.iter().zip(lanes);
    lanes.map(|(key, lane)| job(key, lane)).collect()
}

/// Seals, opens, and opens with wrong tags.
fn both_ways(lanes: &mut [Lane], mut run: impl FnMut(bool, &mut [Lane])) -> bool {
    let sealed_right =
        |lane: &Lane| lane.ok && fold(&[&lane.data[..], &lane.tag[..16]].concat()) == lane.answer;
    run(true, lanes);
    if !lanes.iter().all(sealed_right) {
        return false;
    }
    let sealed: Vec<_> = lanes.iter().map(|lane| lane.data.clone()).collect();
    run(false, lanes);
    if !lanes.iter().all(|lane| lane.ok && lane.data == lane.clear) {
        return false;
    }
    for (lane, sealed) in lanes.iter_mut().zip(sealed) {
        lane.data = sealed;
        lane.tag[15] ^= 1;
    }
    run(false, lanes);
    !lanes.iter().any(|lane| lane.ok)
}

fn gcm(manager: &mut Manager, length: KeyLength) -> Option<bool> {
    let answers = match length {
        KeyLength::Aes128 => &answers::GCM_128,
        KeyLength::Aes192 => &answers::GCM_192,
        KeyLength::Aes256 => &answers::GCM_256,
    };
    let mut lanes = lanes(length.bytes(), 13, answers);
    let keys: Option<Vec<_>> = lanes.iter().map(|l| manager.gcm_key(&l.key)).collect();
    let keys = keys?;
    Some(both_ways(&mut lanes, |seals, lanes| {
        let mut jobs = jobs(&keys, lanes, |key, lane| GcmJob {
            key,
            nonce: lane.nonce12(),
            aad: &lane.aad,
            data: &mut lane.data,
            tag: &mut lane.tag[..16],
            ok: &mut lane.ok,
        });
        match seals {
            true => manager.seal(&mut jobs),
            false => manager.open(&mut jobs),
        }
    }))
}

fn gmac(manager: &mut Manager, length: KeyLength) -> Option<bool> {
    let answers = match length {
        KeyLength::Aes128 => &answers::GMAC_128,
        KeyLength::Aes192 => &answers::GMAC_192,
        KeyLength::Aes256 => &answers::GMAC_256,
    };
    for lane in lanes(length.bytes(), 13, answers) {
        let key = manager.gmac_key(&lane.key)?;
        let (head, tail) = lane.data.split_at(lane.data.len() / 3);
        let tag = manager.gmac(&key, &lane.nonce12(), &[&lane.aad, head, tail])?;
        if fold(&tag) != lane.answer {
            return Some(false);
        }
    }
    Some(true)
}

fn aead(manager: &mut Manager, kind: Aead) -> Option<bool> {
    let answers = match kind {
        Aead::AesCcm(KeyLength::Aes128) => &answers::CCM_128,
        Aead::AesCcm(_) => &answers::CCM_256,
        Aead::ChaCha20Poly1305 => &answers::CHACHA20_POLY1305,
    };
    let mut lanes = lanes(kind.key_length(), 13, answers);
    let keys: Option<Vec<_>> = lanes
        .iter()
        .map(|lane| manager.aead_key(kind, &lane.key))
        .collect();
    let keys = keys?;
    Some(both_ways(&mut lanes, |seals, lanes| {
        let mut jobs = jobs(&keys, lanes, |key, lane| AeadJob {
            key,
            nonce: lane.nonce12(),
            aad: &lane.aad,
            data: &mut lane.data,
            tag: &mut lane.tag[..16],
            ok: &mut lane.ok,
        });
        match seals {
            true => manager.seal_aead(&mut jobs),
            false => manager.open_aead(&mut jobs),
        }
    }))
}

fn cipher(manager: &mut Manager, kind: Cipher) -> Option<bool> {
    let (unit, answers) = match kind {
        Cipher::AesCbc(KeyLength::Aes128) => (16, &answers::CBC_128),
        Cipher::AesCbc(KeyLength::Aes192) => (16, &answers::CBC_192),
        Cipher::AesCbc(KeyLength::Aes256) => (16, &answers::CBC_256),
        Cipher::AesCtr(KeyLength::Aes128) => (13, &answers::CTR_128),
        Cipher::AesCtr(KeyLength::Aes192) => (13, &answers::CTR_192),
        Cipher::AesCtr(KeyLength::Aes256) => (13, &answers::CTR_256),
        Cipher::DesCbc => (8, &answers::DES_CBC),
        Cipher::TripleDesCbc => (8, &answers::TRIPLE_DES_CBC),
    };
    let mut lanes = lanes(kind.key_length(), unit, answers);
    let keys: Option<Vec<_>> = lanes
        .iter()
        .map(|lane| manager.cipher_key(kind, &lane.key))
        .collect();
    let keys = keys?;
    manager.encrypt(&mut jobs(&keys, &mut lanes, |key, lane| {
        cipher_job(kind, key, lane)
    }));
    let right = |lane: &Lane| lane.ok && fold(&lane.data) == lane.answer;
    let encrypted = lanes.iter().all(right);
    manager.decrypt(&mut jobs(&keys, &mut lanes, |key, lane| {
        cipher_job(kind, key, lane)
    }));
    let decrypted = lanes.iter().all(|lane| lane.ok && lane.data == lane.clear);
    Some(encrypted && decrypted)
}

fn cipher_job<'a>(kind: Cipher, key: &'a crate::CipherKey, lane: &'a mut Lane) -> CipherJob<'a> {
    let mut iv = lane.nonce;
    if let Cipher::AesCtr(_) = kind {
        iv[12..].copy_from_slice(&[0, 0, 0, 1]);
    }
    CipherJob {
        key,
        iv,
        data: &mut lane.data,
        ok: &mut lane.ok,
    }
}

fn mac(manager: &mut Manager, kind: Mac) -> Option<bool> {
    let (key, answers) = match kind {
        Mac::HmacMd5 => (16, &answers::HMAC_MD5),
        Mac::HmacSha1 => (20, &answers::HMAC_SHA1),
        Mac::HmacSha256 => (32, &answers::HMAC_SHA256),
        Mac::HmacSha384 => (48, &answers::HMAC_SHA384),
        Mac::HmacSha512 => (64, &answers::HMAC_SHA512),
        Mac::AesXcbc => (16, &answers::XCBC),
        Mac::AesCmac => (16, &answers::CMAC),
    };
    let mut lanes = lanes(key, 13, answers);
    let keys: Option<Vec<_>> = lanes
        .iter()
        .map(|lane| manager.mac_key(kind, &lane.key))
        .collect();
    let keys = keys?;
    manager.mac(&mut jobs(&keys, &mut lanes, |key, lane| MacJob {
        key,
        data: &lane.data,
        tag: &mut lane.tag,
        ok: &mut lane.ok,
    }));
    let right = |lane: &Lane| lane.ok && fold(&lane.tag[..kind.tag_length()]) == lane.answer;
    Some(lanes.iter().all(right))
}
