/* The fastest that a processor adds up absolute differences of bytes: vpsadbw and vpaddd, all in registers.

   A term is one |x - w|. HIDE tells the compiler that a register may have changed: it costs no instruction, and without
   it the loop's work would be hoisted. Time is the calling thread's CPU time. */
#define _POSIX_C_SOURCE 199309L
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

static volatile long long sink;

static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define HIDE(value) __asm__ volatile("" : "+v"(value))

/* Terms a second of N independent sums. */
#define PROBE(NAME, TARGET, VECTOR, SET, SAD, ADD, N)                                                                  \
    __attribute__((target(TARGET), noinline)) double NAME(int64_t steps) {                                             \
        VECTOR sums[N], x = SET(3), w = SET(5);                                                                        \
        _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) sums[i] = SET(0);                                         \
        double began = thread_seconds();                                                                               \
        for (int64_t step = 0; step < steps; step++) {                                                                 \
            _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) {                                                     \
                HIDE(x);                                                                                               \
                HIDE(w);                                                                                               \
                sums[i] = ADD(sums[i], SAD(x, w));                                                                     \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) HIDE(sums[i]);                                            \
        double seconds = thread_seconds() - began;                                                                     \
        long long kept[sizeof(VECTOR) / 8];                                                                            \
        _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) {                                                         \
            memcpy(kept, &sums[i], sizeof kept);                                                                       \
            sink += kept[0];                                                                                           \
        }                                                                                                              \
        return (double)steps * N * (double)sizeof(VECTOR) / seconds;                                                   \
    }

PROBE(peak_avx2, "avx2", __m256i, _mm256_set1_epi8, _mm256_sad_epu8, _mm256_add_epi32, 12)
PROBE(peak_avx512, "avx512f,avx512bw", __m512i, _mm512_set1_epi8, _mm512_sad_epu8, _mm512_add_epi32, 24)
