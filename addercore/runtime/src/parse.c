/* A file's bytes → operations and values. Nothing is believed: every number that is used is checked here. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum {
    HEADER = 64,
    ENTRY = 32,
    SECTIONS = 6,
    BEGIN = HEADER + SECTIONS * ENTRY,
    RECORD = 128,
    VALUE = 12,
    MOST_SIDE = 65535,
    MOST_VALUES = 4096,
    MOST_WINDOW = 1024,
    MOST_CODES = 1 << 28,
    MOST_MANIFEST = 1 << 24,
    MOST_OPS = 4096
};

typedef struct {
    const uint8_t *at;
    uint64_t size;
} part_t;

typedef struct {
    adder_model *model;
    part_t parts[SECTIONS]; /* manifest, names, tables, values, operations, data */
    char *why;
    size_t room;
} reader;

#define REFUSE(...) return complain(r->why, r->room, __VA_ARGS__)

static int read_header(reader *r) {
    adder_model *m = r->model;
    const uint8_t *h = m->bytes;
    if (m->size < BEGIN) REFUSE("%zu bytes are too few for a model file", m->size);
    if (memcmp(h, "ADDER\r\n\x1a", 8)) REFUSE("no adder model: it does not begin with the format's signature");
    if (read32(h + 8) != 1) REFUSE("format version %u; this library reads version 1", read32(h + 8));
    if (read32(h + 12) != BEGIN || read32(h + 24) != SECTIONS || read64(h + 56))
        REFUSE("the header is none of version 1: the file is damaged");
    if (read64(h + 16) != m->size)
        REFUSE("the file has %zu bytes instead of %llu: it was cut", m->size, (unsigned long long)read64(h + 16));
    uint64_t least = BEGIN;
    for (int i = 0; i < SECTIONS; i++) {
        const uint8_t *entry = h + HEADER + i * ENTRY;
        uint64_t offset = read64(entry + 8), size = read64(entry + 16);
        if (read32(entry) != (uint32_t)i + 1 || read64(entry + 24) || offset % ALIGN || offset < least ||
            offset > m->size || size > m->size - offset)
            REFUSE("section %d lies outside of its place: the file is damaged", i + 1);
        r->parts[i] = (part_t){h + offset, size};
        least = offset + size;
    }
    m->channels = read32(h + 32), m->height = read32(h + 36), m->width = read32(h + 40), m->classes = read32(h + 44);
    m->values_count = read32(h + 48), m->ops_count = read32(h + 52);
    return 0;
}

static int check_sizes(reader *r) {
    adder_model *m = r->model;
    if (m->values_count < 1 || m->values_count > MOST_VALUES || m->ops_count < 1 || m->ops_count > MOST_OPS)
        REFUSE("%u values and %u operations are no network", m->values_count, m->ops_count);
    if (r->parts[3].size != (uint64_t)m->values_count * VALUE || r->parts[4].size != (uint64_t)m->ops_count * RECORD ||
        r->parts[2].size != (uint64_t)m->channels * LEVELS || r->parts[0].size > MOST_MANIFEST)
        REFUSE("the sections' sizes do not fit the header: the file is damaged");
    m->manifest = r->parts[0].at, m->manifest_bytes = r->parts[0].size;
    m->tables = r->parts[2].at;
    return 0;
}

static int read_values(reader *r) {
    adder_model *m = r->model;
    for (uint32_t i = 0; i < m->values_count; i++) {
        const uint8_t *at = r->parts[3].at + (size_t)i * VALUE;
        uint32_t c = read32(at), h = read32(at + 4), w = read32(at + 8);
        if (c - 1 >= MOST_SIDE || h - 1 >= MOST_SIDE || w - 1 >= MOST_SIDE || (uint64_t)c * h > MOST_CODES ||
            (uint64_t)c * h * w > MOST_CODES)
            REFUSE("value %u has the shape (%u, %u, %u)", i, c, h, w);
        m->values[i] =
            (value_t){.channels = c, .height = h, .width = w, .blocks = blocks_of(c), .in_place = -1, .first = UINT32_MAX};
    }
    if (m->values[0].channels != m->channels || m->values[0].height != m->height || m->values[0].width != m->width)
        REFUSE("value 0 has not the image's shape");
    m->values[0].first = 0;
    return 0;
}

/* `count` bytes of the section of arrays at the offset that stands at `p`; NULL where they are not inside. */
static const uint8_t *array(reader *r, uint64_t offset, uint64_t size) {
    part_t data = r->parts[5];
    if (offset % ALIGN || offset > data.size || size > data.size - offset) return NULL;
    return data.at + offset;
}

static int pair_in(uint32_t a, uint32_t b, uint32_t least) {
    return a >= least && a <= MOST_WINDOW && b >= least && b <= MOST_WINDOW;
}

static int read_window(reader *r, op_t *op, const uint8_t *at, uint32_t number) {
    uint32_t *pairs[] = {&op->kernel_h, &op->kernel_w, &op->stride_h,   &op->stride_w,
                         &op->pad_h,    &op->pad_w,    &op->dilation_h, &op->dilation_w};
    for (int i = 0; i < 8; i++) *pairs[i] = read16(at + 16 + 2 * i);
    if (!pair_in(op->kernel_h, op->kernel_w, 1) || !pair_in(op->stride_h, op->stride_w, 1) ||
        !pair_in(op->pad_h, op->pad_w, 0) || !pair_in(op->dilation_h, op->dilation_w, 1))
        REFUSE("operation %u has a kernel, stride, padding or dilation outside of 1…%d", number, MOST_WINDOW);
    const value_t *source = &r->model->values[op->source];
    if (op->kind == AVG_POOL || op->kind == ADD) {
        op->out_h = op->kind == ADD ? source->height : 1;
        op->out_w = op->kind == ADD ? source->width : 1;
        return 0;
    }
    uint32_t span_h = (op->kernel_h - 1) * op->dilation_h + 1, span_w = (op->kernel_w - 1) * op->dilation_w + 1;
    uint32_t high = source->height + 2 * op->pad_h, wide = source->width + 2 * op->pad_w;
    if (high < span_h || wide < span_w) REFUSE("operation %u has a window larger than its padded source", number);
    op->out_h = (high - span_h) / op->stride_h + 1;
    op->out_w = (wide - span_w) / op->stride_w + 1;
    if (op->kind == MAX_POOL && (op->kernel_h != op->kernel_w || op->stride_h != op->stride_w ||
                                 op->pad_h != op->pad_w || op->pad_h >= op->kernel_h))
        REFUSE("operation %u pools a window that is no square, or only padding", number);
    return 0;
}

static int check_numbers(reader *r, op_t *op, uint32_t number) {
    adder_model *m = r->model;
    int last = number == m->ops_count - 1;
    if (op->kind < ADDER || op->kind > ADD) REFUSE("operation %u has the unknown kind %u", number, op->kind);
    uint32_t count = m->values_count;
    if ((uint32_t)op->source >= count || m->values[op->source].first == UINT32_MAX)
        REFUSE("operation %u reads value %d, which has not been written", number, op->source);
    if (op->residual != -1 && ((uint32_t)op->residual >= count || m->values[op->residual].first == UINT32_MAX))
        REFUSE("operation %u adds value %d, which has not been written", number, op->residual);
    if (op->kind == ADD ? op->residual == -1 : op->kind >= MAX_POOL && op->residual != -1)
        REFUSE("operation %u has a residual too many or too few", number);
    if ((op->target == -1) != last || (last && op->kind > DOT))
        REFUSE("operation %u: the last one, an Adder or Dot, and no other, gives scores", number);
    if (!last && ((uint32_t)op->target >= count || m->values[op->target].first != UINT32_MAX))
        REFUSE("operation %u writes value %d, which does not exist or is written already", number, op->target);
    return 0;
}

static int check_shape(reader *r, op_t *op, uint32_t number) {
    adder_model *m = r->model;
    const value_t *source = &m->values[op->source];
    uint32_t channels = op->kind <= DOT ? op->filters : source->channels;
    if (op->target == -1) {
        if (op->out_h != 1 || op->out_w != 1 || channels != m->classes)
            REFUSE("operation %u gives no %u scores", number, m->classes);
    } else {
        value_t *target = &m->values[op->target];
        if (target->channels != channels || target->height != op->out_h || target->width != op->out_w)
            REFUSE("operation %u gives (%u, %u, %u), which value %d is not", number, channels, op->out_h, op->out_w,
                   op->target);
        target->first = number;
    }
    if (op->residual >= 0) {
        const value_t *added = &m->values[op->residual];
        if (added->channels != channels || added->height != op->out_h || added->width != op->out_w)
            REFUSE("operation %u adds a value of another shape", number);
    }
    return 0;
}

static uint32_t steps_of(const op_t *op, uint32_t channels) {
    if (op->layout == BLOCKS) return blocks_of(channels) * op->kernel_h * op->kernel_w;
    uint32_t run = op->kernel_w * channels, rest = run % LANE;
    uint32_t shared = rest ? LANE / rest : 1;
    return op->kernel_h * (run / LANE) + (rest ? (op->kernel_h + shared - 1) / shared : 0);
}

static int read_layer(reader *r, op_t *op, const uint8_t *at, uint32_t number) {
    uint32_t channels = r->model->values[op->source].channels;
    if (op->filters - 1 >= MOST_SIDE || op->groups < 1 || channels % op->groups || op->filters % op->groups)
        REFUSE("operation %u has %u filters and %u groups for %u channels", number, op->filters, op->groups, channels);
    uint64_t terms = (uint64_t)(channels / op->groups) * op->kernel_h * op->kernel_w;
    if (terms * (op->kind == ADDER ? 255 : 255 * 128) > INT32_MAX)
        REFUSE("operation %u could overflow its 32-bit sums", number);
    if (op->layout > TAPS || (op->layout == TAPS && (op->source || channels > 4 || op->groups > 1 ||
                                                     op->dilation_w > 1 || op->clip_groups)))
        REFUSE("operation %u has its weights in an impossible layout", number);
    op->steps = steps_of(op, channels / op->groups);
    if (op->layout == TAPS && op->steps > 4096 / LANE) REFUSE("operation %u has its weights in an impossible layout", number);
    op->weights = array(r, read64(at + 48), (uint64_t)blocks_of(op->filters) * op->steps * LANE * LANE);
    if (!op->weights) REFUSE("the weights of operation %u lie outside of the file", number);
    return 0;
}

static uint64_t aligned(uint64_t size) { return (size + ALIGN - 1) / ALIGN * ALIGN; }

static int read_clipping(reader *r, op_t *op, const uint8_t *at, uint32_t number) {
    op->clip_groups = read32(at + 80);
    if (!op->clip_groups) return 0;
    uint64_t full = (uint64_t)blocks_of(op->filters) * LANE, tables = (uint64_t)op->clip_groups * LEVELS;
    if (op->kind != ADDER || op->clip_groups > MOST_CLIP_GROUPS || op->filters > MOST_SIDE)
        REFUSE("operation %u clips in %u groups", number, op->clip_groups);
    uint64_t first = read64(at + 72);
    uint64_t second = aligned(full), third = second + tables, fourth = third + 2 * tables;
    op->group = array(r, first, fourth + 4 * full);
    if (!op->group) REFUSE("the clipping of operation %u lies outside of the file", number);
    op->tables = op->group + second, op->excess = op->group + third, op->excess_multiplier = op->group + fourth;
    for (uint32_t f = 0; f < op->filters; f++)
        if (op->group[f] >= op->clip_groups) REFUSE("operation %u clips by a group that it does not have", number);
    return 0;
}

static uint64_t magnitude(int64_t value) { return value < 0 ? -(uint64_t)value : (uint64_t)value; }

/* terms · factor + total, INT64_MAX + 1 where that is larger. */
static uint64_t more(uint64_t total, uint64_t terms, uint64_t factor) {
    uint64_t product;
    const uint64_t most = (uint64_t)INT64_MAX + 1;
    if (__builtin_mul_overflow(terms, factor, &product) || __builtin_add_overflow(total, product, &total)) return most;
    return total > most ? most : total;
}

static int check_range(reader *r, op_t *op, uint32_t outputs, uint32_t number) {
    const value_t *source = &r->model->values[op->source];
    uint64_t terms = 1, each = 255;
    if (op->kind <= DOT) terms = (uint64_t)(source->channels / op->groups) * op->kernel_h * op->kernel_w;
    if (op->kind == AVG_POOL) terms = (uint64_t)source->height * source->width;
    if (op->kind == DOT) each = 255 * 128;
    if (terms * each > INT32_MAX) REFUSE("operation %u could overflow its 32-bit sums", number);
    uint64_t multiplier = 0, bias = 0, excess = 0, lost = 0;
    for (uint32_t i = 0; i < outputs; i++) {
        uint64_t m = magnitude((int32_t)read32(op->multiplier + 4 * (size_t)i));
        uint64_t b = magnitude((int64_t)read64(op->bias + 8 * (size_t)i));
        multiplier = m > multiplier ? m : multiplier;
        bias = b > bias ? b : bias;
        if (!op->clip_groups) continue;
        uint64_t e = magnitude((int32_t)read32(op->excess_multiplier + 4 * (size_t)i));
        excess = e > excess ? e : excess;
    }
    for (uint32_t i = 0; i < op->clip_groups * LEVELS; i++) {
        uint64_t e = read16(op->excess + 2 * (size_t)i);
        lost = e > lost ? e : lost;
    }
    uint64_t total = more(bias, terms * each, multiplier);
    total = more(total, 255, magnitude(op->residual_multiplier));
    total = more(total, terms * lost, excess);
    total = more(total, 1, (uint64_t)1 << (op->shift - 1));
    if (total > INT64_MAX) REFUSE("operation %u could overflow its 64-bit totals", number);
    op->most_total = total;
    return 0;
}

static int read_rescale(reader *r, op_t *op, const uint8_t *at, uint32_t number) {
    uint32_t outputs = op->kind <= DOT ? op->filters : r->model->values[op->source].channels;
    uint64_t full = (uint64_t)blocks_of(outputs) * LANE;
    op->multiplier = array(r, read64(at + 56), 4 * full);
    op->bias = array(r, read64(at + 64), 8 * full);
    if (!op->multiplier || !op->bias) REFUSE("the multipliers of operation %u lie outside of the file", number);
    if (op->shift < 1 || op->shift > 62 || (op->target == -1) != (op->top == 0))
        REFUSE("operation %u shifts by %u and clamps at %u", number, op->shift, op->top);
    if (op->residual < 0 && op->residual_multiplier) REFUSE("operation %u multiplies no residual", number);
    for (uint64_t i = outputs; i < full; i++)
        if (read32(op->multiplier + 4 * i) || read64(op->bias + 8 * i))
            REFUSE("operation %u has a multiplier of a filter that does not exist", number);
    return check_range(r, op, outputs, number);
}

static void count_terms(adder_model *m, op_t *op) {
    const value_t *source = &m->values[op->source];
    uint64_t window = (uint64_t)op->kernel_h * op->kernel_w; /* at most 2^20, positions at most 2^32 */
    uint64_t outputs = (uint64_t)op->out_h * op->out_w, channels = source->channels;
    if (op->kind <= DOT) channels = (uint64_t)op->filters * (channels / op->groups);
    if (op->kind == AVG_POOL) outputs = (uint64_t)source->height * source->width;
    if (__builtin_mul_overflow(window * channels, outputs, &op->terms)) op->terms = UINT64_MAX;
    if (__builtin_add_overflow(m->terms, op->terms, &m->terms)) m->terms = UINT64_MAX;
}

static int read_operation(reader *r, uint32_t number) {
    const uint8_t *at = r->parts[4].at + (size_t)number * RECORD;
    op_t *op = &r->model->ops[number];
    *op = (op_t){.kind = read32(at),
                 .source = (int32_t)read32(at + 4),
                 .target = (int32_t)read32(at + 8),
                 .residual = (int32_t)read32(at + 12),
                 .groups = read32(at + 32),
                 .filters = read32(at + 36),
                 .pad = at[40],
                 .top = at[41],
                 .shift = at[42],
                 .layout = at[43],
                 .residual_multiplier = (int32_t)read32(at + 44)};
    if (check_numbers(r, op, number) || read_window(r, op, at, number)) return 1;
    if (op->kind <= DOT && (read_clipping(r, op, at, number) || read_layer(r, op, at, number))) return 1;
    if (op->kind != MAX_POOL && read_rescale(r, op, at, number)) return 1;
    uint64_t name = read32(at + 84), length = read32(at + 88);
    if (name + length > r->parts[1].size) REFUSE("the name of operation %u lies outside of the names", number);
    for (int i = 92; i < RECORD; i++)
        if (at[i]) REFUSE("operation %u has bytes that this version does not know", number);
    count_terms(r->model, op);
    return check_shape(r, op, number);
}

/* The image is held in one form: all of its readers have the layout TAPS, or none. */
static int check_layouts(reader *r) {
    adder_model *m = r->model;
    uint32_t packed = 0, readers = 0;
    for (uint32_t i = 0; i < m->ops_count; i++) {
        const op_t *op = &m->ops[i];
        readers += (op->source == 0) + (op->residual == 0);
        packed += op->kind <= DOT && op->layout == TAPS;
    }
    if (packed && packed != readers) REFUSE("the image is read in two layouts");
    m->values[0].tight = packed > 0;
    for (uint32_t i = 0; i < m->values_count; i++)
        if (m->values[i].first == UINT32_MAX) REFUSE("value %u is written by no operation", i);
    return 0;
}

int parse(adder_model *model, char *why, size_t room) {
    reader reading = {.model = model, .why = why, .room = room}, *r = &reading;
    const union {
        uint16_t word;
        uint8_t bytes[2];
    } order = {1};
    if (!order.bytes[0]) REFUSE("this processor is big-endian, and the format is not");
    if (read_header(r) || check_sizes(r)) return 1;
    size_t bytes = model->values_count * sizeof(value_t) + model->ops_count * sizeof(op_t);
    model->owned = malloc(bytes);
    if (!model->owned) REFUSE("no memory for the model");
    model->owned_bytes = bytes;
    model->ops = model->owned;
    model->values = (value_t *)(model->ops + model->ops_count);
    if (read_values(r)) return 1;
    for (uint32_t i = 0; i < model->ops_count; i++)
        if (read_operation(r, i)) return 1;
    return check_layouts(r);
}
