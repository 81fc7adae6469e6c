//! The ciphers without integrity: AES-CBC, AES-CTR, DES-CBC, 3DES-CBC.

use std::ffi::c_void;
use std::fmt;

use crate::gcm::KeyLength;
use crate::job::{BURST, LONGEST, Runner, members};
use crate::manager::{Plain, wipe};
use crate::sys;

/// A cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cipher {
    AesCbc(KeyLength),
    AesCtr(KeyLength),
    DesCbc,
    TripleDesCbc,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

impl Cipher {
    pub(crate) const ALL: [Cipher; 8] = [
        Cipher::AesCbc(KeyLength::Aes128),
        Cipher::AesCbc(KeyLength::Aes192),
        Cipher::AesCbc(KeyLength::Aes256),
        Cipher::AesCtr(KeyLength::Aes128),
        Cipher::AesCtr(KeyLength::Aes192),
        Cipher::AesCtr(KeyLength::Aes256),
        Cipher::DesCbc,
        Cipher::TripleDesCbc,
    ];

    /// Its place in [`Cipher::ALL`].
    const fn place(self) -> usize {
        match self {
            Cipher::AesCbc(length) => length as usize,
            Cipher::AesCtr(length) => 3 + length as usize,
            Cipher::DesCbc => 6,
            Cipher::TripleDesCbc => 7,
        }
    }

    /// Length of the key in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Cipher::AesCbc(length) | Cipher::AesCtr(length) => length.bytes(),
            Cipher::DesCbc => 8,
            Cipher::TripleDesCbc => 24,
        }
    }

    /// What a message is a multiple of.
    pub const fn block(self) -> usize {
        match self {
            Cipher::AesCbc(_) => 16,
            Cipher::AesCtr(_) => 1,
            Cipher::DesCbc | Cipher::TripleDesCbc => 8,
        }
    }

    const fn id(self) -> sys::IMB_CIPHER_MODE {
        match self {
            Cipher::AesCbc(_) => sys::IMB_CIPHER_MODE_IMB_CIPHER_CBC,
            Cipher::AesCtr(_) => sys::IMB_CIPHER_MODE_IMB_CIPHER_CNTR,
            Cipher::DesCbc => sys::IMB_CIPHER_MODE_IMB_CIPHER_DES,
            Cipher::TripleDesCbc => sys::IMB_CIPHER_MODE_IMB_CIPHER_DES3,
        }
    }

    /// The library has synchronous bursts of it.
    const fn has_burst(self) -> bool {
        matches!(self, Cipher::AesCbc(_) | Cipher::AesCtr(_))
    }
}

/// Key schedules: of AES to encrypt and to decrypt, of DES those of up to three keys.
#[repr(C, align(64))]
struct Schedules {
    aes: [[u8; 240]; 2],
    des: [[u64; 16]; 3],
}

impl Plain for Schedules {}

/// An expanded key, wiped when dropped.
pub struct CipherKey {
    cipher: Cipher,
    schedules: Box<Schedules>,
}

impl CipherKey {
    /// `None` for a key of the wrong length, or if the library lacks the cipher.
    pub(crate) fn new(manager: &sys::IMB_MGR, cipher: Cipher, key: &[u8]) -> Option<Self> {
        if key.len() != cipher.key_length() {
            return None;
        }
        let schedules = Box::new(Schedules {
            aes: [[0; 240]; 2],
            des: [[0; 16]; 3],
        });
        let mut this = CipherKey { cipher, schedules };
        match cipher {
            Cipher::AesCbc(length) | Cipher::AesCtr(length) => {
                let [encryption, decryption] = &mut this.schedules.aes;
                expand_aes(manager, length, key, encryption, decryption)?;
            }
            Cipher::DesCbc | Cipher::TripleDesCbc => {
                let expand = manager.des_key_sched?;
                for (schedule, key) in this.schedules.des.iter_mut().zip(key.chunks_exact(8)) {
                    // SAFETY: the function reads a key of 8 bytes and writes a schedule of 16 words.
                    unsafe { expand(schedule.as_mut_ptr(), key.as_ptr().cast()) };
                }
            }
        }
        Some(this)
    }
}

/// Expands an AES key into schedules that are aligned to 16; `None` if the library cannot.
pub(crate) fn expand_aes(
    manager: &sys::IMB_MGR,
    length: KeyLength,
    key: &[u8],
    encryption: &mut [u8; 240],
    decryption: &mut [u8; 240],
) -> Option<()> {
    let expand = match length {
        KeyLength::Aes128 => manager.keyexp_128,
        KeyLength::Aes192 => manager.keyexp_192,
        KeyLength::Aes256 => manager.keyexp_256,
    }?;
    if key.len() != length.bytes() {
        return None;
    }
    // SAFETY: the function reads a key of this length and writes two schedules of 240 bytes at most.
    unsafe {
        expand(
            key.as_ptr().cast(),
            encryption.as_mut_ptr().cast(),
            decryption.as_mut_ptr().cast(),
        );
    }
    Some(())
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CipherKey({:?})", self.cipher)
    }
}

impl Drop for CipherKey {
    fn drop(&mut self) {
        wipe(&mut *self.schedules);
    }
}

/// One message to encrypt or decrypt in place.
#[derive(Debug)]
pub struct CipherJob<'a> {
    /// The key.
    pub key: &'a CipherKey,
    /// The IV; of CTR the first counter block, of DES only the first half.
    pub iv: [u8; 16],
    /// The message.
    pub data: &'a mut [u8],
    /// Where it goes whether the message was a multiple of the block, and is done.
    pub ok: &'a mut bool,
}

/// Runs the jobs, those of one cipher together.
pub(crate) fn run(runner: &mut Runner, direction: Direction, jobs: &mut [CipherJob<'_>]) {
    for jobs in jobs.chunks_mut(BURST) {
        let mut kinds = 0u32;
        for job in &mut *jobs {
            // Nothing to do is done.
            *job.ok = job.data.is_empty();
            kinds |= 1 << job.key.cipher.place();
        }
        for cipher in Cipher::ALL {
            if kinds & 1 << cipher.place() == 0 {
                continue;
            }
            let done = run_one_kind(runner, cipher, direction, jobs);
            let own = |(index, _): &(usize, &mut CipherJob<'_>)| done & 1 << index != 0;
            let own = jobs.iter_mut().enumerate().filter(own);
            own.for_each(|(_, job)| *job.ok = true);
        }
    }
}

fn run_one_kind(
    runner: &mut Runner,
    cipher: Cipher,
    direction: Direction,
    jobs: &mut [CipherJob<'_>],
) -> u64 {
    let fits = |length: usize| (1..=LONGEST).contains(&length) && length % cipher.block() == 0;
    let set = members(jobs, |job| job.key.cipher == cipher && fits(job.data.len()));
    let direction = match (cipher, direction) {
        // Both ways are the same.
        (Cipher::AesCtr(_), _) | (_, Direction::Encrypt) => {
            sys::IMB_CIPHER_DIRECTION_IMB_DIR_ENCRYPT
        }
        (_, Direction::Decrypt) => sys::IMB_CIPHER_DIRECTION_IMB_DIR_DECRYPT,
    };
    // Of 3DES, the library wants the addresses of the schedules.
    let mut triples = [[std::ptr::null::<c_void>(); 3]; BURST];
    if cipher == Cipher::TripleDesCbc {
        for (triple, job) in triples.iter_mut().zip(&*jobs) {
            *triple = job.key.schedules.des.each_ref().map(|s| s.as_ptr().cast());
        }
    }
    let targets = jobs.as_mut_ptr();
    let fill = |index: usize, job: &mut sys::IMB_JOB| {
        // SAFETY: `index` is a member's, which is below the length of `jobs`, and nobody else uses `jobs` now.
        fill(unsafe { &mut *targets.add(index) }, job);
        job.cipher_direction = direction;
        if let (Cipher::TripleDesCbc, Some(triple)) = (cipher, triples.get(index)) {
            job.enc_keys = triple.as_ptr().cast();
            job.dec_keys = job.enc_keys;
        }
    };
    // SAFETY: `fill` names the bytes of a slice to work on in place, an IV of 16 bytes, and schedules of a key of
    // this cipher, all of which the jobs or this function hold for longer than this call.
    unsafe {
        match cipher.has_burst() {
            true => {
                let key_size = cipher.key_length() as u32;
                runner.cipher_burst((cipher.id(), direction, key_size), set, fill)
            }
            false => runner.queue(set, fill),
        }
    }
}

fn fill(from: &mut CipherJob<'_>, job: &mut sys::IMB_JOB) {
    let cipher = from.key.cipher;
    let schedules = &from.key.schedules;
    let (encryption, decryption) = match cipher {
        Cipher::AesCbc(_) | Cipher::AesCtr(_) => {
            let [encryption, decryption] = &schedules.aes;
            (encryption.as_ptr().cast(), decryption.as_ptr().cast())
        }
        Cipher::DesCbc | Cipher::TripleDesCbc => {
            let [schedule, ..] = &schedules.des;
            (schedule.as_ptr().cast(), schedule.as_ptr().cast())
        }
    };
    (job.enc_keys, job.dec_keys) = (encryption, decryption);
    job.key_len_in_bytes = cipher.key_length() as u64;
    let data = from.data.as_mut_ptr();
    job.__bindgen_anon_1.src = data;
    job.__bindgen_anon_2.dst = data;
    job.__bindgen_anon_3.cipher_start_src_offset_in_bytes = 0;
    job.__bindgen_anon_4.msg_len_to_cipher_in_bytes = from.data.len() as u64;
    job.iv = from.iv.as_ptr();
    job.iv_len_in_bytes = match cipher {
        Cipher::AesCbc(_) | Cipher::AesCtr(_) => 16,
        Cipher::DesCbc | Cipher::TripleDesCbc => 8,
    };
    job.cipher_mode = cipher.id();
    job.hash_alg = sys::IMB_HASH_ALG_IMB_AUTH_NULL;
    job.chain_order = sys::IMB_CHAIN_ORDER_IMB_ORDER_CIPHER_HASH;
}
