//! SHA-256 (FIPS 180-4 6.2.2) of many messages at once.

use super::beside::{Beside, PIECES, WITHIN};
use super::chain::{NO_ROUNDS, Sixteen};
use super::rounds::each_round;
use super::words::{
    FIRST, Word, Words, add, add_taken, all, choose, hold, majority, parity, rotate, shift,
};
use crate::avx512::vector::{InFrame, zero};

/// FIPS 180-4 5.3.3.
pub(super) const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Of the 64, as many as there are words.
const ROUNDS: usize = 16;
const _: () = assert!(4 * ROUNDS == PIECES * WITHIN);
/// FIPS 180-4 4.2.2.
#[rustfmt::skip]
const K: [[u32; ROUNDS]; 4] = [
    [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    ],
    [
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    ],
    [
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    ],
    [
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ],
];

/// Hashes a block into `state`, given its words, of each message whose bit is set in `taken`. Between the rounds does
/// what is to be done `beside`.
// Apart, and in a loop: more code would not stay in the CPU's cache of decoded instructions.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
pub(super) fn compress<const R: usize, const N: usize>(
    state: &mut [Word<N>; 8],
    words: &mut Words<N>,
    taken: u32,
    mut beside: Option<Beside<'_, R, N>>,
) {
    let mut k = InFrame::new(K);
    let Some(w) = words.split_at(FIRST).1.first_chunk() else {
        return;
    };
    let (mut s, mut w) = (*state, *w);
    let mut chains = [zero(); 4];
    let [others @ .., last] = k.get();
    for (n, k) in others.iter().enumerate() {
        sixteen_rounds::<true, R, N>(&mut s, &mut w, k, n, &mut beside, &mut chains);
    }
    sixteen_rounds::<false, R, N>(&mut s, &mut w, last, 3, &mut beside, &mut chains);
    for (state, s) in state.iter_mut().zip(s) {
        *state = add_taken(*state, s, taken);
    }
}

/// Sixteen rounds, and the words of the next sixteen if there are `MORE`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn sixteen_rounds<const MORE: bool, const R: usize, const N: usize>(
    s: &mut [Word<N>; 8],
    w: &mut [Word<N>; 16],
    k: &[u32; ROUNDS],
    nth: usize,
    beside: &mut Option<Beside<'_, R, N>>,
    chains: &mut Sixteen,
) {
    each_round!(T of ROUNDS => {
        if let (true, Some(beside)) = (R != NO_ROUNDS, &mut *beside) {
            let piece = 4 * nth + T / WITHIN;
            if T % WITHIN == 0 {
                beside.before(piece, chains);
                beside.make_words(piece);
            }
            beside.within(piece, T % WITHIN, chains);
        }
        // The working variables stay where they are; their names move on.
        const A: usize = (8 - T % 8) % 8;
        const B: usize = (A + 1) % 8;
        const C: usize = (A + 2) % 8;
        const D: usize = (A + 3) % 8;
        const E: usize = (A + 4) % 8;
        const F: usize = (A + 5) % 8;
        const G: usize = (A + 6) % 8;
        const H: usize = (A + 7) % 8;
        let (a, e) = (s[A], s[E]);
        let sum_1 = parity(rotate::<26, N>(e), rotate::<21, N>(e), rotate::<7, N>(e));
        let t1 = add(add(add(s[H], w[T]), all(k[T])), add(choose(e, s[F], s[G]), sum_1));
        let sum_0 = parity(rotate::<30, N>(a), rotate::<19, N>(a), rotate::<10, N>(a));
        s[D] = add(s[D], t1);
        s[H] = add(t1, add(sum_0, majority(a, s[B], s[C])));
        hold(&mut s[H]);
        if MORE {
            let (w1, w14) = (w[(T + 1) % 16], w[(T + 14) % 16]);
            let sigma_0 = parity(rotate::<25, N>(w1), rotate::<14, N>(w1), shift::<3, N>(w1));
            let sigma_1 = parity(rotate::<15, N>(w14), rotate::<13, N>(w14), shift::<10, N>(w14));
            w[T] = add(add(w[T], w[(T + 9) % 16]), add(sigma_0, sigma_1));
            hold(&mut w[T]);
        }
        if let (true, 3, Some(beside)) = (R != NO_ROUNDS, T % WITHIN, &mut *beside) {
            beside.after(4 * nth + T / WITHIN, chains);
        }
    });
}
