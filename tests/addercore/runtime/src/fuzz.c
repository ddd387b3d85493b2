/* fuzz ENGINE COUNT SEED MODEL…: each model in COUNT damaged forms: cut, bits changed, numbers of its header, sections,
   values or operations replaced. A form that opens is run. Nothing but the sanitizers can fail here; the last line says
   how many forms opened. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adder_run.h"

enum { MOST_BYTES = 1 << 22, MOST_TERMS = 1 << 22, HEADER = 64, BEGIN = 256 };

static uint64_t state;

static uint64_t draw(uint64_t below) { /* xorshift64* */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return below ? (state * 2685821657736338717u >> 16) % below : 0;
}

static uint64_t number_at(const unsigned char *p, size_t size) {
    uint64_t value = 0;
    memcpy(&value, p, size);
    return value;
}

/* An offset in the file: anywhere, or in the parts that say where everything else is. */
static size_t place(const unsigned char *bytes, size_t size) {
    switch (draw(5)) {
    case 0: return draw(size);
    case 1: return draw(BEGIN < size ? BEGIN : size);
    default: break;
    }
    const unsigned char *entry = bytes + HEADER + 32 * (3 + draw(2)); /* values, operations */
    size_t offset = number_at(entry + 8, 8), length = number_at(entry + 16, 8);
    return offset < size && length && length <= size - offset ? offset + draw(length) : draw(size);
}

static void replace(unsigned char *bytes, size_t size) {
    const uint64_t odd[] = {0, 1, 2, 7, 8, 9, 63, 64, 127, 128, 255, 256, 1023, 1024, 1025, 65535, 65536, 0x7fffffff,
                            0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX, UINT64_MAX - 63};
    const size_t widths[] = {1, 2, 4, 8};
    size_t width = widths[draw(4)], at = place(bytes, size) / width * width;
    if (at + width > size) return;
    uint64_t value = number_at(bytes + at, width);
    switch (draw(4)) {
    case 0: value = odd[draw(sizeof odd / sizeof *odd)]; break;
    case 1: value += 1; break;
    case 2: value -= 1; break;
    default: value ^= (uint64_t)1 << draw(8 * width); break;
    }
    memcpy(bytes + at, &value, width);
}

/* Whether it opened. The bytes lie in an allocation of exactly their size. */
static int attempt(const char *engine, const unsigned char *bytes, size_t size) {
    adder_model *model;
    adder_info info;
    char why[128];
    if (adder_open_memory(bytes, size, engine, &model, why, sizeof why)) {
        if (!*why) abort(); /* a refusal says why */
        return 0;
    }
    adder_describe(model, &info);
    adder_verify(model, why, sizeof why);
    uint64_t pixels = (uint64_t)info.channels * info.height * info.width;
    if (info.workspace_bytes < MOST_BYTES && info.terms < MOST_TERMS && pixels < MOST_BYTES) {
        unsigned char *image = malloc(pixels), *workspace = malloc(info.workspace_bytes);
        float *scores = malloc(info.classes * sizeof *scores);
        memset(workspace, 0xa5, info.workspace_bytes);
        for (uint64_t i = 0; i < pixels; i++) image[i] = (unsigned char)draw(256);
        adder_run(model, image, 1, scores, workspace);
        free(image), free(workspace), free(scores);
    }
    adder_close(model);
    return 1;
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(1);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size);
    if (fread(bytes, 1, *size, file) != *size) exit(1);
    fclose(file);
    return bytes;
}

int main(int count, char **words) {
    if (count < 5) return 1;
    long forms = atol(words[2]), opened = 0, all = 0;
    state = 88172645463325252u + (uint64_t)atol(words[3]);
    for (int i = 4; i < count; i++) {
        size_t size;
        unsigned char *whole = read_file(words[i], &size);
        for (long form = 0; form < forms; form++, all++) {
            size_t length = draw(4) ? size : draw(size + 1);
            unsigned char *bytes;
            if (posix_memalign((void **)&bytes, 64, length ? length : 1)) return 1;
            memcpy(bytes, whole, length);
            for (uint64_t changes = draw(4); length > BEGIN && changes; changes--) replace(bytes, length);
            opened += attempt(words[1], bytes, length);
            free(bytes);
        }
        free(whole);
    }
    printf("%ld forms, %ld opened\n", all, opened);
    return 0;
}
