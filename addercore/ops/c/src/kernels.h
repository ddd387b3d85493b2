/* Shared by the translation units, which hold the same kernels for one instruction set each. */
#ifndef ADDER_KERNELS_H
#define ADDER_KERNELS_H

#ifdef _OPENMP
#include <omp.h>
#endif

#include "adder.h"

static inline int thread_here(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

typedef struct {
    const char *name;
    int (*forward)(const adder_shape *, const float *, const float *, const float *, float *, const adder_epilogue *, int);
    int64_t (*packed_size)(const adder_shape *);
    void (*pack)(const adder_shape *, const float *, float *);
    int (*max_pool)(const adder_shape *, const float *, float *, int);
    void (*add)(int64_t, const float *, const float *, int64_t, float *);
    int (*grad_input)(const adder_shape *, const float *, const float *, const float *, float *, int);
    int (*grad_weight)(const adder_shape *, const float *, const float *, const float *, float *, int64_t, int);
    int (*normalize)(int64_t, int64_t, int64_t, const float *, const float *, const float *, const float *, int64_t,
                     float *, int);
    int (*normalize_backward)(int64_t, int64_t, int64_t, const float *, const float *, const float *, const float *,
                              const float *, const float *, float *, float *, float *, float *, int);
    int (*normalize_pool)(int64_t, int64_t, int64_t, int64_t, const float *, const float *, const float *, int64_t,
                          float *, uint8_t *, int);
    int (*normalize_pool_backward)(int64_t, int64_t, int64_t, int64_t, const float *, const uint8_t *, const float *,
                                   const float *, const float *, const float *, float *, float *, float *, int);
} adder_kernels;

extern const adder_kernels adder_generic, adder_avx2, adder_avx512, adder_neon;

const adder_kernels *adder_unit(int isa);

#endif
