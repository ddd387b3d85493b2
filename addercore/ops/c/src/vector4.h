/* Four lanes as the compiler's own vectors: what `generic.c` is made of, and `neon.c` up to its arithmetic. */
#include <stddef.h>
#include <string.h>

#define VL 4

typedef float V __attribute__((vector_size(16)));
typedef int32_t M __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

INLINE V vload(const float *p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void vstore(float *p, V v) { memcpy(p, &v, sizeof v); }
INLINE V vset(float f) { return (V){f, f, f, f}; }
INLINE V vadd(V a, V b) { return a + b; }
INLINE V vsub(V a, V b) { return a - b; }
INLINE V vmul(V a, V b) { return a * b; }
INLINE V vselect(M m, V yes, V no) { return (V)((m & (M)yes) | (~m & (M)no)); }
INLINE V vabs(V a) { return (V)((M)a & (M){0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}); }
INLINE float vsum(V a) { return (a[0] + a[2]) + (a[1] + a[3]); }

INLINE void vsum4(V a, V b, V c, V d, float *sums) { vstore(sums, (V){vsum(a), vsum(b), vsum(c), vsum(d)}); }

INLINE M lanes(int first, int count) {
    const M i = {0, 1, 2, 3};
    return (i >= first) & (i < first + count);
}
INLINE V vload_part(V rest, const float *p, int first, M m) {
    for (int i = first; i < VL; i++)
        if (m[i]) rest[i] = p[i - first];
    return rest;
}
INLINE void vstore_part(float *p, V v, int first, int count, M m) {
    (void)m;
    for (int i = 0; i < count; i++) p[i] = v[first + i];
}
INLINE M vle(V a, V b) { return a <= b; }
INLINE int all_of(M m) { return (m[0] & m[1] & m[2] & m[3]) == -1; }
INLINE M either(M a, M b) { return a | b; }
INLINE M both(M a, M b) { return a & b; }
INLINE M outside(M m) { return ~m; }
INLINE V vpositive(V a, V sign) { return (V)((M)a & (sign > 0)); }

INLINE void vstore_bytes(uint8_t *p, V v, int n) {
    for (int i = 0; i < n; i++) p[i] = (uint8_t)v[i];
}
INLINE V vload_bytes(const uint8_t *p, int n) {
    V v = {0, 0, 0, 0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}

INLINE void deinterleave(V a, V b, V *even, V *odd) {
    *even = (V){a[0], a[2], b[0], b[2]};
    *odd = (V){a[1], a[3], b[1], b[3]};
}
INLINE void interleave(V even, V odd, V *a, V *b) {
    *a = (V){even[0], odd[0], even[1], odd[1]};
    *b = (V){even[2], odd[2], even[3], odd[3]};
}
