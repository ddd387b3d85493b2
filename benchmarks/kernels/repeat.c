/* Repeats one call of the kernels' library: a layer that takes microseconds is timed without the caller's own cost.

   The functions for the forward pass and the input gradient differ in what their pointers point to only, which no
   calling convention sees; the filter gradient's has `sign` besides. */
#include <stdint.h>

typedef int (*Entry)(int isa, const void *shape, const void *, const void *, const void *, const void *, int threads);
typedef int (*Signed)(int isa, const void *shape, const void *, const void *, const void *, const void *, int64_t sign,
                      int threads);

int repeat(int64_t times, Entry entry, int isa, const void *shape, const void *a, const void *b, const void *c,
           const void *d, int threads) {
    int status = 0;
    while (times-- > 0) status |= entry(isa, shape, a, b, c, d, threads);
    return status;
}

int repeat_signed(int64_t times, Signed entry, int isa, const void *shape, const void *a, const void *b, const void *c,
                  const void *d, int64_t sign, int threads) {
    int status = 0;
    while (times-- > 0) status |= entry(isa, shape, a, b, c, d, sign, threads);
    return status;
}
