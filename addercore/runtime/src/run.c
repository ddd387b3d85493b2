/* From pixels to scores: each operation in its turn, in the caller's workspace. */
#include <math.h>
#include <string.h>

#include "engine.h"

/* Pixels (C, H, W) → the codes of value 0. */
static void read_pixels(const adder_model *m, const uint8_t *pixels, uint8_t *arena) {
    const value_t *v = &m->values[0];
    for (uint32_t c = 0; c < v->channels; c++) {
        const uint8_t *table = m->tables + (size_t)c * LEVELS;
        for (uint32_t row = 0; row < v->height; row++) {
            uint8_t *at = arena + place(v, row, 0) + (v->tight ? c : (size_t)(c / LANE) * v->plane + c % LANE);
            for (uint32_t column = 0; column < v->width; column++, at += v->cell) *at = table[*pixels++];
        }
    }
    if (v->tight || v->channels % LANE == 0) return;
    uint32_t rest = v->channels % LANE;
    for (uint32_t row = 0; row < v->height; row++) {
        uint8_t *at = arena + place(v, row, 0) + (size_t)(v->blocks - 1) * v->plane;
        for (uint32_t column = 0; column < v->width; column++, at += CELL) memset(at + rest, 0, LANE - rest);
    }
}

static void fill_cells(uint8_t *at, size_t cells, uint64_t cell) {
    for (; cells; cells--, at += CELL) memcpy(at, &cell, CELL);
}

/* Writes the code that stands for 0 around a value; missing channels of the last block stay 0. */
static void fill_margins(const value_t *v, uint8_t *arena) {
    if (!v->margin_v && !v->margin_h) return;
    const size_t side = (size_t)v->margin_h * v->cell;
    for (uint32_t block = 0; block < (v->tight ? 1 : v->blocks); block++) {
        uint8_t *plane = arena + v->offset + (size_t)block * v->plane, codes[CELL] = {0};
        uint32_t channels = v->channels - block * LANE;
        memset(codes, v->pad, channels < LANE && !v->tight ? channels : CELL);
        uint64_t cell;
        memcpy(&cell, codes, CELL);
        for (uint32_t row = 0; row < v->height + 2 * v->margin_v; row++) {
            int outside = row < v->margin_v || row >= v->height + v->margin_v;
            uint8_t *at = plane + (size_t)row * v->row, *right = at + v->row - side;
            if (v->tight) {
                memset(at, v->pad, outside ? v->row : side);
                memset(right, v->pad, side);
            } else {
                fill_cells(at, outside ? v->row / CELL : v->margin_h, cell);
                if (!outside) fill_cells(right, v->margin_h, cell);
            }
        }
    }
}

static uint64_t load8(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* The taps of `columns` positions of a row, each in `steps` lanes (the order is that of the weights). */
static void pack_row(const op_t *op, const value_t *source, const uint8_t *x, uint32_t columns, uint8_t *packed) {
    const uint32_t run = op->kernel_w * source->channels, whole = run / LANE, rest = run % LANE;
    const size_t down = (size_t)op->dilation_h * source->row, along = (size_t)op->stride_w * source->channels;
    const size_t pitch = (size_t)op->steps * LANE;
    for (uint32_t r = 0; r < op->kernel_h; r++)
        for (uint32_t lane = 0; lane < whole; lane++, packed += LANE) {
            const uint8_t *from = x + r * down + lane * LANE;
            for (uint32_t i = 0; i < columns; i++) memcpy(packed + i * pitch, from + i * along, LANE);
        }
    if (!rest) return;
    const uint64_t mask = ~(uint64_t)0 >> (64 - 8 * rest);
    const uint32_t shared = LANE / rest;
    for (uint32_t first = 0; first < op->kernel_h; first += shared, packed += LANE) {
        const uint32_t rows = op->kernel_h - first < shared ? op->kernel_h - first : shared;
        const uint8_t *from = x + first * down + (size_t)whole * LANE;
        for (uint32_t i = 0; i < columns; i++) {
            uint64_t lane = 0;
            for (uint32_t r = 0; r < rows; r++) lane |= (load8(from + i * along + r * down) & mask) << (8 * rest * r);
            memcpy(packed + i * pitch, &lane, LANE);
        }
    }
}

typedef struct {
    const adder_model *model;
    const op_t *op;
    uint8_t *arena, *scratch;
    int32_t *sums;
} task_t;

static void compute(const task_t *t, const job_t *job) {
    (t->op->kind == ADDER ? t->model->unit->sad : t->model->unit->dot)(job);
}

/* Where the codes of position (row, column) go, and its residual comes from, from block `first` on. */
static void aim(const task_t *t, job_t *job, uint32_t first, uint32_t row, uint32_t column) {
    const op_t *op = t->op;
    if (op->target < 0) {
        job->sums = t->sums + first * LANE;
        return;
    }
    const value_t *target = &t->model->values[op->target];
    job->y = t->arena + place(target, row, column) + (size_t)first * target->plane;
    job->row_y = target->row, job->plane_y = target->plane;
    if (op->residual < 0) return;
    const value_t *added = &t->model->values[op->residual];
    job->residual = t->arena + place(added, row, column) + (size_t)first * added->plane;
    job->row_r = added->row, job->plane_r = added->plane;
}

/* The first tap of the first position. */
static const uint8_t *first_position(const task_t *t) {
    const op_t *op = t->op;
    const value_t *source = &t->model->values[op->source];
    return t->arena + source->offset + (size_t)(source->margin_v - op->pad_h) * source->row +
           (size_t)(source->margin_h - op->pad_w) * source->cell;
}

static job_t job_of(const task_t *t) {
    const op_t *op = t->op;
    return (job_t){.offsets = op->offsets,
                   .steps = (int32_t)op->steps,
                   .blocks = (int32_t)blocks_of(op->filters),
                   .weights = op->weights,
                   .multiplier = op->multipliers,
                   .bias = op->biases,
                   .residual_multiplier = op->residual_multiplier,
                   .shift = op->shift,
                   .top = op->top};
}

static void run_blocks(const task_t *t) {
    const op_t *op = t->op;
    const value_t *source = &t->model->values[op->source];
    const uint32_t each = blocks_of(op->filters) / op->groups, channels = blocks_of(source->channels) / op->groups;
    job_t job = job_of(t);
    job.blocks = (int32_t)each;
    job.rows = (int32_t)op->out_h, job.columns = (int32_t)op->out_w;
    job.step_x = (ptrdiff_t)op->stride_w * CELL, job.row_x = (ptrdiff_t)op->stride_h * source->row;
    const uint8_t *x = first_position(t);
    for (uint32_t group = 0; group < op->groups; group++) {
        job.x = x + (size_t)group * channels * source->plane;
        aim(t, &job, group * each, 0, 0);
        compute(t, &job);
        job.weights += (size_t)each * op->steps * LANE * LANE;
        job.multiplier += each * LANE, job.bias += each * LANE;
    }
}

static void run_depthwise(const task_t *t) {
    const op_t *op = t->op;
    const value_t *source = &t->model->values[op->source];
    job_t job = job_of(t);
    job.rows = (int32_t)op->out_h, job.columns = (int32_t)op->out_w;
    job.step_x = (ptrdiff_t)op->stride_w * CELL, job.row_x = (ptrdiff_t)op->stride_h * source->row;
    job.plane_x = source->plane, job.taps = t->scratch;
    job.x = first_position(t);
    aim(t, &job, 0, 0, 0);
    t->model->unit->depthwise(&job, op->kind == DOT);
}

static void run_taps(const task_t *t) {
    const op_t *op = t->op;
    const value_t *source = &t->model->values[op->source];
    const size_t pitch = (size_t)op->steps * LANE;
    const uint32_t room = (uint32_t)(SCRATCH / pitch);
    const uint32_t wide = op->out_w < room ? op->out_w : room, high = room / wide;
    const uint8_t *x = first_position(t);
    for (uint32_t row = 0; row < op->out_h; row += high)
        for (uint32_t column = 0; column < op->out_w; column += wide) {
            job_t job = job_of(t);
            job.rows = (int32_t)(op->out_h - row < high ? op->out_h - row : high);
            job.columns = (int32_t)(op->out_w - column < wide ? op->out_w - column : wide);
            job.x = t->scratch, job.step_x = (ptrdiff_t)pitch, job.row_x = (ptrdiff_t)pitch * job.columns;
            for (int32_t i = 0; i < job.rows; i++)
                pack_row(op, source,
                         x + (size_t)(row + (uint32_t)i) * op->stride_h * source->row +
                             (size_t)column * op->stride_w * source->channels,
                         (uint32_t)job.columns, t->scratch + i * job.row_x);
            aim(t, &job, 0, row, column);
            compute(t, &job);
        }
}

static void write_scores(const task_t *t, float *scores) {
    const op_t *op = t->op;
    for (uint32_t f = 0; f < op->filters; f++) {
        int64_t total = t->sums[f] * op->multipliers[f] + op->biases[f];
        if (op->residual >= 0) {
            const value_t *added = &t->model->values[op->residual];
            size_t at = place(added, 0, 0) + (added->tight ? f : (size_t)(f / LANE) * added->plane + f % LANE);
            total += (int64_t)t->arena[at] * op->residual_multiplier;
        }
        scores[f] = (float)ldexp((double)total, -op->shift);
    }
}

static void run_operation(const task_t *t, float *scores) {
    const op_t *op = t->op;
    if (op->kind == MAX_POOL)
        max_pool(t->model, op, t->arena);
    else if (op->kind == AVG_POOL)
        avg_pool(t->model, op, t->arena);
    else if (op->kind == ADD)
        add_values(t->model, op, t->arena);
    else if (op->clipped)
        run_clipped(t->model, op, t->arena, t->scratch, scores);
    else if (!op->fast)
        run_slowly(t->model, op, t->arena, scores);
    else {
        if (op->depthwise)
            run_depthwise(t);
        else if (op->layout == TAPS)
            run_taps(t);
        else
            run_blocks(t);
        if (op->target < 0) write_scores(t, scores);
    }
    if (op->target >= 0) fill_margins(&t->model->values[op->target], t->arena);
}

void adder_run(const adder_model *model, const uint8_t *pixels, size_t n, float *scores, void *workspace) {
    uint8_t *arena = (uint8_t *)(((uintptr_t)workspace + ALIGN - 1) / ALIGN * ALIGN);
    const size_t image = (size_t)model->channels * model->height * model->width;
    task_t task = {model, NULL, arena, arena + model->arena, NULL};
    task.sums = (int32_t *)(void *)(task.scratch + SCRATCH);
    for (; n; n--, pixels += image, scores += model->classes) {
        read_pixels(model, pixels, arena);
        fill_margins(&model->values[0], arena);
        for (uint32_t i = 0; i < model->ops_count; i++) {
            task.op = &model->ops[i];
            run_operation(&task, scores);
        }
    }
}
