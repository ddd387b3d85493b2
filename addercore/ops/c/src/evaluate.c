/* A network's evaluation as one call: the steps of a plan on buffers that the caller has made. */
#include <stddef.h>

#include "kernels.h"

/* What a part of the images reads and writes. */
typedef struct {
    const adder_memory *memory;
    int64_t first, images, room; /* its images; how many its arena has room for */
    float *arena;
} part;

static const float *source(const part *p, int64_t place) {
    if (place == ADDER_INPUT) return p->memory->x + p->first * p->memory->x_size;
    return place == ADDER_NONE ? NULL : p->arena + place * p->room;
}

static float *target(const part *p, int64_t place) {
    return place == ADDER_OUTPUT ? p->memory->y + p->first * p->memory->y_size : p->arena + place * p->room;
}

static int run_step(const adder_kernels *unit, const adder_step *step, const part *p, int threads) {
    adder_shape shape = step->shape;
    shape.N = p->images;
    const float *x = source(p, step->x), *residual = source(p, step->residual);
    float *y = target(p, step->y);
    if (step->kind == ADDER_MAX_POOL) return unit->max_pool(&shape, x, y, threads);
    if (step->kind == ADDER_ADD) {
        unit->add(shape.N * shape.C * shape.H * shape.W, x, residual, step->relu, y);
        return 0;
    }
    const adder_epilogue epilogue = {step->scale, step->shift, residual, step->relu, NULL, NULL};
    return unit->forward(&shape, x, NULL, step->packed, y, &epilogue, threads);
}

int adder_evaluate(int isa, const adder_step *steps, int64_t count, int64_t N, int64_t images, const adder_memory *memory,
              int threads_outside, int threads_inside) {
    const adder_kernels *unit = adder_unit(isa);
    int failed = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_outside) if (threads_outside > 1)
    for (int64_t first = 0; first < N; first += images) {
        part p = {memory, first, N - first < images ? N - first : images, images, memory->arena};
        p.arena += thread_here() * images * memory->arena_size;
        int status = 0;
        for (int64_t i = 0; i < count && !status; i++) status = run_step(unit, steps + i, &p, threads_inside);
        if (status) {
#pragma omp atomic write
            failed = status;
        }
    }
    return failed;
}
