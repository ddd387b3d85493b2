/* Batch normalisation's elementwise functions, alone and with pooling, on sizes of their own. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static const int THREADS[] = {1, 2, 3};

static double *doubles(size_t n) {
    double *p = malloc(n * sizeof *p + 1);
    if (!p) fail("no memory");
    return p;
}

static adder_shape as_shape(int64_t N, int64_t F, int64_t P) {
    return (adder_shape){.N = N, .F = F, .OH = 1, .OW = P, .groups = 1};
}

void check_normalize(int isa, int64_t N, int64_t F, int64_t P) {
    const adder_shape s = as_shape(N, F, P);
    const size_t n = (size_t)(N * F * P);
    const float *y = take_random(n, 20), *scale = take_random((size_t)F, 1), *shift = take_random((size_t)F, 1);
    const float *residual = take_random(n, 1);
    double *want = doubles(n), *bound = doubles(n);
    now("normalize", &s);
    for (int variant = 0; variant < 4; variant++) {
        adder_epilogue e = {.scale = scale, .shift = shift, .residual = variant & 1 ? residual : NULL, .relu = variant >> 1};
        for (size_t i = 0; i < n; i++) want[i] = y[i], bound[i] = 0;
        reference_affine(&s, &e, want, bound);
        float *first = NULL;
        for (size_t t = 0; t < sizeof THREADS / sizeof *THREADS; t++) {
            float *z = take(n);
            if (adder_normalize(isa, N, F, P, y, scale, shift, e.residual, e.relu, z, THREADS[t])) fail("normalize");
            expect_close("z", &s, z, want, bound, n);
            if (!first) first = z;
            expect_same_bits("z by threads", &s, first, z, n);
        }
    }
    free(want);
    free(bound);
    release_all();
}

typedef struct {
    float *grad_y, *gamma, *beta, *masked;
} gradients;

static gradients run_backward(int isa, int64_t N, int64_t F, int64_t P, const float *const in[6], int with_masked,
                              int threads) {
    const size_t n = (size_t)(N * F * P), f = (size_t)F;
    gradients out = {take(n), take(f), take(f), with_masked ? take(n) : NULL};
    if (adder_normalize_backward(isa, N, F, P, in[0], in[1], in[2], in[3], in[4], in[5], out.grad_y, out.gamma,
                                 out.beta, out.masked, threads))
        fail("normalize_backward");
    return out;
}

void check_normalize_backward(int isa, int64_t N, int64_t F, int64_t P) {
    const adder_shape s = as_shape(N, F, P);
    const size_t n = (size_t)(N * F * P), f = (size_t)F;
    const float *grad = take_random(n, 1), *z = take_random(n, 1), *y = take_random(n, 3);
    const float *mean = take_random(f, 30), *gamma = take_random(f, 1);
    float *invstd = take(f);
    for (size_t i = 0; i < f; i++) invstd[i] = 0.1f + (float)(next_random() % 100) / 50;
    seal(invstd);
    double *want[4] = {doubles(n), doubles(f), doubles(f), doubles(n)};
    double *bound[4] = {doubles(n), doubles(f), doubles(f), doubles(n)};
    for (size_t i = 0; i < n; i++) bound[3][i] = 0;
    now("normalize_backward", &s);
    for (int variant = 0; variant < 4; variant++) {
        const float *in[6] = {grad, variant & 1 ? z : NULL, y, mean, invstd, gamma};
        reference_normalize_backward(N, F, P, in[0], in[1], in[2], in[3], in[4], in[5], want[0], want[1], want[2],
                                     want[3], bound[0], bound[1], bound[2]);
        const gradients one = run_backward(isa, N, F, P, in, variant >> 1, 1);
        expect_close("grad_y", &s, one.grad_y, want[0], bound[0], n);
        expect_close("grad_gamma", &s, one.gamma, want[1], bound[1], f);
        expect_close("grad_beta", &s, one.beta, want[2], bound[2], f);
        if (one.masked) expect_close("masked", &s, one.masked, want[3], bound[3], n);
        const gradients three = run_backward(isa, N, F, P, in, variant >> 1, 3);
        expect_same_bits("grad_y by threads", &s, one.grad_y, three.grad_y, n);
        expect_same_bits("grad_gamma by threads", &s, one.gamma, three.gamma, f);
        expect_same_bits("grad_beta by threads", &s, one.beta, three.beta, f);
    }
    for (int i = 0; i < 4; i++) {
        free(want[i]);
        free(bound[i]);
    }
    release_all();
}

/* n bytes that end where their buffer does. */
static uint8_t *take_bytes(size_t n) { return (uint8_t *)take((n + 3) / 4) + (4 - n % 4) % 4; }

/* The winner's byte and its value in double; a NaN is not among them. */
static double pooled(const float *y, int64_t W, double scale, double shift, int relu, int *winner) {
    double best = scale * y[0] + shift;
    *winner = 0;
    for (int i = 1; i < 4; i++) {
        const double other = scale * y[i / 2 * W + i % 2] + shift;
        if (other > best) best = other, *winner = i;
    }
    if (!relu || best > 0) return best;
    *winner = 4;
    return 0;
}

void check_pool(int isa, int64_t N, int64_t F, int64_t H, int64_t W) {
    const adder_shape s = {.N = N, .F = F, .H = H, .W = W, .OH = H / 2, .OW = W / 2, .groups = 1};
    const size_t n = (size_t)(N * F * H * W), few = (size_t)(N * F * (H / 2) * (W / 2)), f = (size_t)F;
    const float *y = take_random(n, 3), *scale = take_random(f, 1), *shift = take_random(f, 1), *mean = take_random(f, 30);
    const float *grad = take_random(few, 1), *gamma = take_random(f, 1);
    float *invstd = take(f), *spread = take(n);
    for (size_t i = 0; i < f; i++) invstd[i] = 0.1f + (float)(next_random() % 100) / 50;
    seal(invstd);
    double *want = doubles(few), *bound = doubles(few), *gradients[3] = {doubles(n), doubles(f), doubles(f)};
    double *bounds[3] = {doubles(n), doubles(f), doubles(f)}, *masked = doubles(n);
    now("normalize_pool", &s);
    for (int relu = 0; relu < 2; relu++) {
        float *first = NULL, *out[3] = {NULL, NULL, NULL};
        for (size_t i = 0; i < n; i++) spread[i] = 0;
        for (size_t t = 0; t < sizeof THREADS / sizeof *THREADS; t++) {
            float *z = take(few), *found[3] = {take(n), take(f), take(f)};
            uint8_t *winner = take_bytes(few);
            if (adder_normalize_pool(isa, N, F, H, W, y, scale, shift, relu, z, winner, THREADS[t])) fail("normalize_pool");
            for (size_t i = 0; i < few; i++) {
                const int64_t c = (int64_t)i % (W / 2), r = (int64_t)i / (W / 2) % (H / 2), plane = (int64_t)i / (W / 2) / (H / 2);
                const int64_t at = plane * H * W + 2 * r * W + 2 * c;
                int which;
                want[i] = pooled(y + at, W, scale[plane % F], shift[plane % F], relu, &which);
                bound[i] = 1e-6 * (fabs(want[i]) + 10);
                if (winner[i] != which) fail("winner[%zu] is %d, not %d", i, winner[i], which);
                if (which < 4) spread[at + which / 2 * W + which % 2] = grad[i];
            }
            expect_close("z", &s, z, want, bound, few);
            if (adder_normalize_pool_backward(isa, N, F, H, W, grad, winner, y, mean, invstd, gamma, found[0], found[1],
                                              found[2], THREADS[t]))
                fail("normalize_pool_backward");
            if (!first) {
                first = z;
                reference_normalize_backward(N, F, H * W, spread, NULL, y, mean, invstd, gamma, gradients[0], gradients[1],
                                             gradients[2], masked, bounds[0], bounds[1], bounds[2]);
                for (int i = 0; i < 3; i++) {
                    out[i] = found[i];
                    expect_close("gradient of pooling", &s, found[i], gradients[i], bounds[i], i ? f : n);
                }
            }
            expect_same_bits("z by threads", &s, first, z, few);
            for (int i = 0; i < 3; i++) expect_same_bits("gradient by threads", &s, out[i], found[i], i ? f : n);
        }
    }
    for (int i = 0; i < 3; i++) free(gradients[i]), free(bounds[i]);
    free(want), free(bound), free(masked);
    release_all();
}
