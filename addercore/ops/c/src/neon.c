/* AArch64 Advanced SIMD: 4 lanes, 32 registers; maximum and addition a term, as everywhere. */
#include <arm_neon.h>
#include <stdint.h>

#include "vector4.h"

#define NAME neon
#define PV 2
#define RF 8
#define RG 8
#define TF 4 /* filters and taps a tile, filter gradient; vectors of taps where the layer is linear */
#define TK 5
#define LV 4
#define DIRECT 32 /* filters up to which unaligned reading costs less than gathering */

#define Q(v) ((float32x4_t)(v))
INLINE V vfma(V a, V b, V c) { return (V)vfmaq_f32(Q(c), Q(a), Q(b)); }
INLINE V vmax(V a, V b) { return (V)vmaxq_f32(Q(a), Q(b)); } /* NaN where either is */

typedef struct {
    V one, minus_one;
} constants;
INLINE constants constants_here(void) { return (constants){vset(1.f), vset(-1.f)}; }
INLINE V add_max(V acc, V x, const float *w, constants c) {
    (void)c;
    return (V)vaddq_f32(Q(acc), vmaxq_f32(Q(x), vld1q_dup_f32(w)));
}
INLINE V add_distance(V acc, V x, V w, constants c) {
    (void)c;
    return (V)vsubq_f32(Q(acc), vabdq_f32(Q(x), Q(w)));
}
INLINE V clamp1(V d, constants c) { return (V)vminq_f32(vmaxq_f32(Q(d), Q(c.minus_one)), Q(c.one)); }
INLINE V add_clamped(V acc, V g, V x, const float *w, int odd, constants c) {
    (void)odd;
    return (V)vfmsq_f32(Q(acc), Q(g), Q(clamp1((V)vsubq_f32(Q(x), vld1q_dup_f32(w)), c)));
}
INLINE V add_clamped_lanes(V acc, const float *g, V x, V w, int odd, constants c) {
    (void)odd;
    return (V)vfmsq_f32(Q(acc), vld1q_dup_f32(g), Q(clamp1((V)vsubq_f32(Q(x), Q(w)), c)));
}

#include "kernels.inc"
