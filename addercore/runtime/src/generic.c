/* Kernels for any processor: plain C, which compilers turn into what their target has. */
#include <string.h>

#include "engine.h"

#define UNROLL

typedef struct {
    int32_t of[LANE];
} plain_sums;
typedef const uint8_t *plain_weights;
typedef struct {
    const int64_t *multiplier, *bias;
} scales_t;

INLINE scales_t scales_of(const job_t *job, int32_t block) {
    return (scales_t){job->multiplier + (size_t)block * LANE, job->bias + (size_t)block * LANE};
}

INLINE void finish(const plain_sums *sums, int n, const scales_t *scales, const job_t *job, int added,
                   const uint8_t *const *residuals, uint8_t *const *outputs) {
    for (int i = 0; i < n; i++)
        for (int f = 0; f < LANE; f++) {
            int64_t total = sums[i].of[f] * scales->multiplier[f] + scales->bias[f];
            if (added) total += (int64_t)residuals[i][f] * job->residual_multiplier;
            outputs[i][f] = code_of(total, job->shift, job->top);
        }
}

INLINE void finish_plain(const int32_t *sums, const scales_t *s, const job_t *job, const uint8_t *residual, uint8_t *output) {
    plain_sums of;
    memcpy(of.of, sums, sizeof of.of);
    finish(&of, 1, s, job, residual != NULL, &residual, &output);
}

/* 64 differences in one loop that compilers turn into vectors; the 8 of a filter are then added up within a word. */
INLINE plain_sums take_sad(plain_sums sums, const uint8_t *x, plain_weights w) {
    const uint64_t low = 0x00ff00ff00ff00ff, ones = 0x0001000100010001;
    uint8_t lanes[LANE * LANE], differences[LANE * LANE];
    for (int f = 0; f < LANE; f++) memcpy(lanes + f * LANE, x, LANE);
    for (int i = 0; i < LANE * LANE; i++)
        differences[i] = (uint8_t)(lanes[i] > w[i] ? lanes[i] - w[i] : w[i] - lanes[i]);
    for (int f = 0; f < LANE; f++) {
        uint64_t lane;
        memcpy(&lane, differences + f * LANE, LANE);
        lane = (lane & low) + (lane >> 8 & low);
        sums.of[f] += (int32_t)(lane * ones >> 48);
    }
    return sums;
}

INLINE plain_sums take_dot(plain_sums sums, const uint8_t *x, plain_weights w) {
    for (int f = 0; f < LANE; f++, w += LANE) {
        int32_t sum = 0;
        for (int i = 0; i < LANE; i++) sum += x[i] * (int8_t)w[i];
        sums.of[f] += sum;
    }
    return sums;
}

INLINE void store_plain(int32_t *to, plain_sums sums) {
    for (int f = 0; f < LANE; f++) to[f] = sums.of[f];
}

#define KERNEL sad
#define POSITIONS 2
#define AT_ONCE 1
#define sums_t plain_sums
#define NO_SUMS ((plain_sums){{0}})
#define weights_t plain_weights
#define take_weights(p) (p)
#define take take_sad
#define store_sums store_plain
#include "kernel.inc"

#define KERNEL dot
#define POSITIONS 2
#define AT_ONCE 1
#define sums_t plain_sums
#define NO_SUMS ((plain_sums){{0}})
#define weights_t plain_weights
#define take_weights(p) (p)
#define take take_dot
#define store_sums store_plain
#include "kernel.inc"

#include "depthwise.inc"

const unit_t unit_generic = {"generic", sad, dot, depthwise, 1};
