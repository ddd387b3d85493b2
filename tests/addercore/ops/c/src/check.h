/* Shared by the parts of the C test: buffers with hard edges, the layer in double precision, the cases. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>

#include "adder.h"

/* buffers.c: exactly n floats, NaN in all of them; a step beyond is a crash, by ADDER_GUARD's edge pages or by ASan. */
float *take(size_t n);
float *take_random(size_t n, float spread); /* filled, then sealed: uniform in ±spread·√3, so of deviation `spread` */
void seal(float *p);                        /* from now on an input: a write to it is an error */
void release_all(void);
long scratch_blocks(void); /* the library's own allocations that are still there */
void guard_front(int on);  /* the edge page stands in front of the next buffers instead of behind them */
unsigned next_random(void);
void seed_random(unsigned seed);
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* reference.c: the formulas in double; `bound` gets what fp32 may be off by at most (see there). */
void reference_forward(const adder_shape *s, const float *x, const float *weight, double *y, double *bound);
void reference_grad_input(const adder_shape *s, const float *grad, const float *x, const float *weight, double *grad_x,
                          double *bound);
void reference_grad_weight(const adder_shape *s, const float *grad, const float *x, const float *weight, int sign,
                           double *grad_weight, double *bound);
void reference_affine(const adder_shape *s, const adder_epilogue *e, double *y, double *bound);
void reference_moments(int64_t N, int64_t F, int64_t P, const double *y, double *mean, double *variance);
void reference_normalize_backward(int64_t N, int64_t F, int64_t P, const float *grad, const float *z, const float *y,
                                  const float *mean, const float *invstd, const float *gamma, double *grad_y,
                                  double *grad_gamma, double *grad_beta, double *masked, double *bound,
                                  double *bound_gamma, double *bound_beta);

/* compare.c */
void expect_close(const char *what, const adder_shape *s, const float *got, const double *want, const double *bound,
                  size_t n);
void expect_same_bits(const char *what, const adder_shape *s, const float *a, const float *b, size_t n);
double worst_error(void); /* in units of the bound */
void now(const char *what, const adder_shape *s); /* told if the program dies of a step outside a buffer */
void tell_on_crash(void);

/* shapes.c: the FIXED cases, then random ones; 0 where a random one is too large to be worth its time */
enum { FIXED = 35 };
int next_shape(adder_shape *s, int index);

/* pointwise.c, evaluation.c */
void check_normalize(int isa, int64_t N, int64_t F, int64_t P);
void check_normalize_backward(int isa, int64_t N, int64_t F, int64_t P);
void check_max_pool(int isa, const adder_shape *s);
void check_add(int isa, int64_t N, int64_t size);
void check_pool(int isa, int64_t N, int64_t F, int64_t H, int64_t W);

#endif
