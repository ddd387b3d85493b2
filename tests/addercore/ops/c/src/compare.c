/* Values against their bounds, bits against bits; and the case at hand, for a program that dies. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double worst;
static char current[600];

static void where(char *text, size_t room, const adder_shape *s) {
    snprintf(text, room,
             "x (%lld, %lld, %lld, %lld), weight (%lld, %lld, %lld, %lld), out %lld×%lld, stride %lld %lld, "
             "padding %lld %lld, dilation %lld %lld, groups %lld",
             (long long)s->N, (long long)s->C, (long long)s->H, (long long)s->W, (long long)s->F,
             (long long)(s->groups ? s->C / s->groups : 0), (long long)s->KH, (long long)s->KW, (long long)s->OH,
             (long long)s->OW, (long long)s->stride_h, (long long)s->stride_w, (long long)s->pad_h,
             (long long)s->pad_w, (long long)s->dilation_h, (long long)s->dilation_w, (long long)s->groups);
}

void expect_close(const char *what, const adder_shape *s, const float *got, const double *want, const double *bound,
                  size_t n) {
    char text[400];
    for (size_t i = 0; i < n; i++) {
        const double error = fabs(got[i] - want[i]);
        if (error <= bound[i] + 1e-30) {
            worst = fmax(worst, error / (bound[i] + 1e-30));
            continue;
        }
        where(text, sizeof text, s);
        fail("%s[%zu] is %.9g and should be %.9g ± %.2g: %s", what, i, (double)got[i], want[i], bound[i], text);
    }
}

void expect_same_bits(const char *what, const adder_shape *s, const float *a, const float *b, size_t n) {
    char text[400];
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a)) {
            where(text, sizeof text, s);
            fail("%s[%zu]: %.9g and %.9g differ in bits: %s", what, i, (double)a[i], (double)b[i], text);
        }
}

double worst_error(void) { return worst; }

void now(const char *what, const adder_shape *s) {
    const int used = snprintf(current, sizeof current, "a step outside a buffer in %s: ", what);
    where(current + used, sizeof current - (size_t)used - 1, s);
    strcat(current, "\n");
}

static void tell(int signal) {
    if (write(STDERR_FILENO, current, strlen(current)) < 0) _exit(2);
    _exit(128 + signal);
}

void tell_on_crash(void) {
    sigaction(SIGSEGV, &(struct sigaction){.sa_handler = tell}, NULL);
    sigaction(SIGBUS, &(struct sigaction){.sa_handler = tell}, NULL);
}
