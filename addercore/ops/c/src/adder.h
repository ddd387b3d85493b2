/* The library's interface: fp32 adder layers on the CPU, NCHW, contiguous.

   Every function takes the instruction set to run on (an index for adder_isa_name), checks nothing that its caller can
   check (addercore.ops does), and returns 0, or ENOMEM when it could not allocate its scratch memory. Results do not
   depend on the number of threads. */
#ifndef ADDER_H
#define ADDER_H

#include <stdint.h>

#if defined(__GNUC__)
#define ADDER_API __attribute__((visibility("default")))
#else
#define ADDER_API
#endif

#define ADDER_ABI 4 /* raised whenever a signature or a struct below changes */

/* One layer: x (N, C, H, W), weight (F, C/groups, KH, KW), y (N, F, OH, OW). */
typedef struct {
    int64_t N, C, H, W;
    int64_t F, KH, KW;
    int64_t OH, OW;
    int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} adder_shape;

/* What is done to an output before it is stored; a null pointer leaves that part out. */
typedef struct {
    const float *scale, *shift; /* (F,) both or none: scale·y + shift */
    const float *residual;      /* (N, F, OH, OW), added */
    int64_t relu;               /* non-zero: max(0, ·) at the end */
    float *mean, *variance;     /* (F,) both or none: of y over N, OH, OW, variance biased */
} adder_epilogue;

ADDER_API int adder_abi(void);
ADDER_API int adder_isa_count(void);
ADDER_API const char *adder_isa_name(int isa);      /* "avx512", "avx2", "generic", "neon"; best first */
ADDER_API int adder_isa_supported(int isa);         /* whether this processor has it */
ADDER_API const char *adder_compiler(void);

/* Eq. 2: y = −Σ |x − f|, then the epilogue. */
ADDER_API int adder_forward(int isa, const adder_shape *s, const float *x, const float *weight, float *y,
                            const adder_epilogue *epilogue, int threads);

/* Filters as adder_evaluate reads them: how many floats they take for a layer of this shape (N does not matter), and their
   packing. */
ADDER_API int64_t adder_packed_size(int isa, const adder_shape *s);
ADDER_API void adder_pack(int isa, const adder_shape *s, const float *weight, float *packed);

/* A step of a network's evaluation (adder_evaluate). Values lie one behind the other in an arena: `x`, `residual` and `y` are
   floats an image from its beginning, or ADDER_INPUT, ADDER_OUTPUT, ADDER_NONE. */
enum { ADDER_LAYER, ADDER_MAX_POOL, ADDER_ADD };
enum { ADDER_INPUT = -1, ADDER_OUTPUT = -2, ADDER_NONE = -3 };
typedef struct {
    int64_t kind;
    adder_shape shape;  /* its N is not read. Of max pooling F is C; of an addition C, H, W matter alone */
    int64_t x, residual, y;
    const float *packed, *scale, *shift; /* of a layer; scale and shift both or none */
    int64_t relu;
} adder_step;

/* Where an evaluation reads and writes: x and y hold x_size and y_size floats an image. */
typedef struct {
    const float *x;
    int64_t x_size;
    float *y;
    int64_t y_size;
    float *arena; /* `threads_outside` times `images` images of arena_size floats */
    int64_t arena_size;
} adder_memory;

/* Steps in order for N images, `images` of them at a time, so that values stay in the cache: such parts on
   `threads_outside` threads side by side, each step of a part on `threads_inside`; one of the two is 1. */
ADDER_API int adder_evaluate(int isa, const adder_step *steps, int64_t count, int64_t N, int64_t images,
                        const adder_memory *memory, int threads_outside, int threads_inside);

/* Eqs. 6, 7: grad_x = Σ_f grad · clamp(f − x, −1, 1). */
ADDER_API int adder_grad_input(int isa, const adder_shape *s, const float *grad, const float *x, const float *weight,
                               float *grad_x, int threads);

/* Eq. 5: grad_weight = Σ grad · (x − f), or with sign ≠ 0 eq. 4: Σ grad · sgn(x − f). */
ADDER_API int adder_grad_weight(int isa, const adder_shape *s, const float *grad, const float *x, const float *weight,
                                float *grad_weight, int64_t sign, int threads);

/* z = act(scale[f]·y + shift[f] + residual) over (N, F, P). */
ADDER_API int adder_normalize(int isa, int64_t N, int64_t F, int64_t P, const float *y, const float *scale,
                              const float *shift, const float *residual, int64_t relu, float *z, int threads);

/* Backward of act(gamma·(y − mean)·invstd + beta + residual) with batch statistics; z (the output) where a ReLU was
   applied, else null; masked (the residual's gradient) may be null. */
ADDER_API int adder_normalize_backward(int isa, int64_t N, int64_t F, int64_t P, const float *grad, const float *z,
                                       const float *y, const float *mean, const float *invstd, const float *gamma,
                                       float *grad_y, float *grad_gamma, float *grad_beta, float *masked, int threads);

/* The maximum of each 2×2 window of act(scale[f]·y + shift[f]) over (N, F, H, W): z and `winner` (N, F, H/2, W/2). The byte
   says which of the four it is, row by row, or 4 where the ReLU made it 0. */
ADDER_API int adder_normalize_pool(int isa, int64_t N, int64_t F, int64_t H, int64_t W, const float *y,
                                   const float *scale, const float *shift, int64_t relu, float *z, uint8_t *winner,
                                   int threads);

/* Backward of that with batch statistics: grad and winner (N, F, H/2, W/2), y and grad_y (N, F, H, W). */
ADDER_API int adder_normalize_pool_backward(int isa, int64_t N, int64_t F, int64_t H, int64_t W, const float *grad,
                                            const uint8_t *winner, const float *y, const float *mean,
                                            const float *invstd, const float *gamma, float *grad_y, float *grad_gamma,
                                            float *grad_beta, int threads);

#endif
