//! HMAC, AES-XCBC and AES-CMAC.

use std::fmt;

use zeroize::Zeroizing;

use crate::gcm::equal;
use crate::job::{BURST, LONGEST, Runner, members};
use crate::manager::{Plain, wipe};
use crate::sys;

/// An integrity algorithm, cut to the length that IPsec has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mac {
    HmacMd5,
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    AesXcbc,
    AesCmac,
}

/// Room for the longest tag.
pub type Tag = [u8; 32];

impl Mac {
    pub(crate) const ALL: [Mac; 7] = [
        Mac::HmacMd5,
        Mac::HmacSha1,
        Mac::HmacSha256,
        Mac::HmacSha384,
        Mac::HmacSha512,
        Mac::AesXcbc,
        Mac::AesCmac,
    ];

    /// Length of the tag in bytes (RFC 2403, 2404, 3566, 4494, 4868 2.3).
    pub const fn tag_length(self) -> usize {
        match self {
            Mac::HmacMd5 | Mac::HmacSha1 | Mac::AesXcbc | Mac::AesCmac => 12,
            Mac::HmacSha256 => 16,
            Mac::HmacSha384 => 24,
            Mac::HmacSha512 => 32,
        }
    }

    /// Block of the hash function of HMAC.
    const fn block(self) -> usize {
        match self {
            Mac::HmacSha384 | Mac::HmacSha512 => 128,
            _ => 64,
        }
    }

    const fn id(self) -> sys::IMB_HASH_ALG {
        match self {
            Mac::HmacMd5 => sys::IMB_HASH_ALG_IMB_AUTH_MD5,
            Mac::HmacSha1 => sys::IMB_HASH_ALG_IMB_AUTH_HMAC_SHA_1,
            Mac::HmacSha256 => sys::IMB_HASH_ALG_IMB_AUTH_HMAC_SHA_256,
            Mac::HmacSha384 => sys::IMB_HASH_ALG_IMB_AUTH_HMAC_SHA_384,
            Mac::HmacSha512 => sys::IMB_HASH_ALG_IMB_AUTH_HMAC_SHA_512,
            Mac::AesXcbc => sys::IMB_HASH_ALG_IMB_AUTH_AES_XCBC,
            Mac::AesCmac => sys::IMB_HASH_ALG_IMB_AUTH_AES_CMAC,
        }
    }

    /// The library has synchronous bursts of it.
    const fn has_burst(self) -> bool {
        matches!(
            self,
            Mac::HmacSha1 | Mac::HmacSha256 | Mac::HmacSha384 | Mac::HmacSha512
        )
    }
}

/// What the library wants precomputed: of HMAC the states behind the two key blocks, of XCBC and CMAC a key
/// schedule and two further keys.
#[repr(C, align(64))]
struct Expanded {
    schedule: [u8; 240],
    first: [u8; 64],
    second: [u8; 64],
}

impl Plain for Expanded {}

/// An expanded key, wiped when dropped.
pub struct MacKey {
    mac: Mac,
    expanded: Box<Expanded>,
}

impl MacKey {
    /// `None` for a key that the algorithm does not have, or if the library lacks the algorithm.
    pub(crate) fn new(manager: &sys::IMB_MGR, mac: Mac, key: &[u8]) -> Option<Self> {
        let expanded = Box::new(Expanded {
            schedule: [0; 240],
            first: [0; 64],
            second: [0; 64],
        });
        let mut this = MacKey { mac, expanded };
        match mac {
            Mac::AesXcbc => this.expand_xcbc(manager, key),
            Mac::AesCmac => this.expand_cmac(manager, key),
            Mac::HmacMd5 => this.expand_hmac(manager.md5_one_block, key),
            Mac::HmacSha1 => this.expand_hmac(manager.sha1_one_block, key),
            Mac::HmacSha256 => this.expand_hmac(manager.sha256_one_block, key),
            Mac::HmacSha384 => this.expand_hmac(manager.sha384_one_block, key),
            Mac::HmacSha512 => this.expand_hmac(manager.sha512_one_block, key),
        }?;
        Some(this)
    }

    /// The algorithm.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether `icv` is a tag that was computed, all of it; in constant time.
    pub fn is_tag(&self, tag: &Tag, icv: &[u8]) -> bool {
        tag.get(..self.mac.tag_length())
            .is_some_and(|tag| equal(tag, icv))
    }

    /// RFC 2104 2. Keys longer than a block are not IPsec's.
    fn expand_hmac(&mut self, hash: sys::hash_one_block_t, key: &[u8]) -> Option<()> {
        let hash = hash?;
        let states = [&mut self.expanded.first, &mut self.expanded.second];
        for (state, pad) in states.into_iter().zip([0x36, 0x5c]) {
            let mut block = Zeroizing::new([pad; 128]);
            block.get_mut(..self.mac.block())?.get_mut(..key.len())?;
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            // SAFETY: the function reads one block of its hash, 128 bytes at most, and writes a state of 64 at
            // most.
            unsafe { hash(block.as_ptr().cast(), state.as_mut_ptr().cast()) };
        }
        Some(())
    }

    fn expand_xcbc(&mut self, manager: &sys::IMB_MGR, key: &[u8]) -> Option<()> {
        let (key, expand) = (<&[u8; 16]>::try_from(key).ok()?, manager.xcbc_keyexp?);
        let Expanded {
            schedule,
            first,
            second,
        } = &mut *self.expanded;
        // SAFETY: the function reads a key of 16 bytes and writes a schedule of 176 and two keys of 16, all of
        // them aligned to 16.
        unsafe {
            expand(
                key.as_ptr().cast(),
                schedule.as_mut_ptr().cast(),
                first.as_mut_ptr().cast(),
                second.as_mut_ptr().cast(),
            );
        }
        Some(())
    }

    fn expand_cmac(&mut self, manager: &sys::IMB_MGR, key: &[u8]) -> Option<()> {
        let key = <&[u8; 16]>::try_from(key).ok()?;
        let (expand, derive) = (manager.keyexp_128?, manager.cmac_subkey_gen_128?);
        let Expanded {
            schedule,
            first,
            second,
        } = &mut *self.expanded;
        let mut decryption = Zeroizing::new([0u128; 15]);
        // SAFETY: the first function reads a key of 16 bytes and writes two schedules of 176, the second reads
        // the schedule and writes two keys of 16; all are aligned to 16.
        unsafe {
            expand(
                key.as_ptr().cast(),
                schedule.as_mut_ptr().cast(),
                decryption.as_mut_ptr().cast(),
            );
            derive(
                schedule.as_ptr().cast(),
                first.as_mut_ptr().cast(),
                second.as_mut_ptr().cast(),
            );
        }
        Some(())
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({:?})", self.mac)
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        wipe(&mut *self.expanded);
    }
}

/// One message to authenticate.
#[derive(Debug)]
pub struct MacJob<'a> {
    /// The key.
    pub key: &'a MacKey,
    /// What is authenticated.
    pub data: &'a [u8],
    /// Where the tag goes; of it, [`Mac::tag_length`] bytes are written.
    pub tag: &'a mut Tag,
    /// Where it goes whether there is a tag.
    pub ok: &'a mut bool,
}

/// Authenticates the jobs, those of one algorithm together.
pub(crate) fn run(runner: &mut Runner, jobs: &mut [MacJob<'_>]) {
    for jobs in jobs.chunks_mut(BURST) {
        let mut kinds = 0u32;
        for job in &mut *jobs {
            *job.ok = false;
            kinds |= 1 << job.key.mac as u32;
        }
        for mac in Mac::ALL {
            if kinds & 1 << mac as u32 == 0 {
                continue;
            }
            let done = run_one_kind(runner, mac, jobs);
            let own = |(index, _): &(usize, &mut MacJob<'_>)| done & 1 << index != 0;
            let own = jobs.iter_mut().enumerate().filter(own);
            own.for_each(|(_, job)| *job.ok = true);
        }
    }
}

fn run_one_kind(runner: &mut Runner, mac: Mac, jobs: &mut [MacJob<'_>]) -> u64 {
    let set = members(jobs, |job| {
        job.key.mac == mac && (1..=LONGEST).contains(&job.data.len())
    });
    let targets = jobs.as_mut_ptr();
    let fill = |index: usize, job: &mut sys::IMB_JOB| {
        // SAFETY: `index` is a member's, which is below the length of `jobs`, and nobody else uses `jobs` now.
        fill(unsafe { &mut *targets.add(index) }, job);
    };
    // SAFETY: `fill` names the bytes of a slice, a tag of room for the longest, and a key of this algorithm, all
    // of which the jobs borrow for longer than this call.
    unsafe {
        match mac.has_burst() {
            true => runner.hash_burst(mac.id(), set, fill),
            false => runner.queue(set, fill),
        }
    }
}

fn fill(from: &mut MacJob<'_>, job: &mut sys::IMB_JOB) {
    let (mac, key) = (from.key.mac, &from.key.expanded);
    let [first, second] = [&key.first, &key.second].map(|part| part.as_ptr());
    job.__bindgen_anon_1.src = from.data.as_ptr();
    job.hash_start_src_offset_in_bytes = 0;
    job.__bindgen_anon_5.msg_len_to_hash_in_bytes = from.data.len() as u64;
    job.auth_tag_output = from.tag.as_mut_ptr();
    job.auth_tag_output_len_in_bytes = mac.tag_length() as u64;
    job.hash_alg = mac.id();
    job.cipher_mode = sys::IMB_CIPHER_MODE_IMB_CIPHER_NULL;
    job.cipher_direction = sys::IMB_CIPHER_DIRECTION_IMB_DIR_ENCRYPT;
    job.chain_order = sys::IMB_CHAIN_ORDER_IMB_ORDER_HASH_CIPHER;
    match mac {
        Mac::AesXcbc => {
            job.u.XCBC = sys::IMB_JOB__bindgen_ty_6__AES_XCBC_specific_fields {
                _k1_expanded: key.schedule.as_ptr().cast(),
                _k2: first,
                _k3: second,
            }
        }
        Mac::AesCmac => {
            job.u.CMAC = sys::IMB_JOB__bindgen_ty_6__AES_CMAC_specific_fields {
                _key_expanded: key.schedule.as_ptr().cast(),
                _skey1: first.cast(),
                _skey2: second.cast(),
            }
        }
        _ => {
            job.u.HMAC = sys::IMB_JOB__bindgen_ty_6__HMAC_specific_fields {
                _hashed_auth_key_xor_ipad: first,
                _hashed_auth_key_xor_opad: second,
            }
        }
    }
}
