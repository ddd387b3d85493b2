/* AVX-512 (F, DQ, BW, VL): 16 lanes, 32 registers.

   Forward, a term: vmaxps with the filter broadcast from memory, vfmadd231ps by one. Adding with the multiplier's port
   gives the same bits as vaddps, and on processors whose maximum and addition share their ports (Zen 4) twice the rate.
   Input gradient, a term: vsubps, vrangeps (smaller magnitude of the difference and 1, sign kept), vfnmadd231ps; every
   other difference is a multiply-subtract, for the same reason.  */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define NAME avx512
#define VL 16
#define PV 1  /* vectors of positions a tile */
#define RF 16 /* filters a tile, forward: 16 accumulators, 1 input, 1 one */
#define RG 12 /* channels a tile, input gradient: 12 accumulators, 12 inputs, 2 constants, temporaries */
#define TF 4 /* filters and taps a tile, filter gradient; vectors of taps where the layer is linear */
#define TK 6
#define LV 4
#define DIRECT 64 /* filters up to which unaligned reading costs less than gathering */

typedef __m512 V;
typedef __mmask16 M;

#define INLINE static inline __attribute__((always_inline))

INLINE V vload(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vstore(float *p, V v) { _mm512_storeu_ps(p, v); }
INLINE V vset(float f) { return _mm512_set1_ps(f); }
INLINE V vadd(V a, V b) { return _mm512_add_ps(a, b); }
INLINE V vsub(V a, V b) { return _mm512_sub_ps(a, b); }
INLINE V vmul(V a, V b) { return _mm512_mul_ps(a, b); }
INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
INLINE V vabs(V a) { return _mm512_abs_ps(a); }
INLINE V vmax(V a, V b) { return _mm512_max_ps(a, b); } /* b where either is NaN */
INLINE float vsum(V a) { return _mm512_reduce_add_ps(a); }

/* The sums of four vectors' lanes. */
INLINE void vsum4(V a, V b, V c, V d, float *sums) {
    V ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    V cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    V all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

INLINE M lanes(int first, int count) { return (M)(((1u << count) - 1u) << first); }
INLINE V vload_part(V rest, const float *p, int first, M m) { return _mm512_mask_loadu_ps(rest, m, p - first); }
INLINE void vstore_part(float *p, V v, int first, int count, M m) {
    (void)count;
    _mm512_mask_storeu_ps(p - first, m, v);
}
/* Lanes where a ≤ b; a NaN is not. */
INLINE M vle(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
INLINE int all_of(M m) { return m == 0xffff; }
INLINE M either(M a, M b) { return a | b; }
INLINE M both(M a, M b) { return a & b; }
INLINE M outside(M m) { return (M)~m; }
INLINE V vselect(M m, V yes, V no) { return _mm512_mask_blend_ps(m, no, yes); }
INLINE V vpositive(V a, V sign) { /* a where sign > 0, else 0 */
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(sign, _mm512_setzero_ps(), _CMP_GT_OQ), a);
}

/* Small integers, a byte each. */
INLINE void vstore_bytes(uint8_t *p, V v, int n) {
    _mm_mask_storeu_epi8(p, lanes(0, n), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}
INLINE V vload_bytes(const uint8_t *p, int n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes(0, n), p)));
}

typedef struct {
    V one;
} constants;
INLINE constants constants_here(void) {
    constants c = {_mm512_set1_ps(1.f)};
    __asm__("" : "+v"(c.one)); /* else the compiler would multiply by one at compile time */
    return c;
}
/* Broadcasting in the arithmetic instruction costs nothing, as an instruction of its own a third of the rate; compilers
   do not always fold it. */
INLINE V add_max(V acc, V x, const float *w, constants c) {
    V larger;
    __asm__("vmaxps %2%{1to16%}, %1, %0" : "=v"(larger) : "v"(x), "m"(*w));
    return _mm512_fmadd_ps(larger, c.one, acc);
}
/* acc − |x − w|; the sum by the multiplier's port, as above */
INLINE V add_distance(V acc, V x, V w, constants c) {
    return _mm512_fnmadd_ps(_mm512_abs_ps(_mm512_sub_ps(x, w)), c.one, acc);
}
/* acc − g · clamp(x − w, −1, 1) */
INLINE V add_clamped(V acc, V g, V x, const float *w, int odd, constants c) {
    V d;
    if (odd) {
        d = x;
        __asm__("vfmsub213ps %2%{1to16%}, %1, %0" : "+v"(d) : "v"(c.one), "m"(*w));
    } else {
        __asm__("vsubps %2%{1to16%}, %1, %0" : "=v"(d) : "v"(x), "m"(*w));
    }
    return _mm512_fnmadd_ps(g, _mm512_range_ps(d, c.one, 2), acc);
}
/* Same with the filter in the lanes and the gradient broadcast. */
INLINE V add_clamped_lanes(V acc, const float *g, V x, V w, int odd, constants c) {
    V d = odd ? _mm512_fmsub_ps(x, c.one, w) : _mm512_sub_ps(x, w);
    d = _mm512_range_ps(d, c.one, 2);
    __asm__("vfnmadd231ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(d), "m"(*g));
    return acc;
}

/* 32 floats (a, then b) → 16 of even and 16 of odd index, and back. */
INLINE void deinterleave(V a, V b, V *even, V *odd) {
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
}
INLINE void interleave(V even, V odd, V *a, V *b) {
    const __m512i l = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *a = _mm512_permutex2var_ps(even, l, odd);
    *b = _mm512_permutex2var_ps(even, _mm512_add_epi32(l, _mm512_set1_epi32(8)), odd);
}

#include "kernels.inc"
