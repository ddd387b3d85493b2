/* Before the first run: margins, what the kernels can do, tables of offsets and multipliers, and where values lie. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static int is_layer(const op_t *op) { return op->kind <= DOT; }

/* Whether totals can be shifted up to the shift that the kernels need: (t · 2^k) >> (s + k) = t >> s. */
static int has_room(const adder_model *m, const op_t *op) {
    int up = m->unit->least_shift - op->shift;
    return op->target == -1 || up <= 0 || op->most_total <= (uint64_t)INT64_MAX >> up;
}

static int can_be_fast(const adder_model *m, const op_t *op) {
    if (!is_layer(op) || op->clip_groups) return 0;
    uint32_t channels = m->values[op->source].channels / op->groups, filters = op->filters / op->groups;
    if (op->groups > 1 && (channels % LANE || filters % LANE)) return 0;
    return has_room(m, op);
}

static int can_be_depthwise(const adder_model *m, const op_t *op) {
    return is_layer(op) && !op->clip_groups && op->target >= 0 && op->groups > 1 && op->filters == op->groups &&
           m->values[op->source].channels == op->groups && op->steps * LANE <= SCRATCH && has_room(m, op);
}

/* Whether the sums of all groups and a window's lanes have room in the scratch memory. */
static int can_be_clipped(const op_t *op) {
    size_t sums = 4 * (size_t)blocks_of(op->filters) * LANE * op->clip_groups;
    return is_layer(op) && op->clip_groups && op->groups == 1 && sums + (size_t)op->steps * LANE <= SCRATCH;
}

/* A value's margins hold one code: that of its first reader with padding. A reader with another is not fast. */
static void set_margins(adder_model *m) {
    for (uint32_t i = 0; i < m->ops_count; i++) {
        op_t *op = &m->ops[i];
        op->depthwise = can_be_depthwise(m, op);
        op->fast = op->depthwise || can_be_fast(m, op);
        op->clipped = can_be_clipped(op);
        value_t *source = &m->values[op->source];
        if (!op->fast || !(op->pad_h || op->pad_w)) continue;
        if (source->padded && source->pad != op->pad) {
            op->fast = 0;
            continue;
        }
        source->padded = 1, source->pad = op->pad;
        if (op->pad_h > source->margin_v) source->margin_v = op->pad_h;
        if (op->pad_w > source->margin_h) source->margin_h = op->pad_w;
    }
}

static void set_lifetimes(adder_model *m) {
    for (uint32_t i = 0; i < m->ops_count; i++) {
        const op_t *op = &m->ops[i];
        m->values[op->source].last = i;
        if (op->residual >= 0) m->values[op->residual].last = i;
        if (op->target >= 0) m->values[op->target].last = i; /* where nobody reads it */
    }
}

/* A sum goes where its residual was, if nobody reads that any more. Both then have the wider margins. */
static void set_in_place(adder_model *m) {
    for (uint32_t i = 0; i < m->ops_count; i++) {
        const op_t *op = &m->ops[i];
        if (op->residual < 0 || op->target < 0 || op->residual == op->source) continue;
        const value_t *added = &m->values[op->residual];
        if (added->last == i && !added->tight) m->values[op->target].in_place = op->residual;
    }
    for (int changed = 1; changed;) {
        changed = 0;
        for (uint32_t i = 0; i < m->values_count; i++) {
            value_t *a = &m->values[i];
            if (a->in_place < 0) continue;
            value_t *b = &m->values[a->in_place];
            if (a->margin_v == b->margin_v && a->margin_h == b->margin_h) continue;
            a->margin_v = b->margin_v = a->margin_v > b->margin_v ? a->margin_v : b->margin_v;
            a->margin_h = b->margin_h = a->margin_h > b->margin_h ? a->margin_h : b->margin_h;
            changed = 1;
        }
    }
}

static int set_sizes(adder_model *m) {
    for (uint32_t i = 0; i < m->values_count; i++) {
        value_t *v = &m->values[i];
        v->cell = v->tight ? v->channels : CELL;
        uint64_t row = (uint64_t)(v->width + 2 * v->margin_h) * v->cell;
        uint64_t plane = row * (v->height + 2 * v->margin_v), bytes = plane * (v->tight ? 1 : v->blocks);
        if (bytes > INT32_MAX / 2) return 1;
        v->row = (uint32_t)row, v->plane = (uint32_t)plane;
        v->bytes = (bytes + CELL + ALIGN - 1) / ALIGN * ALIGN; /* a lane of a tight value may be read 7 bytes too far */
    }
    return 0;
}

static uint32_t root_of(const adder_model *m, uint32_t value) {
    while (m->values[value].in_place >= 0) value = (uint32_t)m->values[value].in_place;
    return value;
}

/* Values in descending size, each at the lowest place that no value holds that is alive at the same time. */
static int place_values(adder_model *m) {
    uint32_t count = m->values_count, placed = 0;
    uint32_t *order = malloc(2 * (size_t)count * sizeof *order), *near = order ? order + count : NULL;
    if (!order) return 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t root = root_of(m, i);
        if (m->values[root].last < m->values[i].last) m->values[root].last = m->values[i].last;
    }
    for (uint32_t done = 0; done < count; done++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < count; i++) /* `padded` bit 1: placed */
            if (m->values[i].in_place < 0 && !(m->values[i].padded & 2) &&
                (best == UINT32_MAX || m->values[i].bytes > m->values[best].bytes))
                best = i;
        if (best == UINT32_MAX) break;
        value_t *v = &m->values[best];
        uint32_t neighbours = 0;
        for (uint32_t i = 0; i < placed; i++) {
            const value_t *other = &m->values[order[i]];
            if (other->first > v->last || v->first > other->last) continue;
            uint32_t at = neighbours++;
            for (; at && m->values[near[at - 1]].offset > other->offset; at--) near[at] = near[at - 1];
            near[at] = order[i];
        }
        size_t at = 0;
        for (uint32_t i = 0; i < neighbours; i++) {
            const value_t *other = &m->values[near[i]];
            if (other->offset >= at + v->bytes) break;
            if (other->offset + other->bytes > at) at = other->offset + other->bytes;
        }
        v->offset = at;
        v->padded |= 2;
        if (at + v->bytes > m->arena) m->arena = at + v->bytes;
        order[placed++] = best;
    }
    free(order);
    for (uint32_t i = 0; i < count; i++) {
        m->values[i].offset = m->values[root_of(m, i)].offset;
        m->values[i].padded &= 1;
    }
    return 0;
}

static void fill_offsets(const adder_model *m, const op_t *op, int32_t *offsets) {
    const value_t *source = &m->values[op->source];
    if (op->layout == TAPS || op->clipped) { /* of a packed position */
        for (uint32_t i = 0; i < op->steps; i++) *offsets++ = (int32_t)i * LANE;
        return;
    }
    for (uint32_t block = 0; block < blocks_of(source->channels / op->groups); block++)
        for (uint32_t row = 0; row < op->kernel_h; row++)
            for (uint32_t column = 0; column < op->kernel_w; column++)
                *offsets++ = (int32_t)(block * source->plane + row * op->dilation_h * source->row +
                                       column * op->dilation_w * CELL);
}

static void fill_scales(const op_t *op, int64_t *multipliers, int64_t *biases) {
    int scores = op->target == -1;
    int64_t half = scores ? 0 : (int64_t)1 << (op->shift - 1);
    for (uint32_t f = 0; f < blocks_of(op->filters) * LANE; f++) {
        multipliers[f] = (int64_t)(int32_t)read32(op->multiplier + 4 * (size_t)f);
        biases[f] = (int64_t)read64(op->bias + 8 * (size_t)f) + half;
    }
}

/* Moves values and operations into one block with the tables of offsets and scales. */
static int add_tables(adder_model *m) {
    size_t begin = (m->owned_bytes + ALIGN - 1) / ALIGN * ALIGN, bytes = begin;
    for (uint32_t i = 0; i < m->ops_count; i++) {
        const op_t *op = &m->ops[i];
        if (op->fast || op->clipped)
            bytes += 16 * (size_t)blocks_of(op->filters) * LANE + (4 * (size_t)op->steps + 7) / 8 * 8;
    }
    uint8_t *owned = realloc(m->owned, bytes);
    if (!owned) return 1;
    m->owned = owned, m->owned_bytes = bytes;
    m->ops = (op_t *)(void *)owned;
    m->values = (value_t *)(m->ops + m->ops_count);
    uint8_t *at = owned + begin;
    for (uint32_t i = 0; i < m->ops_count; i++) {
        op_t *op = &m->ops[i];
        if (!op->fast && !op->clipped) continue;
        size_t full = blocks_of(op->filters) * LANE;
        int64_t *multipliers = (int64_t *)(void *)at, *biases = multipliers + full;
        int32_t *offsets = (int32_t *)(biases + full);
        fill_scales(op, multipliers, biases);
        fill_offsets(m, op, offsets);
        op->multipliers = multipliers, op->biases = biases, op->offsets = offsets;
        at = (uint8_t *)offsets + (4 * (size_t)op->steps + 7) / 8 * 8;
    }
    return 0;
}

static void count_slow_terms(adder_model *m) {
    for (uint32_t i = 0; i < m->ops_count; i++) {
        const op_t *op = &m->ops[i];
        if (!is_layer(op) || op->fast || op->clipped) continue;
        if (__builtin_add_overflow(m->slow_terms, op->terms, &m->slow_terms)) m->slow_terms = UINT64_MAX;
    }
}

int plan(adder_model *model, char *why, size_t room) {
    set_margins(model);
    count_slow_terms(model);
    set_lifetimes(model);
    set_in_place(model);
    if (set_sizes(model)) return complain(why, room, "a padded value has more than %d bytes", INT32_MAX / 2);
    if (place_values(model) || add_tables(model)) return complain(why, room, "no memory for the model");
    const op_t *last = &model->ops[model->ops_count - 1];
    model->scratch = SCRATCH + 4 * (size_t)blocks_of(last->filters) * LANE;
    return 0;
}
