/* Which instruction sets were compiled in, which of them this processor has, and the call through to them. */
#include "kernels.h"

#include <stddef.h>

#define STRING_(x) #x
#define STRING(x) STRING_(x)

static const adder_kernels *const units[] = {
#ifdef ADDER_HAVE_AVX512
    &adder_avx512,
#endif
#ifdef ADDER_HAVE_AVX2
    &adder_avx2,
#endif
#ifdef ADDER_HAVE_NEON
    &adder_neon,
#endif
    &adder_generic,
};

int adder_abi(void) { return ADDER_ABI; }

const char *adder_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " STRING(__GNUC__) "." STRING(__GNUC_MINOR__) "." STRING(__GNUC_PATCHLEVEL__);
#else
    return "unknown";
#endif
}

const adder_kernels *adder_unit(int isa) { return units[isa]; }

int adder_isa_count(void) { return (int)(sizeof units / sizeof *units); }

const char *adder_isa_name(int isa) { return units[isa]->name; }

int adder_isa_supported(int isa) {
#ifdef ADDER_HAVE_AVX512
    if (units[isa] == &adder_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
#endif
#ifdef ADDER_HAVE_AVX2
    if (units[isa] == &adder_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)isa;
    return 1;
}

int adder_forward(int isa, const adder_shape *s, const float *x, const float *weight, float *y,
                  const adder_epilogue *epilogue, int threads) {
    return units[isa]->forward(s, x, weight, NULL, y, epilogue, threads);
}

int64_t adder_packed_size(int isa, const adder_shape *s) { return units[isa]->packed_size(s); }

void adder_pack(int isa, const adder_shape *s, const float *weight, float *packed) {
    units[isa]->pack(s, weight, packed);
}

int adder_grad_input(int isa, const adder_shape *s, const float *grad, const float *x, const float *weight,
                     float *grad_x, int threads) {
    return units[isa]->grad_input(s, grad, x, weight, grad_x, threads);
}

int adder_grad_weight(int isa, const adder_shape *s, const float *grad, const float *x, const float *weight,
                      float *grad_weight, int64_t sign, int threads) {
    return units[isa]->grad_weight(s, grad, x, weight, grad_weight, sign, threads);
}

int adder_normalize(int isa, int64_t N, int64_t F, int64_t P, const float *y, const float *scale, const float *shift,
                    const float *residual, int64_t relu, float *z, int threads) {
    return units[isa]->normalize(N, F, P, y, scale, shift, residual, relu, z, threads);
}

int adder_normalize_backward(int isa, int64_t N, int64_t F, int64_t P, const float *grad, const float *z,
                             const float *y, const float *mean, const float *invstd, const float *gamma, float *grad_y,
                             float *grad_gamma, float *grad_beta, float *masked, int threads) {
    return units[isa]->normalize_backward(N, F, P, grad, z, y, mean, invstd, gamma, grad_y, grad_gamma, grad_beta,
                                          masked, threads);
}

int adder_normalize_pool(int isa, int64_t N, int64_t F, int64_t H, int64_t W, const float *y, const float *scale,
                         const float *shift, int64_t relu, float *z, uint8_t *winner, int threads) {
    return units[isa]->normalize_pool(N, F, H, W, y, scale, shift, relu, z, winner, threads);
}

int adder_normalize_pool_backward(int isa, int64_t N, int64_t F, int64_t H, int64_t W, const float *grad,
                                  const uint8_t *winner, const float *y, const float *mean, const float *invstd,
                                  const float *gamma, float *grad_y, float *grad_gamma, float *grad_beta,
                                  int threads) {
    return units[isa]->normalize_pool_backward(N, F, H, W, grad, winner, y, mean, invstd, gamma, grad_y, grad_gamma,
                                               grad_beta, threads);
}
