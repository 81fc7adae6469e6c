//! SHA-1 (FIPS 180-4 6.1.2) of many messages at once.

use super::rounds::each_round;
use super::words::{Word, add, add_taken, all, choose, hold, majority, parity, rotate, xor};
use crate::avx512::vector::InFrame;

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
const ROUNDS: usize = 80;
/// FIPS 180-4 4.2.1.
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Hashes a block into `state`, given its words, of each message whose bit is set in `taken`.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(super) fn compress<const N: usize>(state: &mut [Word<N>; 8], w: &[Word<N>; 16], taken: u32) {
    let mut k = InFrame::new(K);
    let k = k.get();
    let mut w = *w;
    let [a, b, c, d, e, ..] = *state;
    let mut s = [a, b, c, d, e];
    each_round!(T of ROUNDS => {
        // The working variables stay where they are; their names move on.
        const A: usize = (5 - T % 5) % 5;
        const B: usize = (A + 1) % 5;
        const C: usize = (A + 2) % 5;
        const D: usize = (A + 3) % 5;
        const E: usize = (A + 4) % 5;
        if T / 16 != 0 {
            let mixed = parity(w[(T + 13) % 16], w[(T + 8) % 16], w[(T + 2) % 16]);
            w[T % 16] = rotate::<1, N>(xor(mixed, w[T % 16]));
            hold(&mut w[T % 16]);
        }
        let f = match T / 20 {
            0 => choose(s[B], s[C], s[D]),
            2 => majority(s[B], s[C], s[D]),
            _ => parity(s[B], s[C], s[D]),
        };
        let k = all(k[T / 20]);
        let rest = add(f, add(add(s[E], w[T % 16]), k));
        s[E] = add(rotate::<5, N>(s[A]), rest);
        s[B] = rotate::<30, N>(s[B]);
        hold(&mut s[E]);
    });
    for (state, s) in state.iter_mut().zip(s) {
        *state = add_taken(*state, s, taken);
    }
}
