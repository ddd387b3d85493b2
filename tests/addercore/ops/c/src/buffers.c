/* Buffers with hard edges. With ADDER_GUARD every buffer, the library's own scratch included, ends (or begins) at a
   page that must not be touched, and inputs are read-only; without, plain malloc, for AddressSanitizer to watch. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef ADDER_GUARD
#include <sys/mman.h>
#include <unistd.h>
#endif

typedef struct block {
    struct block *next;
    char *base;   /* what was mapped or allocated */
    char *data;   /* what was handed out */
    char *before; /* of a sealed buffer without guard pages: its content */
    size_t mapped, size;
    int scratch, sealed;
} block;

static block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int front;
static unsigned state = 1;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void guard_front(int on) { front = on; }

#ifdef ADDER_GUARD
static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void map(block *b, size_t alignment) {
    const size_t inside = (b->size + page() - 1) / page() * page();
    b->mapped = inside + 2 * page();
    b->base = mmap(NULL, b->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->base == MAP_FAILED) fail("no memory for %zu bytes", b->size);
    char *first = b->base + page();
    if (inside && mprotect(first, inside, PROT_READ | PROT_WRITE)) fail("mprotect: %s", strerror(errno));
    /* The end lies at the edge as closely as the alignment lets it. */
    b->data = front ? first : first + ((inside - b->size) & ~(alignment - 1));
}

static void unmap(block *b) { munmap(b->base, b->mapped); }
#else
static void map(block *b, size_t alignment) {
    if (posix_memalign((void **)&b->base, alignment < sizeof(void *) ? sizeof(void *) : alignment, b->size))
        fail("no memory for %zu bytes", b->size);
    b->data = b->base;
}

static void unmap(block *b) { free(b->base); }
#endif

static void *add(size_t size, size_t alignment, int scratch) {
    block *b = calloc(1, sizeof *b);
    if (!b) fail("no memory");
    b->size = size;
    b->scratch = scratch;
    pthread_mutex_lock(&lock);
    map(b, alignment);
    b->next = blocks;
    blocks = b;
    pthread_mutex_unlock(&lock);
    if (size) memset(b->data, 0xff, size); /* as floats: NaN */
    return b->data;
}

static void drop(block **link) {
    block *b = *link;
    if (b->before && memcmp(b->before, b->data, b->size)) fail("an input of %zu bytes was written to", b->size);
    *link = b->next;
    unmap(b);
    free(b->before);
    free(b);
}

float *take(size_t n) { return add(n * sizeof(float), sizeof(float), 0); }

void seal(float *p) {
    for (block *b = blocks; b; b = b->next)
        if (b->data == (char *)p && !b->scratch && !b->sealed) {
            b->sealed = 1;
#ifdef ADDER_GUARD
            if (b->mapped > 2 * page() && mprotect(b->base + page(), b->mapped - 2 * page(), PROT_READ))
                fail("mprotect: %s", strerror(errno));
#else
            b->before = malloc(b->size + 1);
            if (!b->before) fail("no memory");
            memcpy(b->before, b->data, b->size);
#endif
        }
}

void release_all(void) {
    block **link = &blocks;
    while (*link)
        if ((*link)->scratch)
            link = &(*link)->next;
        else
            drop(link);
}

long scratch_blocks(void) {
    long count = 0;
    for (block *b = blocks; b; b = b->next) count += b->scratch;
    return count;
}

/* What the library's units are compiled to call instead of the C library's functions (see test_c_sanitizers.py). */
void *scratch_malloc(size_t size) { return add(size, 16, 1); }

void *scratch_aligned_alloc(size_t alignment, size_t size) { return add(size, alignment, 1); }

void *scratch_calloc(size_t count, size_t size) {
    void *p = add(count * size, 16, 1);
    if (count && size) memset(p, 0, count * size);
    return p;
}

int scratch_posix_memalign(void **p, size_t alignment, size_t size) {
    *p = add(size, alignment, 1);
    return 0;
}

void scratch_free(void *p) {
    if (!p) return;
    pthread_mutex_lock(&lock);
    block **link = &blocks;
    while (*link && ((*link)->data != (char *)p || !(*link)->scratch)) link = &(*link)->next;
    if (!*link) fail("the library frees what it did not allocate");
    drop(link);
    pthread_mutex_unlock(&lock);
}

void seed_random(unsigned seed) { state = seed * 2654435761u + 1; }

unsigned next_random(void) { /* xorshift, Marsaglia 2003 */
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

float *take_random(size_t n, float spread) {
    float *p = take(n);
    for (size_t i = 0; i < n; i++)
        p[i] = spread * sqrtf(3) * ((float)(next_random() >> 8) / (float)(1 << 23) - 1);
    seal(p);
    return p;
}
