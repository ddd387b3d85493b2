/* AVX2. A 64-bit lane of vpsadbw is a filter: the 8 channels of a position are broadcast against 4 filters, and the
   sums of 4 positions × 8 filters stay in 8 registers. Products go by vpmaddwd on 16 bits, which is exact.

   A total has 64 bits. Shifted up until its shift is at least 32, its upper half holds all of the code: one shift of 32
   bits then serves 8 filters, and packing saturates from below. */
#include <immintrin.h>
#include <string.h>

#include "engine.h"

#define UNROLL _Pragma("GCC unroll 8")

typedef __m256i V;

typedef struct {
    V low, high; /* filters 0…3 and 4…7, in 64-bit lanes */
} lanes_t;

typedef struct {
    V multiplier[2], bias[2], residual_multiplier;
    __m128i up, shift;
    V top;
} scales_t;

INLINE V load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

INLINE V broadcast(const uint8_t *p) {
    long long lane;
    memcpy(&lane, p, sizeof lane);
    return _mm256_set1_epi64x(lane);
}

INLINE scales_t scales_of(const job_t *job, int32_t block) {
    const int64_t *m = job->multiplier + (size_t)block * LANE, *b = job->bias + (size_t)block * LANE;
    return (scales_t){{load(m), load(m + 4)},
                      {load(b), load(b + 4)},
                      _mm256_set1_epi64x(job->residual_multiplier),
                      _mm_cvtsi32_si128(job->shift < 32 ? 32 - job->shift : 0),
                      _mm_cvtsi32_si128(job->shift < 32 ? 0 : job->shift - 32),
                      _mm256_set1_epi8((char)job->top)};
}

INLINE V residual_lanes(const uint8_t *p) {
    int32_t codes;
    memcpy(&codes, p, sizeof codes);
    return _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(codes));
}

/* 32-bit lanes: filters 0 1 4 5 | 2 3 6 7, not yet clamped. */
INLINE V shifted(lanes_t sums, const scales_t *s, const uint8_t *residual) {
    V low = _mm256_add_epi64(_mm256_mul_epi32(sums.low, s->multiplier[0]), s->bias[0]);
    V high = _mm256_add_epi64(_mm256_mul_epi32(sums.high, s->multiplier[1]), s->bias[1]);
    if (residual) {
        low = _mm256_add_epi64(low, _mm256_mul_epi32(residual_lanes(residual), s->residual_multiplier));
        high = _mm256_add_epi64(high, _mm256_mul_epi32(residual_lanes(residual + 4), s->residual_multiplier));
    }
    low = _mm256_sll_epi64(low, s->up), high = _mm256_sll_epi64(high, s->up);
    __m256 upper = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0xdd);
    return _mm256_sra_epi32(_mm256_castps_si256(upper), s->shift);
}

/* Four positions: to codes, in order. */
INLINE V codes_of(const V *of, V top) {
    const V order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const V within = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, /**/ 0, 1, 4, 5, 2, 3, 6, 7,
                                      8, 9, 12, 13, 10, 11, 14, 15);
    V words = _mm256_packus_epi16(_mm256_packs_epi32(of[0], of[1]), _mm256_packs_epi32(of[2], of[3]));
    return _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(_mm256_min_epu8(words, top), order), within);
}

INLINE void store8(uint8_t *p, long long codes) { memcpy(p, &codes, sizeof codes); }

INLINE void finish_lanes(const lanes_t *sums, int n, const scales_t *s, int added, const uint8_t *const *residuals,
                         uint8_t *const *outputs) {
    V of[4];
    if (added) {
        UNROLL for (int i = 0; i < n; i++) of[i] = shifted(sums[i], s, residuals[i]);
    } else {
        UNROLL for (int i = 0; i < n; i++) of[i] = shifted(sums[i], s, NULL);
    }
    UNROLL for (int i = n; i < 4; i++) of[i] = of[0];
    V codes = codes_of(of, s->top);
    if (n == 4 && outputs[3] - outputs[0] == 3 * CELL) {
        _mm256_storeu_si256((__m256i *)outputs[0], codes);
        return;
    }
    __m128i first = _mm256_castsi256_si128(codes), second = _mm256_extracti128_si256(codes, 1);
    store8(outputs[0], _mm_cvtsi128_si64(first));
    if (n > 1) store8(outputs[1], _mm_extract_epi64(first, 1));
    if (n > 2) store8(outputs[2], _mm_cvtsi128_si64(second));
    if (n > 3) store8(outputs[3], _mm_extract_epi64(second, 1));
}

INLINE void finish_plain(const int32_t *sums, const scales_t *s, const job_t *job, const uint8_t *residual, uint8_t *output) {
    const __m128i *of = (const __m128i *)sums;
    const lanes_t lanes = {_mm256_cvtepi32_epi64(_mm_loadu_si128(of)), _mm256_cvtepi32_epi64(_mm_loadu_si128(of + 1))};
    (void)job;
    finish_lanes(&lanes, 1, s, residual != NULL, &residual, &output);
}

/* Even 32-bit lanes of both, in order. */
INLINE void store_lanes(int32_t *to, lanes_t sums) {
    const V even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    V low = _mm256_permutevar8x32_epi32(sums.low, even), high = _mm256_permutevar8x32_epi32(sums.high, even);
    _mm256_storeu_si256((__m256i *)to, _mm256_blend_epi32(low, high, 0xf0));
}

/* Keeps both in registers: compilers else read them from memory once for each position. */
INLINE lanes_t take_lanes(const uint8_t *p) {
    lanes_t w = {load(p), load(p + 32)};
    __asm__("" : "+x"(w.low), "+x"(w.high));
    return w;
}

/* a + b in the register of a: compilers else spend a copy on every sum of the inner loop. */
INLINE V add_to(V a, V b) {
    __asm__("vpaddd %1, %0, %0" : "+x"(a) : "x"(b));
    return a;
}

INLINE lanes_t take_sad(lanes_t sums, const uint8_t *p, lanes_t w) {
    V x = broadcast(p);
    sums.low = add_to(sums.low, _mm256_sad_epu8(x, w.low));
    sums.high = add_to(sums.high, _mm256_sad_epu8(x, w.high));
    return sums;
}

INLINE void finish_sad(const lanes_t *sums, int n, const scales_t *s, const job_t *job, int added, const uint8_t *const *residuals,
                       uint8_t *const *outputs) {
    (void)job;
    finish_lanes(sums, n, s, added, residuals, outputs);
}

#define KERNEL sad
#define POSITIONS 4
#define AT_ONCE 4
#define sums_t lanes_t
#define NO_SUMS ((lanes_t){_mm256_setzero_si256(), _mm256_setzero_si256()})
#define weights_t lanes_t
#define take_weights take_lanes
#define take take_sad
#define store_sums store_lanes
#define finish finish_sad
#include "kernel.inc"
#undef finish

/* Products: 4 sums of 32 bits a filter, two filters a vector. */
typedef struct {
    V of[4];
} quads_t;

INLINE quads_t take_quads(const uint8_t *p) {
    quads_t w;
    UNROLL for (int i = 0; i < 4; i++) {
        w.of[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 16 * i)));
        __asm__("" : "+x"(w.of[i]));
    }
    return w;
}

INLINE quads_t take_dot(quads_t sums, const uint8_t *p, quads_t w) {
    long long lane;
    memcpy(&lane, p, sizeof lane);
    V x = _mm256_cvtepu8_epi16(_mm_set1_epi64x(lane));
    UNROLL for (int i = 0; i < 4; i++) sums.of[i] = add_to(sums.of[i], _mm256_madd_epi16(x, w.of[i]));
    return sums;
}

INLINE quads_t no_quads(void) {
    quads_t none;
    UNROLL for (int i = 0; i < 4; i++) none.of[i] = _mm256_setzero_si256();
    return none;
}

/* Adds up what belongs to a filter: 32-bit sums in the lower halves of 64-bit lanes. */
INLINE lanes_t lanes_of(quads_t q) {
    V even = _mm256_hadd_epi32(q.of[0], q.of[1]), odd = _mm256_hadd_epi32(q.of[2], q.of[3]);
    V all = _mm256_hadd_epi32(even, odd); /* 0 2 4 6 | 1 3 5 7 */
    return (lanes_t){_mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 0, 4, 4, 1, 1, 5, 5)),
                     _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(2, 2, 6, 6, 3, 3, 7, 7))};
}

INLINE void store_quads(int32_t *to, quads_t sums) { store_lanes(to, lanes_of(sums)); }

INLINE void finish_dot(const quads_t *sums, int n, const scales_t *s, const job_t *job, int added, const uint8_t *const *residuals,
                       uint8_t *const *outputs) {
    lanes_t lanes[2];
    (void)job;
    UNROLL for (int i = 0; i < n; i++) lanes[i] = lanes_of(sums[i]);
    finish_lanes(lanes, n, s, added, residuals, outputs);
}

#define KERNEL dot
#define POSITIONS 2
#define AT_ONCE 2
#define sums_t quads_t
#define NO_SUMS no_quads()
#define weights_t quads_t
#define take_weights take_quads
#define take take_dot
#define store_sums store_quads
#define finish finish_dot
#include "kernel.inc"

#include "depthwise.inc"

const unit_t unit_avx2 = {"avx2", sad, dot, depthwise, 32};
