/* What the parts of the engine share: the network as it was opened, and the work that an instruction set is given. */
#ifndef ADDER_ENGINE_H
#define ADDER_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "adder_run.h"

enum { LANE = 8, CELL = 8, ALIGN = 64, LEVELS = 256, SCRATCH = 32768, MOST_CLIP_GROUPS = 64 };
enum { ADDER = 1, DOT = 2, MAX_POOL = 3, AVG_POOL = 4, ADD = 5 };
enum { BLOCKS = 0, TAPS = 1 };

/* A value in the workspace: [block of 8 channels][padded row][padded column][8 channels]. The image's codes, where all
   its readers have weights in the layout TAPS, are `tight`: [padded row][padded column][channels]. */
typedef struct {
    uint32_t channels, height, width, blocks;
    uint32_t margin_v, margin_h; /* rows above and below, columns left and right, that hold `pad` */
    uint32_t cell;               /* bytes of a position */
    uint32_t row, plane;         /* bytes of a padded row, and of a padded plane */
    uint32_t first, last;        /* operations between which it is alive */
    int32_t in_place;            /* the value whose memory it takes over, or -1 */
    uint8_t pad, padded, tight;
    size_t offset, bytes;
} value_t;

typedef struct {
    uint32_t kind, layout, groups, filters;
    int32_t source, target, residual;
    uint32_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    uint32_t out_h, out_w;
    uint8_t pad, top, shift;
    int32_t residual_multiplier;
    const uint8_t *weights, *multiplier, *bias; /* in the file */
    const uint8_t *group, *tables, *excess, *excess_multiplier;
    uint32_t clip_groups; /* 0: no clipping */
    uint32_t steps;       /* lanes of a filter */
    uint64_t terms;       /* of its sums */
    uint64_t most_total;  /* no total, with the half that rounds, is larger */
    int fast;             /* by the instruction set's kernels, else element by element */
    int clipped;          /* by run_clipped */
    int depthwise;        /* fast, and every channel has its one filter */
    const int32_t *offsets;           /* (steps,) from a position to the lane, in bytes */
    const int64_t *multipliers, *biases; /* (blocks · 8,); the bias with the half that rounds */
} op_t;

/* A layer, or some rows of it, for a kernel: positions (rows, columns), all blocks of 8 filters. */
typedef struct {
    const uint8_t *x; /* the first position's first lane; then step_x from column to column, row_x from row to row */
    ptrdiff_t step_x, row_x;
    ptrdiff_t plane_x; /* depthwise: from block to block */
    uint8_t *taps;     /* depthwise: room for a block's weights, 8 bytes a step */
    const int32_t *offsets;
    int32_t steps, blocks;
    const uint8_t *weights; /* [block][step][8 filters][8 bytes] */
    const int64_t *multiplier, *bias;
    int32_t residual_multiplier;
    const uint8_t *residual; /* or NULL; 8 bytes from column to column */
    ptrdiff_t row_r, plane_r;
    uint8_t *y;
    ptrdiff_t row_y, plane_y;
    int32_t *sums; /* not NULL: the sums of the only position, (blocks · 8,), and no codes */
    int32_t rows, columns;
    int shift; /* 1…62 */
    uint8_t top;
} job_t;

typedef struct {
    const char *name;
    void (*sad)(const job_t *);
    void (*dot)(const job_t *);
    void (*depthwise)(const job_t *, int dot);
    int least_shift; /* a total with a smaller shift is shifted up to this one first, and must have the room */
} unit_t;

extern const unit_t unit_generic, unit_avx2, unit_avx512, unit_avx512vnni, unit_neon, unit_neon_dotprod;

struct adder_model {
    const uint8_t *bytes;
    size_t size;
    int mapped;
    const unit_t *unit;
    uint32_t channels, height, width, classes;
    const uint8_t *tables, *manifest;
    size_t manifest_bytes, arena, scratch, owned_bytes;
    uint64_t terms, slow_terms;
    uint32_t values_count, ops_count;
    value_t *values;
    op_t *ops;
    void *owned; /* one block: values, ops, offsets, multipliers, biases */
};

/* engines.c */
const unit_t *find_unit(const char *name, char *why, size_t room);
/* parse.c */
int parse(adder_model *model, char *why, size_t room);
int complain(char *why, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* plan.c */
int plan(adder_model *model, char *why, size_t room);
/* slow.c */
void run_slowly(const adder_model *model, const op_t *op, uint8_t *arena, float *scores);
void run_clipped(const adder_model *model, const op_t *op, uint8_t *arena, uint8_t *scratch, float *scores);
void avg_pool(const adder_model *model, const op_t *op, uint8_t *arena);
void add_values(const adder_model *model, const op_t *op, uint8_t *arena);

/* pool.c */
void max_pool(const adder_model *model, const op_t *op, uint8_t *arena);

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t blocks_of(uint32_t count) { return (count + LANE - 1) / LANE; }
INLINE uint32_t read32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
INLINE uint64_t read64(const uint8_t *p) { return read32(p) | (uint64_t)read32(p + 4) << 32; }
INLINE uint32_t read16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

/* The position (row, column) of the image, which may lie in the margins, in block 0. */
INLINE size_t place(const value_t *value, uint32_t row, uint32_t column) {
    return value->offset + (size_t)(row + value->margin_v) * value->row +
           (size_t)(column + value->margin_h) * value->cell;
}

/* Arithmetic shift to the right, whatever the compiler does with negative numbers. */
INLINE int64_t shift_right(int64_t value, int shift) {
    return value < 0 ? ~(~value >> shift) : value >> shift;
}

/* The code of a total to which the half that rounds has been added. */
INLINE uint8_t code_of(int64_t total, int shift, uint8_t top) {
    int64_t code = shift_right(total, shift);
    return (uint8_t)(code < 0 ? 0 : code > top ? top : code);
}

#endif
