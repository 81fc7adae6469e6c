//! SHA-1 (FIPS 180-4 6.1.2) of many messages at once.

use super::chain::{BLOCKS, Chains};
use super::rounds::each_round;
use super::words::{
    BLOCK_WORDS, WORDS, Word, Words, add, add_taken, all, choose, hold, majority, parity, rotate,
    xor,
};

/// FIPS 180-4 5.3.1; the last three are not SHA-1's.
pub(super) const START: [u32; 8] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
    0,
    0,
    0,
];
/// Of the 80, as many as there are working variables: behind them each has its place again.
const ROUNDS: usize = 5;
/// The function and the constant change three times (FIPS 180-4 4.1.1).
const QUARTER: usize = 20;
const _: () = assert!(4 * QUARTER < WORDS && BLOCKS == 4);
/// FIPS 180-4 4.2.1.
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Hashes a block into `state`, given its words, of each message whose bit is set in `taken`; the rest of `words` is
/// overwritten. With each quarter, a block of the `chains` is encrypted.
// Apart, and in a loop: more code would not stay in the CPU's cache of decoded instructions.
#[inline(never)]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn compress<const R: usize, const N: usize>(
    state: &mut [Word<N>; 8],
    words: &mut Words<N>,
    taken: u32,
    mut chains: Option<&mut Chains<R, N>>,
) {
    let [a, b, c, d, e, ..] = *state;
    let mut s = [a, b, c, d, e];
    for t in (0..4 * QUARTER).step_by(ROUNDS) {
        if let (0, Some(chains)) = (t % QUARTER, &mut chains) {
            chains.encrypt_blocks(t / QUARTER);
        }
        // The words of these rounds: the first is the block's last, or the last of the five before.
        if let Some(first) = (t + 1).checked_sub(BLOCK_WORDS) {
            make_five(words, first);
        }
        let Some(w) = words.get(t..).and_then(|w| w.first_chunk()) else {
            return;
        };
        match t / QUARTER {
            0 => five_rounds::<0, N>(&mut s, w),
            1 => five_rounds::<1, N>(&mut s, w),
            2 => five_rounds::<2, N>(&mut s, w),
            _ => five_rounds::<3, N>(&mut s, w),
        }
    }
    for (state, s) in state.iter_mut().zip(s) {
        *state = add_taken(*state, s, taken);
    }
}

/// Makes five words behind the sixteen from the `first`th.
#[inline]
#[target_feature(enable = "avx512f")]
fn make_five<const N: usize>(words: &mut Words<N>, first: usize) {
    let words = words.get_mut(first..).and_then(|w| w.first_chunk_mut());
    let Some(w): Option<&mut [_; BLOCK_WORDS + ROUNDS]> = words else {
        return;
    };
    for t in BLOCK_WORDS..w.len() {
        let mixed = parity(w[t - 8], w[t - 14], w[t - BLOCK_WORDS]);
        w[t] = rotate::<1, N>(xor(w[t - 3], mixed));
    }
}

/// Five rounds of the `NTH` quarter of all.
#[inline]
#[target_feature(enable = "avx512f")]
fn five_rounds<const NTH: usize, const N: usize>(s: &mut [Word<N>; ROUNDS], w: &[Word<N>; ROUNDS]) {
    each_round!(T of ROUNDS => {
        // The working variables stay where they are; their names move on.
        const A: usize = (5 - T) % 5;
        const B: usize = (A + 1) % 5;
        const C: usize = (A + 2) % 5;
        const D: usize = (A + 3) % 5;
        const E: usize = (A + 4) % 5;
        let f = match NTH {
            0 => choose(s[B], s[C], s[D]),
            2 => majority(s[B], s[C], s[D]),
            _ => parity(s[B], s[C], s[D]),
        };
        let mut rest = add(f, add(add(s[E], w[T]), all(K[NTH])));
        // The sum that the next round waits for is the last.
        hold(&mut rest);
        s[E] = add(rotate::<5, N>(s[A]), rest);
        s[B] = rotate::<30, N>(s[B]);
    });
}
