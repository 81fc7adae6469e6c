//! AES: the rounds of several vectors side by side, and the expansion of keys (FIPS 197 5.2).

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::vector::Block;

/// Runs `$body` once for each round from `$first` up to the last but one of `$rounds`, with the number of the round as
/// a constant, so that nothing is left of what a round does not need.
macro_rules! each_round {
    ($r:ident of $rounds:ident => $body:block) => {
        each_round!(@ $r of $rounds => $body; 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $r:ident of $rounds:ident => $body:block; $($n:literal)*) => {
        $(if $n < $rounds {
            const $r: usize = $n;
            $body
        })*
    };
}
pub(crate) use each_round;

/// Round keys of a key of 16, 24 or 32 bytes, from the first on: 11, 13 or 15. The words are as they lie in memory.
#[target_feature(enable = "aes")]
pub(crate) fn expand(key: &[u8]) -> [Block; 15] {
    let key_words = key.len() / 4;
    let mut words = [0u32; 60];
    for (word, bytes) in words.iter_mut().zip(key.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_le_bytes);
    }
    let mut rcon = 1u8;
    for i in key_words..4 * (key_words + 7) {
        let mut word = words[i - 1];
        if i % key_words == 0 {
            // RotWord moves each byte one down.
            word = sub_word(word).rotate_right(8) ^ u32::from(rcon);
            rcon = (rcon << 1) ^ (0x1b * (rcon >> 7));
        } else if key_words == 8 && i % 8 == 4 {
            word = sub_word(word);
        }
        words[i] = words[i - key_words] ^ word;
    }
    let mut blocks = [[0; 16]; 15];
    for (block, words) in blocks.iter_mut().zip(words.chunks_exact(4)) {
        for (bytes, word) in block.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    words.zeroize();
    blocks
}

/// SubWord by the unit that has no table in memory.
#[target_feature(enable = "aes")]
fn sub_word(word: u32) -> u32 {
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(_mm_set1_epi32(word as i32))) as u32
}
