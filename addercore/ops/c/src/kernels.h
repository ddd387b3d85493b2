/* Shared by the translation units, which hold the same kernels for one instruction set each. */
#ifndef ADDER_KERNELS_H
#define ADDER_KERNELS_H

#include "adder.h"

typedef struct {
    const char *name;
    int (*forward)(const adder_shape *, const float *, const float *, float *, const adder_epilogue *, int);
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

#endif
