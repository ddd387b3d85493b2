/* Test of the library through its C interface: driver <instruction set> <random cases> <seed>
   Exit status 0: all well, and the worst error in units of the bound; 1: a finding, in one line; 77: this processor or
   this build has no such instruction set. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int THREADS[] = {1, 2, 3, 5};
enum { RUNS = sizeof THREADS / sizeof *THREADS };

static size_t outputs(const adder_shape *s) { return (size_t)(s->N * s->F * s->OH * s->OW); }
static size_t inputs(const adder_shape *s) { return (size_t)(s->N * s->C * s->H * s->W); }
static size_t weights(const adder_shape *s) { return (size_t)(s->F * (s->C / s->groups) * s->KH * s->KW); }

static double *doubles(size_t n) {
    double *p = malloc(n * sizeof *p + 1);
    if (!p) fail("no memory");
    return p;
}

/* Calls forward into a fresh, poisoned output. */
static float *forward(int isa, const adder_shape *s, const float *x, const float *w, const adder_epilogue *e,
                      int threads) {
    float *y = take(outputs(s));
    if (adder_forward(isa, s, x, w, y, e, threads)) fail("adder_forward found no memory");
    return y;
}

/* Eq. 2 alone: values, bits by thread count, and ≤ 0 without exception. */
static void check_forward(int isa, const adder_shape *s, const float *x, const float *w) {
    double *want = doubles(outputs(s)), *bound = doubles(outputs(s));
    const adder_epilogue none = {0};
    reference_forward(s, x, w, want, bound);
    const float *first = forward(isa, s, x, w, &none, 1);
    expect_close("y", s, first, want, bound, outputs(s));
    for (size_t i = 0; i < outputs(s); i++)
        if (!(first[i] <= 0)) fail("y[%zu] is %g, above 0", i, (double)first[i]);
    for (int t = 1; t < RUNS; t++)
        expect_same_bits("y by threads", s, first, forward(isa, s, x, w, &none, THREADS[t]), outputs(s));
    free(want);
    free(bound);
}

/* The epilogue: every set of its parts. */
static void check_affine(int isa, const adder_shape *s, const float *x, const float *w) {
    const size_t n = outputs(s);
    const float *scale = take_random((size_t)s->F, 1), *shift = take_random((size_t)s->F, 5);
    const float *residual = take_random(n, 3);
    double *plain = doubles(n), *plain_bound = doubles(n), *want = doubles(n), *bound = doubles(n);
    reference_forward(s, x, w, plain, plain_bound);
    for (int parts = 1; parts < 8; parts++) {
        const adder_epilogue e = {.scale = parts & 1 ? scale : NULL, .shift = parts & 1 ? shift : NULL,
                                  .residual = parts & 2 ? residual : NULL, .relu = parts >> 2};
        memcpy(want, plain, n * sizeof *want);
        memcpy(bound, plain_bound, n * sizeof *bound);
        reference_affine(s, &e, want, bound);
        const float *one = forward(isa, s, x, w, &e, 1);
        expect_close("z", s, one, want, bound, n);
        expect_same_bits("z by threads", s, one, forward(isa, s, x, w, &e, 3), n);
    }
    free(plain), free(plain_bound), free(want), free(bound);
}

/* Mean and variance from the epilogue against those of the library's own y, in double. */
static void check_moments(int isa, const adder_shape *s, const float *x, const float *w) {
    const size_t n = outputs(s), f = (size_t)s->F;
    const int64_t positions = s->OH * s->OW;
    if (!n) return;
    float *mean[2], *variance[2];
    const float *y = NULL;
    for (int t = 0; t < 2; t++) {
        const adder_epilogue e = {.mean = mean[t] = take(f), .variance = variance[t] = take(f)};
        y = forward(isa, s, x, w, &e, THREADS[2 * t]);
    }
    expect_same_bits("mean by threads", s, mean[0], mean[1], f);
    expect_same_bits("variance by threads", s, variance[0], variance[1], f);
    const adder_epilogue none = {0};
    expect_same_bits("y beside its moments", s, y, forward(isa, s, x, w, &none, 1), n);
    double *exact = doubles(n), *m = doubles(f), *v = doubles(f), *bm = doubles(f), *bv = doubles(f);
    for (size_t i = 0; i < n; i++) exact[i] = y[i];
    reference_moments(s->N, s->F, positions, exact, m, v);
    for (size_t i = 0; i < f; i++) { /* a sum in fp32 around a mean that is itself rounded; never E[y²] − E[y]² */
        const double terms = 4 + sqrt((double)(s->N * positions)), u = 1.0 / (1 << 24);
        bm[i] = 4 * u * terms * (fabs(m[i]) + sqrt(v[i]));
        bv[i] = 8 * u * terms * v[i] + 4 * bm[i] * bm[i] + 8 * u * fabs(m[i]) * sqrt(v[i]);
    }
    expect_close("mean", s, mean[0], m, bm, f);
    expect_close("variance", s, variance[0], v, bv, f);
    free(exact), free(m), free(v), free(bm), free(bv);
}

/* A run of two steps, the layer and the addition of its own output, for parts of the images: the bits of forward. */
static void check_run(int isa, const adder_shape *s, const float *x, const float *w) {
    const size_t n = outputs(s), each = n / (size_t)(s->N ? s->N : 1);
    const float *scale = take_random((size_t)s->F, 1), *shift = take_random((size_t)s->F, 5);
    const adder_epilogue e = {.scale = scale, .shift = shift, .relu = 1};
    const float *z = forward(isa, s, x, w, &e, 1);
    float *packed = take((size_t)adder_packed_size(isa, s)), *want = take(n);
    adder_pack(isa, s, w, packed);
    seal(packed);
    for (size_t i = 0; i < n; i++) want[i] = z[i] + z[i];
    const adder_shape added = {.C = s->F, .H = s->OH, .W = s->OW};
    const adder_step steps[] = {
        {ADDER_LAYER, *s, ADDER_INPUT, ADDER_NONE, 0, packed, scale, shift, 1},
        {ADDER_ADD, added, 0, 0, ADDER_OUTPUT, NULL, NULL, NULL, 0},
    };
    for (int64_t images = 1; images < 4; images++)
        for (int outside = 1; outside < 4; outside += 2) {
            float *y = take(n), *arena = take((size_t)outside * (size_t)images * each);
            const adder_memory memory = {x, s->C * s->H * s->W, y, (int64_t)each, arena, (int64_t)each};
            if (adder_evaluate(isa, steps, 2, s->N, images, &memory, outside, 4 - outside)) fail("adder_evaluate found no memory");
            expect_same_bits("y of a run", s, want, y, n);
        }
}

static void check_grad_input(int isa, const adder_shape *s, const float *x, const float *w) {
    const size_t n = inputs(s);
    const float *grad = take_random(outputs(s), 1);
    double *want = doubles(n), *bound = doubles(n);
    reference_grad_input(s, grad, x, w, want, bound);
    const float *first = NULL;
    for (int t = 0; t < RUNS; t++) {
        float *grad_x = take(n);
        if (adder_grad_input(isa, s, grad, x, w, grad_x, THREADS[t])) fail("adder_grad_input found no memory");
        if (!first) expect_close("grad_x", s, first = grad_x, want, bound, n);
        expect_same_bits("grad_x by threads", s, first, grad_x, n);
    }
    free(want);
    free(bound);
}

/* Eq. 5, and eq. 4 with `sign`. */
static void check_grad_weight(int isa, const adder_shape *s, const float *x, const float *w, int sign) {
    const size_t n = weights(s);
    const float *grad = take_random(outputs(s), 1);
    double *want = doubles(n), *bound = doubles(n);
    reference_grad_weight(s, grad, x, w, sign, want, bound);
    const float *first = NULL;
    for (int t = 0; t < RUNS; t++) {
        float *grad_w = take(n);
        if (adder_grad_weight(isa, s, grad, x, w, grad_w, sign, THREADS[t])) fail("adder_grad_weight found no memory");
        if (!first) expect_close("grad_weight", s, first = grad_w, want, bound, n);
        expect_same_bits("grad_weight by threads", s, first, grad_w, n);
    }
    free(want);
    free(bound);
}

/* One NaN in the input is in exactly the outputs whose window has it; the others keep their bits. */
static void check_nan(int isa, const adder_shape *s, const float *x, const float *w) {
    if (!outputs(s)) return;
    const adder_epilogue none = {0};
    const float *clean = forward(isa, s, x, w, &none, 1);
    float *poisoned = take(inputs(s));
    memcpy(poisoned, x, inputs(s) * sizeof *x);
    poisoned[next_random() % inputs(s)] = NAN;
    seal(poisoned);
    double *want = doubles(outputs(s)), *bound = doubles(outputs(s));
    reference_forward(s, poisoned, w, want, bound);
    const float *y = forward(isa, s, poisoned, w, &none, 2);
    for (size_t i = 0; i < outputs(s); i++)
        if (isnan(want[i]) ? !isnan(y[i]) : memcmp(y + i, clean + i, sizeof *y))
            fail("a NaN in the input: y[%zu] is %g, without it %g", i, (double)y[i], (double)clean[i]);
    free(want);
    free(bound);
}

/* Y is exactly 0 where the window equals the filter. */
static void check_zero(int isa, int64_t channels, int64_t size) {
    const adder_shape s = {.N = 1, .C = channels, .H = size, .W = size, .F = 1, .KH = size, .KW = size, .OH = 1,
                           .OW = 1, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .groups = 1};
    const float *x = take_random(inputs(&s), 1);
    const adder_epilogue none = {0};
    const float *y = forward(isa, &s, x, x, &none, 1);
    if (y[0] != 0) fail("X = F with %lld channels, window %lld: Y is %g", (long long)channels, (long long)size, (double)y[0]);
    release_all();
}

static void check_shape(int isa, const adder_shape *s) {
    const float *x = take_random(inputs(s), 1), *w = take_random(weights(s), 1);
    now("forward", s);
    check_forward(isa, s, x, w);
    now("grad_input", s);
    check_grad_input(isa, s, x, w);
    now("grad_weight", s);
    check_grad_weight(isa, s, x, w, 0);
    now("grad_weight by eq. 4", s);
    check_grad_weight(isa, s, x, w, 1);
    now("forward with an epilogue", s);
    check_affine(isa, s, x, w);
    now("run", s);
    check_run(isa, s, x, w);
    now("forward with moments", s);
    check_moments(isa, s, x, w);
    now("forward with a NaN", s);
    check_nan(isa, s, x, w);
    release_all();
}

static void check_pointwise(int isa) {
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 1}, {1, 3, 15}, {2, 7, 16}, {2, 2, 17}, {5, 6, 49}, {3, 16, 100},
                                       {2, 3, 1024}, {0, 4, 9}, {3, 7, 15001}}; /* the last one is worth several threads */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_normalize(isa, sizes[i][0], sizes[i][1], sizes[i][2]);
        check_normalize_backward(isa, sizes[i][0], sizes[i][1], sizes[i][2]);
    }
    static const int64_t images[][4] = {{1, 1, 2, 2}, {2, 3, 3, 3}, {1, 2, 5, 8}, {2, 3, 4, 31}, {3, 2, 7, 32}, {1, 3, 2, 33},
                                        {2, 6, 28, 28}, {0, 3, 4, 4}, {5, 7, 60, 67}}; /* the last one as above */
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        check_pool(isa, images[i][0], images[i][1], images[i][2], images[i][3]);
    static const int64_t windows[][3] = {{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {5, 4, 2}, {2, 1, 1}, {2, 3, 0}};
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        for (size_t k = 0; k < sizeof windows / sizeof *windows; k++) {
            const int64_t *n = images[i], *w = windows[k], H = n[2], W = n[3], size = w[0], stride = w[1], pad = w[2];
            const adder_shape s = {.N = n[0], .C = n[1], .H = H, .W = W, .F = n[1], .KH = size, .KW = size,
                                   .OH = (H + 2 * pad - size) / stride + 1, .OW = (W + 2 * pad - size) / stride + 1,
                                   .stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad, .dilation_h = 1,
                                   .dilation_w = 1, .groups = 1};
            if (H + 2 * pad >= size && W + 2 * pad >= size) check_max_pool(isa, &s);
        }
    for (int64_t size = 1; size < 40; size += 6) check_add(isa, 3, size);
}

int main(int count, char **arguments) {
    if (count != 4) fail("usage: driver <instruction set> <random cases> <seed>");
    int isa = 0;
    while (isa < adder_isa_count() && strcmp(adder_isa_name(isa), arguments[1])) isa++;
    if (isa == adder_isa_count() || !adder_isa_supported(isa)) {
        printf("%s is not here\n", arguments[1]);
        return 77;
    }
#ifdef ADDER_GUARD /* the sanitizers tell more by themselves */
    tell_on_crash();
#endif
    int cases = 0;
    for (int edge = 0; edge < 2; edge++) { /* the forbidden page behind every buffer, then in front of it */
        seed_random((unsigned)atoi(arguments[3]) + (unsigned)edge);
        guard_front(edge);
        adder_shape s;
        for (int index = 0; index < FIXED + atoi(arguments[2]); index++)
            if (next_shape(&s, index)) check_shape(isa, &s), cases++;
        for (int64_t channels = 1; channels < 70; channels += 17)
            for (int64_t size = 1; size < 6; size++) check_zero(isa, channels, size);
        check_pointwise(isa);
    }
    printf("%s: %d shapes, worst error %.2f of the bound, %ld blocks of scratch kept\n", arguments[1], cases,
           worst_error(), scratch_blocks());
    return 0;
}
