/* What evaluation has beside layers: max pooling of any window, and additions. */
#include "check.h"

#include <math.h>

/* One step from the input to the output. */
static void run(int isa, const adder_step *step, int64_t N, const adder_memory *memory, int threads) {
    if (adder_evaluate(isa, step, 1, N, N ? N : 1, memory, 1, threads)) fail("adder_evaluate found no memory");
}

/* The first of a window's largest values, row by row; a NaN is larger than all. */
static float largest(const adder_shape *s, const float *plane, int64_t row, int64_t col) {
    float best = -INFINITY;
    for (int64_t r = 0; r < s->KH; r++)
        for (int64_t q = 0; q < s->KW; q++) {
            const int64_t h = row * s->stride_h - s->pad_h + r, w = col * s->stride_w - s->pad_w + q;
            if (h < 0 || w < 0 || h >= s->H || w >= s->W) continue;
            const float v = plane[h * s->W + w];
            if (v > best || isnan(v)) best = v;
        }
    return best;
}

void check_max_pool(int isa, const adder_shape *s) {
    const size_t n = (size_t)(s->N * s->C * s->H * s->W), few = (size_t)(s->N * s->C * s->OH * s->OW);
    const float *drawn = take_random(n, 1);
    float *x = take(n), *want = take(few);
    for (size_t i = 0; i < n; i++) x[i] = i % 5 ? drawn[i] : i % 2 ? 0.f : -0.f;
    if (n) x[next_random() % n] = NAN;
    seal(x);
    for (size_t i = 0; i < few; i++) {
        const int64_t at = (int64_t)i, positions = s->OH * s->OW;
        want[i] = largest(s, x + at / positions * s->H * s->W, at % positions / s->OW, at % s->OW);
    }
    now("max_pool", s);
    const adder_step step = {ADDER_MAX_POOL, *s, ADDER_INPUT, ADDER_NONE, ADDER_OUTPUT, NULL, NULL, NULL, 0};
    for (int threads = 1; threads < 4; threads++) {
        float *y = take(few);
        const adder_memory memory = {x, s->C * s->H * s->W, y, s->C * s->OH * s->OW, NULL, 0};
        run(isa, &step, s->N, &memory, threads);
        expect_same_bits("largest", s, want, y, few);
    }
    release_all();
}

/* x + x and act(x + x), of N images of `size` values. */
void check_add(int isa, int64_t N, int64_t size) {
    const adder_shape s = {.N = N, .C = size, .H = 1, .W = 1};
    const size_t n = (size_t)(N * size);
    const float *x = take_random(n, 1);
    now("add", &s);
    for (int relu = 0; relu < 2; relu++) {
        const adder_step step = {ADDER_ADD, s, ADDER_INPUT, ADDER_INPUT, ADDER_OUTPUT, NULL, NULL, NULL, relu};
        float *y = take(n), *want = take(n);
        const adder_memory memory = {x, size, y, size, NULL, 0};
        run(isa, &step, N, &memory, 1);
        for (size_t i = 0; i < n; i++) want[i] = relu && x[i] < 0 ? 0 : x[i] + x[i];
        expect_same_bits("sum", &s, want, y, n);
    }
    release_all();
}
