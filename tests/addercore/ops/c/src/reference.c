/* The layer in double precision, straight from the formulas, and beside every value a bound on what fp32 may be off:
   a sum of n rounded terms errs by about u·√n of the terms' absolute sum (u = 2^-24); 4 + √n times 4u is generous for
   rounding of any order and far below the error of a wrong, missing or doubled term. */
#include "check.h"

#include <math.h>

static const double U = 1.0 / (1 << 24);

static double slack(double terms) { return 4 * U * (4 + sqrt(terms)); }

/* x at row and column of the padded input; 0 outside. */
static double at(const adder_shape *s, const float *plane, int64_t row, int64_t column) {
    return row >= 0 && row < s->H && column >= 0 && column < s->W ? plane[row * s->W + column] : 0.0;
}

/* One output; `size` gets the absolute sum of its terms. */
static double similarity(const adder_shape *s, const float *x, const float *w, int64_t row, int64_t column,
                         double *size) {
    double sum = 0;
    *size = 0;
    for (int64_t c = 0; c < s->C / s->groups; c++)
        for (int64_t kh = 0; kh < s->KH; kh++)
            for (int64_t kw = 0; kw < s->KW; kw++, w++) {
                const double v = at(s, x + c * s->H * s->W, row + kh * s->dilation_h, column + kw * s->dilation_w);
                sum -= fabs(v - *w);
                *size += fabs(v) + fabs((double)*w);
            }
    return sum;
}

void reference_forward(const adder_shape *s, const float *x, const float *weight, double *y, double *bound) {
    const int64_t channels = s->C / s->groups, filters = s->F / s->groups, taps = channels * s->KH * s->KW;
    for (int64_t i = 0; i < s->N * s->F * s->OH * s->OW; i++) {
        const int64_t ow = i % s->OW, oh = i / s->OW % s->OH, f = i / (s->OW * s->OH) % s->F;
        const int64_t n = i / (s->OW * s->OH * s->F), first = n * s->C + f / filters * channels;
        double size;
        y[i] = similarity(s, x + first * s->H * s->W, weight + f * taps, oh * s->stride_h - s->pad_h,
                          ow * s->stride_w - s->pad_w, &size);
        bound[i] = slack((double)taps) * size;
    }
}

void reference_grad_input(const adder_shape *s, const float *grad, const float *x, const float *weight, double *grad_x,
                          double *bound) {
    const int64_t channels = s->C / s->groups, filters = s->F / s->groups;
    const double terms = (double)(filters * s->KH * s->KW);
    for (int64_t i = 0; i < s->N * s->C * s->H * s->W; i++) {
        const int64_t w = i % s->W, h = i / s->W % s->H, c = i / (s->W * s->H) % s->C, n = i / (s->W * s->H * s->C);
        double sum = 0, size = 0;
        for (int64_t kh = 0; kh < s->KH; kh++)
            for (int64_t kw = 0; kw < s->KW; kw++) {
                const int64_t row = h + s->pad_h - kh * s->dilation_h, column = w + s->pad_w - kw * s->dilation_w;
                if (row < 0 || column < 0 || row % s->stride_h || column % s->stride_w) continue;
                const int64_t oh = row / s->stride_h, ow = column / s->stride_w;
                if (oh >= s->OH || ow >= s->OW) continue;
                for (int64_t j = 0; j < filters; j++) {
                    const int64_t f = c / channels * filters + j;
                    const double g = grad[((n * s->F + f) * s->OH + oh) * s->OW + ow];
                    const double d = weight[((f * channels + c % channels) * s->KH + kh) * s->KW + kw] - (double)x[i];
                    sum += g * fmin(fmax(d, -1), 1);
                    size += fabs(g);
                }
            }
        grad_x[i] = sum;
        bound[i] = slack(terms) * size * (1 + fabs((double)x[i]));
    }
}

void reference_grad_weight(const adder_shape *s, const float *grad, const float *x, const float *weight, int sign,
                           double *grad_weight, double *bound) {
    const int64_t channels = s->C / s->groups, filters = s->F / s->groups, positions = s->OH * s->OW;
    for (int64_t i = 0; i < s->F * channels * s->KH * s->KW; i++) {
        const int64_t kw = i % s->KW, kh = i / s->KW % s->KH, c = i / (s->KW * s->KH) % channels;
        const int64_t f = i / (s->KW * s->KH * channels);
        double sum = 0, size = 0;
        for (int64_t j = 0; j < s->N * positions; j++) {
            const int64_t n = j / positions, oh = j % positions / s->OW, ow = j % s->OW;
            const float *plane = x + (n * s->C + f / filters * channels + c) * s->H * s->W;
            const double g = grad[(n * s->F + f) * positions + oh * s->OW + ow];
            const double v = at(s, plane, oh * s->stride_h - s->pad_h + kh * s->dilation_h,
                                ow * s->stride_w - s->pad_w + kw * s->dilation_w);
            const double difference = v - weight[i];
            sum += g * (sign ? (difference > 0) - (difference < 0) : difference);
            size += fabs(g) * (sign ? 1 : fabs(v) + fabs((double)weight[i]));
        }
        grad_weight[i] = sum;
        bound[i] = slack((double)(s->N * positions)) * size;
    }
}

void reference_affine(const adder_shape *s, const adder_epilogue *e, double *y, double *bound) {
    const int64_t positions = s->OH * s->OW;
    for (int64_t i = 0; i < s->N * s->F * positions; i++) {
        const int64_t f = i / positions % s->F;
        if (e->scale) {
            bound[i] = bound[i] * fabs(e->scale[f]) + 4 * U * (fabs(e->scale[f] * y[i]) + fabs(e->shift[f]));
            y[i] = e->scale[f] * y[i] + e->shift[f];
        }
        if (e->residual) {
            bound[i] += 4 * U * (fabs(y[i]) + fabs(e->residual[i]));
            y[i] += e->residual[i];
        }
        if (e->relu) y[i] = fmax(y[i], 0);
    }
}

void reference_moments(int64_t N, int64_t F, int64_t P, const double *y, double *mean, double *variance) {
    for (int64_t f = 0; f < F; f++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < N * P; i++) sum += y[(i / P * F + f) * P + i % P];
        mean[f] = sum / (double)(N * P);
        for (int64_t i = 0; i < N * P; i++) {
            const double centred = y[(i / P * F + f) * P + i % P] - mean[f];
            squares += centred * centred;
        }
        variance[f] = squares / (double)(N * P);
    }
}

void reference_normalize_backward(int64_t N, int64_t F, int64_t P, const float *grad, const float *z, const float *y,
                                  const float *mean, const float *invstd, const float *gamma, double *grad_y,
                                  double *grad_gamma, double *grad_beta, double *masked, double *bound,
                                  double *bound_gamma, double *bound_beta) {
    const double count = (double)(N * P);
    for (int64_t f = 0; f < F; f++) {
        double beta = 0, scale = 0, beta_size = 0, scale_size = 0;
        for (int64_t j = 0; j < N * P; j++) {
            const int64_t i = (j / P * F + f) * P + j % P;
            masked[i] = z && !(z[i] > 0) ? 0.0 : grad[i];
            const double centred = ((double)y[i] - mean[f]) * invstd[f];
            beta += masked[i];
            scale += masked[i] * centred;
            beta_size += fabs(masked[i]);
            scale_size += fabs(masked[i]) * (fabs((double)y[i]) + fabs((double)mean[f])) * invstd[f];
        }
        grad_beta[f] = beta;
        grad_gamma[f] = scale;
        bound_beta[f] = slack(count) * beta_size;
        bound_gamma[f] = slack(count) * scale_size;
        for (int64_t j = 0; j < N * P; j++) {
            const int64_t i = (j / P * F + f) * P + j % P;
            const double centred = ((double)y[i] - mean[f]) * invstd[f];
            const double size = (fabs((double)y[i]) + fabs((double)mean[f])) * invstd[f];
            grad_y[i] = gamma[f] * invstd[f] * (masked[i] - (beta + centred * scale) / count);
            bound[i] = 16 * U * fabs(masked[i]) + (bound_beta[f] + 16 * U * fabs(beta)) / count;
            bound[i] += (size * bound_gamma[f] + 16 * U * (1 + size) * fabs(scale)) / count;
            bound[i] *= fabs(gamma[f]) * invstd[f];
        }
    }
}
