//! SHA-1 (FIPS 180-4 6.1.2) of many messages at once.

use super::beside::{Beside, PIECES, WITHIN};
use super::chain::{NO_ROUNDS, Sixteen};
use super::rounds::each_round;
use super::words::{
    FIRST, WORDS, Word, Words, add, add_taken, all, choose, hold, majority, parity, rotate, xor,
};
use crate::avx512::vector::zero;

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
const _: () = assert!(WORDS == FIRST + 4 * ROUNDS && 4 * QUARTER == PIECES * ROUNDS);
/// FIPS 180-4 4.2.1.
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Hashes a block into `state`, given its words, of each message whose bit is set in `taken`; `words` is overwritten.
/// Between the rounds does what is to be done `beside`.
// Apart, and in a loop: more code would not stay in the CPU's cache of decoded instructions.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
pub(super) fn compress<const R: usize, const N: usize>(
    state: &mut [Word<N>; 8],
    words: &mut Words<N>,
    taken: u32,
    mut beside: Option<Beside<'_, R, N>>,
) {
    let (_, words) = words.split_at_mut(FIRST);
    let [a, b, c, d, e, ..] = *state;
    let mut s = [a, b, c, d, e];
    let mut chains = [zero(); 4];
    for piece in 0..PIECES {
        if let (true, Some(beside)) = (R != NO_ROUNDS, &mut beside) {
            beside.before(piece, &mut chains);
            beside.make_words(piece);
        }
        let beside = &mut beside;
        match piece / 4 {
            0 => five_rounds::<0, R, N>(&mut s, words, piece, beside, &mut chains),
            1 => five_rounds::<1, R, N>(&mut s, words, piece, beside, &mut chains),
            2 => five_rounds::<2, R, N>(&mut s, words, piece, beside, &mut chains),
            _ => five_rounds::<3, R, N>(&mut s, words, piece, beside, &mut chains),
        }
        if let (true, Some(beside)) = (R != NO_ROUNDS, beside) {
            beside.after(piece, &mut chains);
        }
    }
    for (state, s) in state.iter_mut().zip(s) {
        *state = add_taken(*state, s, taken);
    }
}

/// Makes the word of the `T`th of five rounds (FIPS 180-4 6.1.2, 1), in the place of that of twenty rounds before.
#[inline]
#[target_feature(enable = "avx512f")]
fn make<const T: usize, const N: usize>(words: &mut [Word<N>], piece: usize) {
    let before = |rounds: usize| {
        let pieces = (rounds + ROUNDS - 1 - T) / ROUNDS;
        words[(piece + 4 - pieces) % 4 * ROUNDS + T + ROUNDS * pieces - rounds]
    };
    let mixed = parity(before(8), before(14), before(16));
    words[piece % 4 * ROUNDS + T] = rotate::<1, N>(xor(before(3), mixed));
}

/// Five rounds of the `NTH` quarter of all, and the words of the next five.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn five_rounds<const NTH: usize, const R: usize, const N: usize>(
    s: &mut [Word<N>; ROUNDS],
    words: &mut [Word<N>],
    piece: usize,
    beside: &mut Option<Beside<'_, R, N>>,
    chains: &mut Sixteen,
) {
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
        // What the next round waits for is added last.
        let mut known = add(add(s[E], words[piece % 4 * ROUNDS + T]), all(K[NTH]));
        hold(&mut known);
        let mut rest = add(f, known);
        hold(&mut rest);
        s[E] = add(rotate::<5, N>(s[A]), rest);
        s[B] = rotate::<30, N>(s[B]);
        // The words of the next five rounds; the CPU does not look far enough ahead for all of them at once. (Asked so,
        // most rounds need not ask.)
        let is_made = match NTH {
            // The first are the block's.
            0 => piece > 2 || piece == 2 && T != 0,
            3 => piece != PIECES - 1,
            _ => true,
        };
        if is_made {
            make::<T, N>(words, piece + 1);
        }
        if let (true, 0..WITHIN, Some(beside)) = (R != NO_ROUNDS, T, &*beside) {
            beside.within(piece, T, chains);
        }
    });
}
