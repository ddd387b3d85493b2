/* Any processor: four lanes of the compiler's vectors, no instruction set asked for (SSE2 on x86-64). */
#include <stdint.h>

#include "vector4.h"

#define NAME generic
#define PV 2
#define RF 4
#define RG 4
#define TF 2 /* filters and taps a tile, filter gradient; vectors of taps where the layer is linear */
#define TK 3
#define LV 3
#define DIRECT 32 /* filters up to which unaligned reading costs less than gathering */

INLINE V vfma(V a, V b, V c) { return a * b + c; } /* rounded twice */
INLINE V vmax(V a, V b) { return vselect(a > b, a, b); }

typedef struct {
    char none;
} constants;
INLINE constants constants_here(void) { return (constants){0}; }
INLINE V add_max(V acc, V x, const float *w, constants c) {
    (void)c;
    return acc + vmax(x, vset(*w));
}
INLINE V add_distance(V acc, V x, V w, constants c) {
    (void)c;
    return acc - vabs(x - w);
}
INLINE V clamp1(V d) {
    V low = vselect(d > -1.f, d, vset(-1.f));
    return vselect(low < 1.f, low, vset(1.f));
}
INLINE V add_clamped(V acc, V g, V x, const float *w, int odd, constants c) {
    (void)odd, (void)c;
    return acc - g * clamp1(x - *w);
}
INLINE V add_clamped_lanes(V acc, const float *g, V x, V w, int odd, constants c) {
    (void)odd, (void)c;
    return acc - *g * clamp1(x - w);
}

#include "kernels.inc"
