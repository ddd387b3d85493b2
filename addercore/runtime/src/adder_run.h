/* Integer adder networks from C: one file, one call from pixels to scores. Link with libadder_run.so; no other library.

       adder_model *model;
       char why[256];
       if (adder_open("model.adder", NULL, &model, why, sizeof why)) …                 // why is a sentence
       adder_info info;
       adder_describe(model, &info);
       void *workspace = malloc(info.workspace_bytes);
       adder_run(model, pixels, 1, scores, workspace);                                 // allocates nothing

   A model does not change once it is open: any number of threads may run it at once, each with a workspace of its own.
   Every engine gives the same bits (docs/integer.md). */
#ifndef ADDER_RUN_H
#define ADDER_RUN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ADDER_API __attribute__((visibility("default")))
#else
#define ADDER_API
#endif

#define ADDER_RUN_ABI 2 /* raised whenever a signature or a struct below changes */

typedef struct adder_model adder_model;

typedef struct {
    uint32_t channels, height, width, classes;
    uint64_t file_bytes, workspace_bytes, activation_bytes, table_bytes;
    uint64_t terms;       /* of all sums for one image: what it costs to run a file of unknown origin */
    uint64_t slow_terms;  /* of them, those that no kernel computes: element by element, some hundred times slower */
    const char *engine;   /* its name, such as "avx2" */
    const char *manifest; /* JSON in UTF-8, not ended by a 0 */
    uint64_t manifest_bytes;
} adder_info;

ADDER_API int adder_run_abi(void);

/* The engines that were compiled in, the fastest first, and whether this processor has the instructions. */
ADDER_API int adder_engine_count(void);
ADDER_API const char *adder_engine_name(int number);
ADDER_API int adder_engine_supported(int number);

/* Opens a model file, which is mapped read-only, or its bytes in memory, which must begin on a multiple of 64 and stay
   until adder_close. `engine` is a name, or NULL for the variable ADDER_RUNTIME, or else the fastest one.
   0, or another number with a sentence in `why`. */
ADDER_API int adder_open(const char *path, const char *engine, adder_model **model, char *why, size_t why_bytes);
ADDER_API int adder_open_memory(const void *bytes, size_t size, const char *engine, adder_model **model, char *why,
                                size_t why_bytes);

ADDER_API void adder_describe(const adder_model *model, adder_info *info);

/* Compares all checksums: 0, or another number with a sentence in `why`. Opening checks everything but these. */
ADDER_API int adder_verify(const adder_model *model, char *why, size_t why_bytes);

/* Scores (n, classes) of n images, uint8 (n, channels, height, width). The workspace has `workspace_bytes`, with any
   alignment and content. */
ADDER_API void adder_run(const adder_model *model, const uint8_t *pixels, size_t n, float *scores, void *workspace);

ADDER_API void adder_close(adder_model *model);

#ifdef __cplusplus
}
#endif
#endif
