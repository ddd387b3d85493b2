/* AVX2 and FMA: 8 lanes, 16 registers.

   Forward, a term: vmaxps, then vaddps or vfmadd231ps by one (the same bits) in turn, so that maximum and addition load
   all ports. Input gradient, a term: vsubps, vpminsd with 1 (right for negative floats too: they are negative
   integers), vpminud with −1 (positive floats are smaller unsigned integers, negative ones are ordered by magnitude),
   vfnmadd231ps; the integer minima are cheaper than vmaxps and vminps. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NAME avx2
#define VL 8
#define PV 2
#define RF 5 /* 10 accumulators, 2 inputs, one, filter, maximum: 15 registers; with 6, one accumulator spills */
#define RG 8
#define TF 3 /* filters and taps a tile, filter gradient; vectors of taps where the layer is linear */
#define TK 3
#define LV 3
#define DIRECT 32 /* filters up to which unaligned reading costs less than gathering */

typedef __m256 V;
typedef __m256i M;

#define INLINE static inline __attribute__((always_inline))

INLINE V vload(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vstore(float *p, V v) { _mm256_storeu_ps(p, v); }
INLINE V vset(float f) { return _mm256_set1_ps(f); }
INLINE V vadd(V a, V b) { return _mm256_add_ps(a, b); }
INLINE V vsub(V a, V b) { return _mm256_sub_ps(a, b); }
INLINE V vmul(V a, V b) { return _mm256_mul_ps(a, b); }
INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
INLINE V vabs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }
INLINE V vmax(V a, V b) { return _mm256_max_ps(a, b); }
INLINE float vsum(V a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE void vsum4(V a, V b, V c, V d, float *sums) {
    V ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    V cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    V all = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

INLINE M lanes(int first, int count) {
    const __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_and_si256(_mm256_cmpgt_epi32(i, _mm256_set1_epi32(first - 1)),
                            _mm256_cmpgt_epi32(_mm256_set1_epi32(first + count), i));
}
INLINE V vload_part(V rest, const float *p, int first, M m) {
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p - first, m), _mm256_castsi256_ps(m));
}
INLINE void vstore_part(float *p, V v, int first, int count, M m) {
    float t[VL];
    (void)m;
    vstore(t, v);
    for (int i = 0; i < count; i++) p[i] = t[first + i];
}
INLINE M vle(V a, V b) { return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LE_OQ)); }
INLINE int all_of(M m) { return _mm256_movemask_ps(_mm256_castsi256_ps(m)) == 0xff; }
INLINE M either(M a, M b) { return _mm256_or_si256(a, b); }
INLINE M both(M a, M b) { return _mm256_and_si256(a, b); }
INLINE M outside(M m) { return _mm256_xor_si256(m, _mm256_set1_epi32(-1)); }
INLINE V vselect(M m, V yes, V no) { return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m)); }
INLINE V vpositive(V a, V sign) { return _mm256_and_ps(a, _mm256_cmp_ps(sign, _mm256_setzero_ps(), _CMP_GT_OQ)); }

INLINE void vstore_bytes(uint8_t *p, V v, int n) {
    __m256i i = _mm256_cvtps_epi32(v);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
    memcpy(p, &bytes, (size_t)n);
}
INLINE V vload_bytes(const uint8_t *p, int n) {
    int64_t bytes = 0;
    memcpy(&bytes, p, (size_t)n);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes)));
}

typedef struct {
    V one, minus_one;
} constants;
INLINE constants constants_here(void) {
    constants c = {_mm256_set1_ps(1.f), _mm256_set1_ps(-1.f)};
    __asm__("" : "+x"(c.one), "+x"(c.minus_one));
    return c;
}
INLINE V add_max(V acc, V x, const float *w, constants c) {
    return _mm256_fmadd_ps(_mm256_max_ps(x, _mm256_broadcast_ss(w)), c.one, acc);
}
INLINE V add_distance(V acc, V x, V w, constants c) {
    return _mm256_fnmadd_ps(vabs(_mm256_sub_ps(x, w)), c.one, acc);
}
INLINE V clamp1(V d, constants c) {
    __m256i i = _mm256_min_epi32(_mm256_castps_si256(d), _mm256_castps_si256(c.one));
    return _mm256_castsi256_ps(_mm256_min_epu32(i, _mm256_castps_si256(c.minus_one)));
}
INLINE V add_clamped(V acc, V g, V x, const float *w, int odd, constants c) {
    (void)odd;
    return _mm256_fnmadd_ps(g, clamp1(_mm256_sub_ps(x, _mm256_broadcast_ss(w)), c), acc);
}
INLINE V add_clamped_lanes(V acc, const float *g, V x, V w, int odd, constants c) {
    (void)odd;
    return _mm256_fnmadd_ps(clamp1(_mm256_sub_ps(x, w), c), _mm256_broadcast_ss(g), acc);
}

INLINE void deinterleave(V a, V b, V *even, V *odd) {
    V e = _mm256_shuffle_ps(a, b, 0x88), o = _mm256_shuffle_ps(a, b, 0xdd); /* within halves */
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(e), 0xd8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(o), 0xd8));
}
INLINE void interleave(V even, V odd, V *a, V *b) {
    V l = _mm256_unpacklo_ps(even, odd), h = _mm256_unpackhi_ps(even, odd);
    *a = _mm256_permute2f128_ps(l, h, 0x20);
    *b = _mm256_permute2f128_ps(l, h, 0x31);
}

#include "kernels.inc"
