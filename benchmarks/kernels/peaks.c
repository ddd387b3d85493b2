/* Peak rates of the instruction sequences that an adder kernel is made of: registers only, no memory.

   An element is one |x - f| of eq. 2, or its part in a gradient. Each form keeps INDEPENDENT accumulators going, enough
   to hide the latency of an addition (4 cycles, 2 a cycle). HIDE tells the compiler that a register may have changed:
   it costs no instruction, and without it the loop's work would be hoisted. The sums leave through `sink`, so nothing
   is dropped. Time is the calling thread's CPU time: a preempted probe does not look slow.

   Which form is the fastest depends on what shares a port. On Zen 4 maximum and addition do, so there an fma by one in
   place of an addition doubles the rate; on Intel's servers it makes no difference.

   One function per instruction set and form; `target` attributes let one file hold all, whatever the flags. */

#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <string.h>
#include <time.h>

#if !defined(__x86_64__)
#error "peaks.c knows x86-64 only"
#endif
#include <immintrin.h>

static volatile float sink;

static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define HIDE(value) __asm__ volatile("" : "+v"(value))
#define NOT_SIGN __builtin_nanf("0x3fffff") /* bits 0x7fffffff: and-ing them takes the absolute value */

/* double NAME(steps): seconds that steps x INDEPENDENT x LANES elements take. ELEMENT adds a vector of elements to `a`;
   it may read x, f, g (the output's gradient), lo = x - 1, hi = x + 1 and the constants. */
#define PROBE(NAME, TARGET, VECTOR, SET, LANES, INDEPENDENT, ELEMENT)                                                  \
    __attribute__((target(TARGET), noinline)) static double NAME(int64_t steps) {                                      \
        float kept[LANES], total = 0;                                                                                  \
        VECTOR accumulators[INDEPENDENT];                                                                              \
        VECTOR x = SET(0.75f), f = SET(0.5f), g = SET(0.001f), lo = SET(-0.25f), hi = SET(1.75f);                      \
        VECTOR one = SET(1.0f), minus_one = SET(-1.0f), not_sign = SET(NOT_SIGN);                                      \
        HIDE(g); HIDE(lo); HIDE(hi); HIDE(one); HIDE(minus_one); HIDE(not_sign);                                       \
        for (int i = 0; i < INDEPENDENT; i++) accumulators[i] = SET(0.0f);                                             \
        double began = thread_seconds();                                                                               \
        for (int64_t step = 0; step < steps; step++) {                                                                 \
            _Pragma("GCC unroll 16") for (int i = 0; i < INDEPENDENT; i++) {                                           \
                VECTOR a = accumulators[i];                                                                            \
                HIDE(x); HIDE(f);                                                                                      \
                ELEMENT;                                                                                               \
                accumulators[i] = a;                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 16") for (int i = 0; i < INDEPENDENT; i++) HIDE(accumulators[i]);                          \
        double seconds = thread_seconds() - began;                                                                     \
        for (int i = 0; i < INDEPENDENT; i++) {                                                                        \
            memcpy(kept, &accumulators[i], sizeof kept);                                                               \
            for (int lane = 0; lane < LANES; lane++) total += kept[lane];                                              \
        }                                                                                                              \
        sink = total;                                                                                                  \
        return seconds;                                                                                                \
    }

/* P is the intrinsics' prefix. N accumulators, and what else is in registers, must fit the register file. */
#define FORWARD(ISA, TARGET, VECTOR, P, LANES, N)                                                                      \
    PROBE(ISA##_max_add, TARGET, VECTOR, P##set1_ps, LANES, N, a = P##add_ps(a, P##max_ps(x, f)))                      \
    PROBE(ISA##_sub_and_add, TARGET, VECTOR, P##set1_ps, LANES, N,                                                     \
          a = P##add_ps(a, P##and_ps(P##sub_ps(x, f), not_sign)))

#define FORWARD_FMA(ISA, TARGET, VECTOR, P, LANES, N)                                                                  \
    PROBE(ISA##_max_fma, TARGET, VECTOR, P##set1_ps, LANES, N, a = P##fmadd_ps(P##max_ps(x, f), one, a))               \
    PROBE(ISA##_fma, TARGET, VECTOR, P##set1_ps, LANES, N, a = P##fmadd_ps(x, f, a))

#define GRADIENT_FMA(ISA, TARGET, VECTOR, P, LANES, N)                                                                 \
    PROBE(ISA##_max_min_fma, TARGET, VECTOR, P##set1_ps, LANES, N,                                                     \
          a = P##fmadd_ps(g, P##min_ps(P##max_ps(f, lo), hi), a))                                                      \
    PROBE(ISA##_sub_max_min_fma, TARGET, VECTOR, P##set1_ps, LANES, N,                                                 \
          a = P##fmadd_ps(g, P##min_ps(P##max_ps(P##sub_ps(f, x), minus_one), one), a))                                \
    PROBE(ISA##_fms_max_min_fma, TARGET, VECTOR, P##set1_ps, LANES, N,                                                 \
          a = P##fmadd_ps(g, P##min_ps(P##max_ps(P##fmsub_ps(f, one, x), minus_one), one), a))

FORWARD(sse2, "sse2", __m128, _mm_, 4, 12)
PROBE(sse2_max_min_mul_add, "sse2", __m128, _mm_set1_ps, 4, 12,
      a = _mm_add_ps(a, _mm_mul_ps(g, _mm_min_ps(_mm_max_ps(f, lo), hi))))
PROBE(sse2_mul_add, "sse2", __m128, _mm_set1_ps, 4, 12, a = _mm_add_ps(a, _mm_mul_ps(x, f)))

FORWARD(avx2, "avx2,fma", __m256, _mm256_, 8, 12)
FORWARD_FMA(avx2, "avx2,fma", __m256, _mm256_, 8, 12)
GRADIENT_FMA(avx2, "avx2,fma", __m256, _mm256_, 8, 10)

#define AVX512 "avx512f,avx512dq"
FORWARD(avx512, AVX512, __m512, _mm512_, 16, 16)
FORWARD_FMA(avx512, AVX512, __m512, _mm512_, 16, 16)
GRADIENT_FMA(avx512, AVX512, __m512, _mm512_, 16, 16)
/* vrangeps by 2: the smaller magnitude of the two, with the first one's sign. */
PROBE(avx512_sub_range_fma, AVX512, __m512, _mm512_set1_ps, 16, 16,
      a = _mm512_fmadd_ps(g, _mm512_range_ps(_mm512_sub_ps(f, x), one, 2), a))
PROBE(avx512_half_fms_range_fma, AVX512, __m512, _mm512_set1_ps, 16, 16,
      a = _mm512_fmadd_ps(g, _mm512_range_ps(i & 1 ? _mm512_fmsub_ps(f, one, x) : _mm512_sub_ps(f, x), one, 2), a))

typedef struct {
    const char *isa, *operation, *form;
    int64_t elements; /* of one step: lanes x accumulators */
    double (*seconds)(int64_t steps);
} Probe;

static const Probe probes[] = {
    {"sse2", "forward", "max, add", 4 * 12, sse2_max_add},
    {"sse2", "forward", "sub, and, add", 4 * 12, sse2_sub_and_add},
    {"sse2", "grad_input", "max, min, mul, add", 4 * 12, sse2_max_min_mul_add},
    {"sse2", "grad_weight", "mul, add", 4 * 12, sse2_mul_add},
    {"avx2", "forward", "max, add", 8 * 12, avx2_max_add},
    {"avx2", "forward", "max, fma", 8 * 12, avx2_max_fma},
    {"avx2", "forward", "sub, and, add", 8 * 12, avx2_sub_and_add},
    {"avx2", "grad_input", "max, min, fma", 8 * 10, avx2_max_min_fma},
    {"avx2", "grad_input", "sub, max, min, fma", 8 * 10, avx2_sub_max_min_fma},
    {"avx2", "grad_input", "fms, max, min, fma", 8 * 10, avx2_fms_max_min_fma},
    {"avx2", "grad_weight", "fma", 8 * 12, avx2_fma},
    {"avx512", "forward", "max, add", 16 * 16, avx512_max_add},
    {"avx512", "forward", "max, fma", 16 * 16, avx512_max_fma},
    {"avx512", "forward", "sub, and, add", 16 * 16, avx512_sub_and_add},
    {"avx512", "grad_input", "sub, range, fma", 16 * 16, avx512_sub_range_fma},
    {"avx512", "grad_input", "sub or fms in turn, range, fma", 16 * 16, avx512_half_fms_range_fma},
    {"avx512", "grad_input", "max, min, fma", 16 * 16, avx512_max_min_fma},
    {"avx512", "grad_input", "sub, max, min, fma", 16 * 16, avx512_sub_max_min_fma},
    {"avx512", "grad_input", "fms, max, min, fma", 16 * 16, avx512_fms_max_min_fma},
    {"avx512", "grad_weight", "fma", 16 * 16, avx512_fma},
};

int probe_count(void) { return sizeof probes / sizeof *probes; }

Probe probe(int index) { return probes[index]; }

/* Whether this processor, and its operating system, can run the probe. */
int probe_runs(int index) {
    const char *isa = probes[index].isa;
    __builtin_cpu_init();
    if (!strcmp(isa, "avx512")) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}

double probe_seconds(int index, int64_t steps) { return probes[index].seconds(steps); }
