//! Vectors of four blocks, and the only reads and writes of memory by vectors: each takes its bounds from a slice or
//! an array, so that none is outside. [`ask`] reads nothing.

use core::arch::{asm, x86_64::*};

/// Four blocks.
pub(crate) type V = __m512i;
/// A block as it lies in memory.
pub(crate) type Block = [u8; 16];

/// The low bits set that belong to the first 64 of `len` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn mask(len: usize) -> __mmask64 {
    _bzhi_u64(!0, len.min(64) as u32)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn zero() -> V {
    _mm512_setzero_si512()
}

/// One block in all four places.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn broadcast(block: &Block) -> V {
    // SAFETY: reads the 16 bytes of `block`, at any alignment.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

/// One block in the place that is set in `place` (by dwords), and `v` in the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn insert(v: V, place: __mmask16, block: &Block) -> V {
    // SAFETY: reads the 16 bytes of `block`, at any alignment.
    _mm512_mask_broadcast_i32x4(v, place, unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(bytes: &[u8; 64]) -> V {
    // SAFETY: reads the 64 bytes of `bytes`, at any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Asks for the line of memory at an address, if there is one: [`prefetch::soon`] of what may be no more in a packet.
#[inline(always)]
pub(crate) fn ask(address: *const u8) {
    // SAFETY: a hint, of any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(bytes: &mut [u8; 64], v: V) {
    // SAFETY: writes the 64 bytes of `bytes`, at any alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), v) }
}

/// The first 64 bytes, or as many as there are and zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(crate) fn load_part(bytes: &[u8]) -> V {
    // SAFETY: the mask selects only bytes of the slice; what it does not select is not accessed (it cannot fault).
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes.len()), bytes.as_ptr().cast()) }
}

/// Writes as many bytes of `v` as the slice has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(crate) fn store_part(bytes: &mut [u8], v: V) {
    // SAFETY: the mask selects only bytes of the slice; what it does not select is not accessed (it cannot fault).
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask(bytes.len()), v) }
}

/// Whether the bytes are the first of `v`; in constant time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(crate) fn are_part(bytes: &[u8], v: V) -> bool {
    let different = _mm512_mask_cmpneq_epi8_mask(mask(bytes.len()), load_part(bytes), v);
    std::hint::black_box(different) == 0
}

/// As many bytes of `v` as the slice has, and zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
pub(crate) fn keep_part(bytes: &[u8], v: V) -> V {
    _mm512_maskz_mov_epi8(mask(bytes.len()), v)
}

/// Four blocks of a table from block `first` on, or the last four if there are not so many.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_blocks<const N: usize>(table: &[Block; N], first: usize) -> V {
    const { assert!(N >= 4) };
    // SAFETY: `first` is at most N - 4, so that the 64 bytes from there on are in the table.
    unsafe { _mm512_loadu_si512(table.as_ptr().add(first.min(N - 4)).cast()) }
}

/// Writes four blocks into a table from block `first` on, or over the last four if there are not so many.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store_blocks<const N: usize>(table: &mut [Block; N], first: usize, v: V) {
    const { assert!(N >= 4) };
    // SAFETY: `first` is at most N - 4, so that the 64 bytes from there on are in the table.
    unsafe { _mm512_storeu_si512(table.as_mut_ptr().add(first.min(N - 4)).cast(), v) }
}

/// Block j of vector i becomes block i of vector j.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose([a, b, c, d]: [V; 4]) -> [V; 4] {
    let [ab, cd] = [(a, b), (c, d)].map(|(x, y)| {
        [
            _mm512_shuffle_i64x2::<0b01_00_01_00>(x, y),
            _mm512_shuffle_i64x2::<0b11_10_11_10>(x, y),
        ]
    });
    [
        _mm512_shuffle_i64x2::<0b10_00_10_00>(ab[0], cd[0]),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(ab[0], cd[0]),
        _mm512_shuffle_i64x2::<0b10_00_10_00>(ab[1], cd[1]),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(ab[1], cd[1]),
    ]
}

/// The blocks of vectors.
#[inline]
pub(crate) fn blocks<const N: usize, const M: usize>(vectors: &[V; N]) -> &[Block; M] {
    const { assert!(size_of::<[V; N]>() == size_of::<[Block; M]>()) };
    // SAFETY: as many bytes, all of them written, for which each alignment will do, borrowed as `vectors` are.
    unsafe { &*vectors.as_ptr().cast() }
}

/// Sixteen words of a table from word `first` on, or the last sixteen if there are not so many.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_words<const N: usize>(table: &[u32; N], first: usize) -> V {
    const { assert!(N >= 16) };
    // SAFETY: `first` is at most N - 16, so that the 64 bytes from there on are in the table.
    unsafe { _mm512_loadu_si512(table.as_ptr().add(first.min(N - 16)).cast()) }
}

/// Keeps the compiler from computing `v` later than here. Left alone, it undoes the interleaving of independent chains
/// and moves what is for later to where that is used.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn hold(v: &mut V) {
    // SAFETY: no instruction at all.
    unsafe {
        asm!(
            "/* {0} */",
            inout(zmm_reg) * v,
            options(nomem, nostack, preserves_flags)
        )
    }
}

/// Overwrites what depends on keys.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn wipe(vectors: &mut [V]) {
    vectors.fill(zero());
    // SAFETY: no instruction at all. It may read the vectors, so that they are written.
    unsafe {
        asm!(
            "/* {0} */",
            in(reg) vectors.as_ptr(),
            options(nostack, preserves_flags, readonly)
        )
    }
}

/// The same of blocks.
#[inline]
pub(crate) fn wipe_blocks(blocks: &mut [Block]) {
    blocks.fill([0; 16]);
    // SAFETY: no instruction at all. It may read the blocks, so that they are written.
    unsafe {
        asm!(
            "/* {0} */",
            in(reg) blocks.as_ptr(),
            options(nostack, preserves_flags, readonly)
        )
    }
}

/// Constants in the frame of a function that has more vectors than there are registers. The frame is aligned then, which
/// the compiler does only for what has an address; and reading a constant does not wait for a vector written to an
/// address that ends alike, since those are all in this frame, too.
#[repr(align(64))]
pub(crate) struct InFrame<T>(T);

impl<T> InFrame<T> {
    /// To be called on a variable of that function.
    #[inline(always)]
    pub(crate) fn new(value: T) -> Self {
        InFrame(value)
    }

    /// Makes the compiler forget that it knows the constants.
    #[inline(always)]
    pub(crate) fn get(&mut self) -> &T {
        // SAFETY: no instruction at all.
        unsafe {
            asm!(
                "/* {0} */",
                in(reg) std::ptr::from_mut(&mut self.0),
                options(nostack, preserves_flags)
            )
        }
        &self.0
    }
}

/// The block as a number whose most significant byte is the first one, and back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn reverse_bytes(v: V) -> V {
    _mm512_shuffle_epi8(v, reversal())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn reversal() -> V {
    _mm512_broadcast_i32x4(_mm_set_epi8(
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    ))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn load_block(block: &Block) -> __m128i {
    // SAFETY: reads the 16 bytes of `block`, at any alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn store_block(block: &mut Block, v: __m128i) {
    // SAFETY: writes the 16 bytes of `block`, at any alignment.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), v) }
}

/// The sum of all four blocks in the first one, zeros behind.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sum_of_blocks(v: V) -> V {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
    let block = _mm_xor_si128(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    );
    _mm512_zextsi128_si512(block)
}

/// Sixteen words as they lie in memory.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_state(states: &[[u32; 8]; 2]) -> V {
    // SAFETY: reads the 64 bytes of `states`, at any alignment.
    unsafe { _mm512_loadu_si512(states.as_ptr().cast()) }
}
