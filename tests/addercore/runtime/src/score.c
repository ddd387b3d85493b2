/* score ENGINE N MODEL PIXELS…: scores of N images each on standard output, as they lie in memory; pairs of files. The
   workspace is exactly as large as the model says and full of 0xa5 before every run. 77: this processor lacks it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adder_run.h"

static int fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

static int score(const char *engine, size_t n, const char *path, const char *images) {
    adder_model *model;
    adder_info info;
    char why[256];
    if (adder_open(path, engine, &model, why, sizeof why)) return strstr(why, "lacks") ? 77 : fail(path, why);
    adder_describe(model, &info);
    size_t size = n * info.channels * info.height * info.width;
    unsigned char *pixels = malloc(size), *workspace = malloc(info.workspace_bytes);
    float *scores = malloc(n * info.classes * sizeof *scores);
    FILE *file = fopen(images, "rb");
    if (!file || fread(pixels, 1, size, file) != size) return fail(images, "is too short");
    fclose(file);
    memset(workspace, 0xa5, info.workspace_bytes);
    adder_run(model, pixels, n, scores, workspace);
    fwrite(scores, sizeof *scores, n * info.classes, stdout);
    free(pixels), free(workspace), free(scores);
    adder_close(model);
    return 0;
}

int main(int count, char **words) {
    if (count < 5) return fail(words[0], "ENGINE N MODEL PIXELS…");
    for (int i = 3; i + 1 < count; i += 2) {
        int result = score(words[1], (size_t)atol(words[2]), words[i], words[i + 1]);
        if (result) return result;
    }
    return 0;
}
