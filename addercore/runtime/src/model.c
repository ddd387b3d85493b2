/* Opening, describing, verifying and closing a model. */
#undef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* O_CLOEXEC */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"

int complain(char *why, size_t room, const char *format, ...) {
    va_list values;
    va_start(values, format);
    if (why && room) vsnprintf(why, room, format, values);
    va_end(values);
    return 1;
}

static int opened(adder_model *model, const char *engine, adder_model **result, char *why, size_t room) {
    model->unit = find_unit(engine, why, room);
    if (model->unit && !parse(model, why, room) && !plan(model, why, room)) {
        *result = model;
        return 0;
    }
    adder_close(model);
    return 1;
}

int adder_open_memory(const void *bytes, size_t size, const char *engine, adder_model **result, char *why,
                      size_t room) {
    *result = NULL;
    if ((uintptr_t)bytes % ALIGN) return complain(why, room, "the model's bytes must begin on a multiple of %d", ALIGN);
    adder_model *model = calloc(1, sizeof *model);
    if (!model) return complain(why, room, "no memory for the model");
    model->bytes = bytes;
    model->size = size;
    return opened(model, engine, result, why, room);
}

int adder_open(const char *path, const char *engine, adder_model **result, char *why, size_t room) {
    *result = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return complain(why, room, "cannot be opened (%s)", strerror(errno));
    struct stat about;
    if (fstat(file, &about) || !S_ISREG(about.st_mode) || about.st_size <= 0) {
        close(file);
        return complain(why, room, "is no file, or an empty one");
    }
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED) return complain(why, room, "cannot be mapped (%s)", strerror(errno));
    adder_model *model = calloc(1, sizeof *model);
    if (!model) {
        munmap(bytes, (size_t)about.st_size);
        return complain(why, room, "no memory for the model");
    }
    model->bytes = bytes;
    model->size = (size_t)about.st_size;
    model->mapped = 1;
    return opened(model, engine, result, why, room);
}

void adder_close(adder_model *model) {
    if (!model) return;
    if (model->mapped) munmap((void *)(uintptr_t)model->bytes, model->size);
    free(model->owned);
    free(model);
}

void adder_describe(const adder_model *model, adder_info *info) {
    *info = (adder_info){model->channels,
                         model->height,
                         model->width,
                         model->classes,
                         model->size,
                         model->arena + model->scratch + ALIGN,
                         model->arena,
                         model->owned_bytes,
                         model->terms,
                         model->slow_terms,
                         model->unit->name,
                         (const char *)model->manifest,
                         model->manifest_bytes};
}

/* CRC-32 of IEEE 802.3, reflected, eight bytes at a time by eight tables ("slicing by 8"). */
typedef struct {
    uint32_t of[8][256];
} crc_tables;

static void make_tables(crc_tables *tables) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        tables->of[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            tables->of[t][i] = tables->of[t - 1][i] >> 8 ^ tables->of[0][tables->of[t - 1][i] & 255];
}

static uint32_t crc_of(const crc_tables *tables, uint32_t crc, const uint8_t *p, size_t size) {
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = crc ^ read32(p), high = read32(p + 4);
        crc = tables->of[7][low & 255] ^ tables->of[6][low >> 8 & 255] ^ tables->of[5][low >> 16 & 255] ^
              tables->of[4][low >> 24] ^ tables->of[3][high & 255] ^ tables->of[2][high >> 8 & 255] ^
              tables->of[1][high >> 16 & 255] ^ tables->of[0][high >> 24];
    }
    for (; size; size--, p++) crc = crc >> 8 ^ tables->of[0][(crc ^ *p) & 255];
    return ~crc;
}

int adder_verify(const adder_model *model, char *why, size_t room) {
    enum { HEADER = 64, ENTRY = 32, CRC_AT = 28 };
    const uint8_t zero[4] = {0}, *bytes = model->bytes;
    crc_tables tables;
    make_tables(&tables);
    uint32_t end = read32(bytes + 12), count = read32(bytes + 24);
    uint32_t crc = crc_of(&tables, 0, bytes, CRC_AT);
    crc = crc_of(&tables, crc, zero, 4);
    crc = crc_of(&tables, crc, bytes + CRC_AT + 4, end - CRC_AT - 4);
    if (crc != read32(bytes + CRC_AT)) return complain(why, room, "the header's checksum differs: the file is damaged");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = bytes + HEADER + i * ENTRY;
        if (crc_of(&tables, 0, bytes + read64(entry + 8), read64(entry + 16)) != read32(entry + 4))
            return complain(why, room, "the checksum of section %u differs: the file is damaged", i + 1);
    }
    return 0;
}
