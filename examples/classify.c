/* Classifies a PGM image (P5, 8 bits) by an adder network:  classify model.adder digit.pgm

   cc -Iaddercore/runtime/src examples/classify.c addercore/runtime/libadder_run.so -o classify */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adder_run.h"

/* The pixels of a PGM image of the model's size; NULL for any other file. */
static unsigned char *read_pgm(const char *path, const adder_info *info) {
    unsigned width, height, greatest;
    size_t size = (size_t)info->width * info->height;
    unsigned char *pixels = malloc(size);
    FILE *file = fopen(path, "rb");
    int good = file && pixels && fscanf(file, "P5 %u %u %u", &width, &height, &greatest) == 3 && fgetc(file) != EOF &&
               width == info->width && height == info->height && greatest == 255 &&
               fread(pixels, 1, size, file) == size;
    if (file) fclose(file);
    if (good) return pixels;
    free(pixels);
    return NULL;
}

int main(int count, char **words) {
    adder_model *model;
    adder_info info;
    char why[256];
    if (count != 3) return fprintf(stderr, "usage: %s model.adder image.pgm\n", words[0]), 2;
    if (adder_open(words[1], NULL, &model, why, sizeof why) || adder_verify(model, why, sizeof why))
        return fprintf(stderr, "%s: %s\n", words[1], why), 2;
    adder_describe(model, &info);
    unsigned char *pixels = info.channels == 1 ? read_pgm(words[2], &info) : NULL;
    if (!pixels) {
        fprintf(stderr, "%s: no PGM image of %u x %u, 8 bits, grey\n", words[2], info.width, info.height);
        return 2;
    }
    void *workspace = malloc(info.workspace_bytes);
    float *scores = malloc(info.classes * sizeof *scores);
    if (!workspace || !scores) return fprintf(stderr, "no memory\n"), 2;
    adder_run(model, pixels, 1, scores, workspace);
    unsigned best = 0;
    for (unsigned i = 1; i < info.classes; i++)
        if (scores[i] > scores[best]) best = i;
    printf("class %u, score %.9g\n", best, scores[best]);
    free(pixels), free(workspace), free(scores);
    adder_close(model);
    return 0;
}
