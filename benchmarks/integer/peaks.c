/* The fastest that a processor adds up absolute differences of bytes: vpsadbw and vpaddd, all in registers.

   A term is one |x - w|. Time is the calling thread's CPU time. */
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

/* Terms a second of N independent sums, AT_ONCE differences in front of as many additions: which order is the faster one
   depends on how the processor shares out its ports. The instructions are written out, so that they stay in order. */
#define PROBE(NAME, TARGET, VECTOR, SET, N, AT_ONCE)                                                                   \
    __attribute__((target(TARGET), noinline)) double NAME(int64_t steps) {                                             \
        VECTOR sums[N], x = SET(3), w = SET(5);                                                                        \
        _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) sums[i] = SET(0);                                         \
        double began = thread_seconds();                                                                               \
        for (int64_t step = 0; step < steps; step++) {                                                                 \
            _Pragma("GCC unroll 32") for (int i = 0; i < N; i += AT_ONCE) {                                            \
                VECTOR differences[AT_ONCE];                                                                           \
                _Pragma("GCC unroll 32") for (int k = 0; k < AT_ONCE; k++)                                             \
                    __asm__ volatile("vpsadbw %1, %2, %0" : "=v"(differences[k]) : "v"(x), "v"(w));                    \
                _Pragma("GCC unroll 32") for (int k = 0; k < AT_ONCE; k++)                                             \
                    __asm__ volatile("vpaddd %1, %0, %0" : "+v"(sums[i + k]) : "v"(differences[k]));                   \
            }                                                                                                          \
        }                                                                                                              \
        double seconds = thread_seconds() - began;                                                                     \
        long long kept[sizeof(VECTOR) / 8];                                                                            \
        _Pragma("GCC unroll 32") for (int i = 0; i < N; i++) {                                                         \
            memcpy(kept, &sums[i], sizeof kept);                                                                       \
            sink += kept[0];                                                                                           \
        }                                                                                                              \
        return (double)steps * N * (double)sizeof(VECTOR) / seconds;                                                   \
    }

PROBE(peak_avx2, "avx2", __m256i, _mm256_set1_epi8, 8, 1)
PROBE(peak_avx2_four, "avx2", __m256i, _mm256_set1_epi8, 8, 4)
PROBE(peak_avx512, "avx512f,avx512bw", __m512i, _mm512_set1_epi8, 16, 1)
PROBE(peak_avx512_four, "avx512f,avx512bw", __m512i, _mm512_set1_epi8, 16, 4)
