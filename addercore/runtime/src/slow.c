/* What needs no speed, or has none to gain: means, additions of values, and layers of unusual form, element by
   element: groups of other than one or a multiple of 8 channels, two readers of a value that differ in its padding. */
#include <math.h>
#include <string.h>

#include "engine.h"

typedef struct {
    const adder_model *model;
    const op_t *op;
    const value_t *source, *added, *target;
    uint8_t *arena;
    float *scores;
} work_t;

static uint32_t weight_step(const op_t *op, uint32_t channels, uint32_t c, uint32_t row, uint32_t column,
                            uint32_t *lane) {
    if (op->layout == BLOCKS) {
        *lane = c % LANE;
        return (c / LANE * op->kernel_h + row) * op->kernel_w + column;
    }
    uint32_t run = op->kernel_w * channels, whole = run / LANE, rest = run % LANE, at = column * channels + c;
    if (at < whole * LANE) {
        *lane = at % LANE;
        return row * whole + at / LANE;
    }
    uint32_t shared = LANE / rest;
    *lane = row % shared * rest + at - whole * LANE;
    return op->kernel_h * whole + row / shared;
}

static uint8_t code_at(const work_t *w, const value_t *value, uint32_t c, uint32_t row, uint32_t column) {
    size_t at = place(value, row, column);
    return w->arena[value->tight ? at + c : at + (size_t)(c / LANE) * value->plane + c % LANE];
}

typedef struct {
    int64_t acc, excess;
} sums_t;

/* What one tap and channel adds. */
static void take(const work_t *w, uint32_t f, uint8_t x, uint8_t weight, sums_t *sums) {
    const op_t *op = w->op;
    if (op->kind == DOT) {
        sums->acc += (int64_t)x * (int8_t)weight;
        return;
    }
    if (op->clip_groups) {
        const size_t table = (size_t)op->group[f] * LEVELS + x;
        sums->excess += read16(op->excess + 2 * table);
        x = op->tables[table];
    }
    sums->acc += x > weight ? x - weight : weight - x;
}

static sums_t window_sums(const work_t *w, uint32_t f, uint32_t out_row, uint32_t out_column) {
    const op_t *op = w->op;
    const uint32_t channels = w->source->channels / op->groups, first = f / (op->filters / op->groups) * channels;
    const uint8_t *filter = op->weights + ((size_t)(f / LANE) * op->steps * LANE + f % LANE) * LANE;
    sums_t sums = {0, 0};
    for (uint32_t r = 0; r < op->kernel_h; r++)
        for (uint32_t q = 0; q < op->kernel_w; q++) {
            uint32_t row = out_row * op->stride_h + r * op->dilation_h - op->pad_h; /* huge where it is negative */
            uint32_t column = out_column * op->stride_w + q * op->dilation_w - op->pad_w;
            int inside = row < w->source->height && column < w->source->width;
            for (uint32_t c = 0; c < channels; c++) {
                uint32_t lane, step = weight_step(op, channels, c, r, q, &lane);
                uint8_t x = inside ? code_at(w, w->source, first + c, row, column) : op->pad;
                take(w, f, x, filter[(size_t)step * LANE * LANE + lane], &sums);
            }
        }
    return sums;
}

static int64_t total_of(const work_t *w, uint32_t f, uint32_t row, uint32_t column, sums_t sums) {
    const op_t *op = w->op;
    int64_t total = sums.acc * (int32_t)read32(op->multiplier + 4 * (size_t)f) + (int64_t)read64(op->bias + 8 * (size_t)f);
    if (op->clip_groups) total += sums.excess * (int32_t)read32(op->excess_multiplier + 4 * (size_t)f);
    if (w->added) total += (int64_t)code_at(w, w->added, f, row, column) * op->residual_multiplier;
    return total;
}

static void put(const work_t *w, uint32_t f, uint32_t row, uint32_t column, sums_t sums) {
    int64_t total = total_of(w, f, row, column, sums);
    if (!w->target) {
        w->scores[f] = (float)ldexp((double)total, -w->op->shift);
        return;
    }
    uint8_t *cell = w->arena + place(w->target, row, column) + (size_t)(f / LANE) * w->target->plane;
    cell[f % LANE] = code_of(total + ((int64_t)1 << (w->op->shift - 1)), w->op->shift, w->op->top);
}

static work_t work_of(const adder_model *model, const op_t *op, uint8_t *arena, float *scores) {
    const value_t *values = model->values;
    return (work_t){model, op, &values[op->source], op->residual < 0 ? NULL : &values[op->residual],
                    op->target < 0 ? NULL : &values[op->target], arena, scores};
}

/* Channels that fill up the last block are 0 in every value. */
static void clear_rest(const work_t *w) {
    uint32_t rest = w->target ? w->target->channels % LANE : 0;
    if (!rest) return;
    uint8_t *plane = w->arena + (size_t)(w->target->blocks - 1) * w->target->plane;
    for (uint32_t row = 0; row < w->target->height; row++)
        for (uint32_t column = 0; column < w->target->width; column++)
            memset(plane + place(w->target, row, column) + rest, 0, LANE - rest);
}

void run_slowly(const adder_model *model, const op_t *op, uint8_t *arena, float *scores) {
    work_t w = work_of(model, op, arena, scores);
    for (uint32_t f = 0; f < op->filters; f++)
        for (uint32_t row = 0; row < op->out_h; row++)
            for (uint32_t column = 0; column < op->out_w; column++)
                put(&w, f, row, column, window_sums(&w, f, row, column));
    clear_rest(&w);
}

/* One lane of a window as the group's table shows it; channels that do not exist are 0. Adds what the table clipped. */
static int64_t map_lane(const op_t *op, uint32_t group, const uint8_t *codes, uint32_t channels, uint8_t *lane) {
    const uint8_t *table = op->tables + (size_t)group * LEVELS, *excess = op->excess + 2 * (size_t)group * LEVELS;
    int64_t lost = 0;
    for (uint32_t c = 0; c < channels; c++) {
        lane[c] = table[codes[c]];
        lost += read16(excess + 2 * (size_t)codes[c]);
    }
    return lost;
}

/* A position's window as a group's table shows it, in `steps` lanes; what the table clipped. */
static int64_t map_window(const work_t *w, uint32_t group, uint32_t out_row, uint32_t out_column, uint8_t *lanes) {
    const op_t *op = w->op;
    uint8_t outside[CELL];
    int64_t lost = 0;
    memset(outside, op->pad, sizeof outside);
    memset(lanes, 0, (size_t)op->steps * LANE);
    for (uint32_t block = 0; block < w->source->blocks; block++) {
        const uint32_t left = w->source->channels - block * LANE;
        for (uint32_t r = 0; r < op->kernel_h; r++)
            for (uint32_t q = 0; q < op->kernel_w; q++, lanes += LANE) {
                uint32_t row = out_row * op->stride_h + r * op->dilation_h - op->pad_h; /* huge where it is negative */
                uint32_t column = out_column * op->stride_w + q * op->dilation_w - op->pad_w;
                const uint8_t *codes = outside;
                if (row < w->source->height && column < w->source->width)
                    codes = w->arena + place(w->source, row, column) + (size_t)block * w->source->plane;
                lost += map_lane(op, group, codes, left < LANE ? left : LANE, lanes);
            }
    }
    return lost;
}

/* Clipping: each position's window is mapped once for each group, and all filters take their distance to it. */
void run_clipped(const adder_model *model, const op_t *op, uint8_t *arena, uint8_t *scratch, float *scores) {
    work_t w = work_of(model, op, arena, scores);
    const size_t full = (size_t)blocks_of(op->filters) * LANE;
    int32_t *sums = (int32_t *)(void *)scratch;
    uint8_t *lanes = scratch + 4 * full * op->clip_groups;
    int64_t lost[MOST_CLIP_GROUPS];
    job_t job = {.x = lanes, .offsets = op->offsets, .steps = (int32_t)op->steps, .weights = op->weights};
    job.blocks = (int32_t)blocks_of(op->filters), job.rows = job.columns = 1, job.shift = 32;
    for (uint32_t row = 0; row < op->out_h; row++)
        for (uint32_t column = 0; column < op->out_w; column++) {
            for (uint32_t group = 0; group < op->clip_groups; group++) {
                lost[group] = map_window(&w, group, row, column, lanes);
                job.sums = sums + group * full;
                model->unit->sad(&job);
            }
            for (uint32_t f = 0; f < op->filters; f++)
                put(&w, f, row, column, (sums_t){sums[op->group[f] * full + f], lost[op->group[f]]});
        }
    clear_rest(&w);
}

void add_values(const adder_model *model, const op_t *op, uint8_t *arena) {
    work_t w = work_of(model, op, arena, NULL);
    for (uint32_t c = 0; c < w.source->channels; c++)
        for (uint32_t row = 0; row < op->out_h; row++)
            for (uint32_t column = 0; column < op->out_w; column++)
                put(&w, c, row, column, (sums_t){code_at(&w, w.source, c, row, column), 0});
    clear_rest(&w);
}

void avg_pool(const adder_model *model, const op_t *op, uint8_t *arena) {
    work_t w = work_of(model, op, arena, NULL);
    for (uint32_t block = 0; block < w.source->blocks; block++) {
        uint32_t sums[LANE] = {0};
        for (uint32_t row = 0; row < w.source->height; row++) {
            const uint8_t *cell = arena + place(w.source, row, 0) + (size_t)block * w.source->plane;
            for (uint32_t column = 0; column < w.source->width; column++, cell += CELL)
                for (int i = 0; i < LANE; i++) sums[i] += cell[i];
        }
        for (uint32_t i = 0; i < LANE && block * LANE + i < w.source->channels; i++)
            put(&w, block * LANE + i, 0, 0, (sums_t){sums[i], 0});
    }
    clear_rest(&w);
}
