/* The greatest code of a window, 8 channels at once. Every x86-64 has SSE2, every aarch64 NEON. */
#include <string.h>

#include "engine.h"

#if defined(__SSE2__)
#include <emmintrin.h>
typedef __m128i cell_t;
INLINE cell_t load(const uint8_t *p) { return _mm_loadl_epi64((const __m128i *)(const void *)p); }
INLINE cell_t greater(cell_t a, cell_t b) { return _mm_max_epu8(a, b); }
INLINE void store(uint8_t *p, cell_t cell) { _mm_storel_epi64((__m128i *)(void *)p, cell); }
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef uint8x8_t cell_t;
INLINE cell_t load(const uint8_t *p) { return vld1_u8(p); }
INLINE cell_t greater(cell_t a, cell_t b) { return vmax_u8(a, b); }
INLINE void store(uint8_t *p, cell_t cell) { vst1_u8(p, cell); }
#else
typedef struct {
    uint8_t of[CELL];
} cell_t;
INLINE cell_t load(const uint8_t *p) {
    cell_t cell;
    memcpy(cell.of, p, CELL);
    return cell;
}
INLINE cell_t greater(cell_t a, cell_t b) {
    for (int i = 0; i < CELL; i++) a.of[i] = a.of[i] > b.of[i] ? a.of[i] : b.of[i];
    return a;
}
INLINE void store(uint8_t *p, cell_t cell) { memcpy(p, cell.of, CELL); }
#endif

static uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* The part of a window that lies on the image, in one direction: first … end. */
static void visible(uint32_t out, const op_t *op, uint32_t side, uint32_t *first, uint32_t *end) {
    uint32_t at = out * op->stride_h;
    *first = most(at, op->pad_h) - op->pad_h;
    *end = most(least(at + op->kernel_h, side + op->pad_h), op->pad_h) - op->pad_h;
}

/* `rows` × `columns` cells from x on; padding is never the greatest. */
INLINE cell_t greatest(const uint8_t *x, size_t row, uint32_t rows, uint32_t columns) {
    const uint8_t none[CELL] = {0};
    cell_t best = load(none);
    for (uint32_t r = 0; r < rows; r++, x += row)
        for (uint32_t q = 0; q < columns; q++) best = greater(best, load(x + (size_t)q * CELL));
    return best;
}

/* One row of the target, of one block of channels, from the source's rows that its windows see. */
static void pool_row(const op_t *op, const value_t *source, const uint8_t *x, uint32_t rows, uint8_t *y) {
    if (op->kernel_w == 2 && rows == 2 && !op->pad_w) {
        for (uint32_t column = 0; column < op->out_w; column++, x += (size_t)op->stride_w * CELL, y += CELL)
            store(y, greater(greater(load(x), load(x + CELL)), greater(load(x + source->row), load(x + source->row + CELL))));
        return;
    }
    for (uint32_t column = 0; column < op->out_w; column++, y += CELL) {
        uint32_t left, right;
        visible(column, op, source->width, &left, &right);
        store(y, greatest(x + (size_t)left * CELL, source->row, rows, right - left));
    }
}

void max_pool(const adder_model *model, const op_t *op, uint8_t *arena) {
    const value_t *source = &model->values[op->source], *target = &model->values[op->target];
    for (uint32_t block = 0; block < target->blocks; block++)
        for (uint32_t row = 0; row < op->out_h; row++) {
            uint32_t top, bottom;
            visible(row, op, source->height, &top, &bottom);
            pool_row(op, source, arena + place(source, top, 0) + (size_t)block * source->plane, bottom - top,
                     arena + place(target, row, 0) + (size_t)block * target->plane);
        }
}
