/* Kernels for any processor: plain C, which compilers turn into what their target has. */
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
            if (added) total += residuals[i][f] * job->residual_multiplier;
            outputs[i][f] = code_of(total, job->shift, job->top);
        }
}

INLINE plain_sums take_sad(plain_sums sums, const uint8_t *x, plain_weights w) {
    for (int f = 0; f < LANE; f++, w += LANE) {
        int32_t sum = 0;
        for (int i = 0; i < LANE; i++) sum += x[i] > w[i] ? x[i] - w[i] : w[i] - x[i];
        sums.of[f] += sum;
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

const unit_t unit_generic = {"generic", sad, dot};
