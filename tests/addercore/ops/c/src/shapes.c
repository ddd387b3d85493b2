/* Cases: shapes that have an edge of their own, then random ones. */
#include "check.h"

/* N C H W | F KH KW | stride h w | padding h w | dilation h w | groups */
static const int fixed[FIXED][14] = {
    {2, 1, 32, 32, 6, 5, 5, 1, 1, 0, 0, 1, 1, 1},    /* LeNet-5: conv1 … */
    {2, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0, 1, 1, 1},   /* … conv2 … */
    {1, 16, 5, 5, 120, 5, 5, 1, 1, 0, 0, 1, 1, 1},   /* … conv3, one output position … */
    {5, 120, 1, 1, 84, 1, 1, 1, 1, 0, 0, 1, 1, 1},   /* … and the linear layers */
    {3, 84, 1, 1, 10, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 16, 32, 32, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* ResNet-20: a stage … */
    {2, 16, 16, 16, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1},  /* … its stride-2 layer … */
    {2, 16, 16, 16, 32, 1, 1, 2, 2, 0, 0, 1, 1, 1},  /* … the 1×1 shortcut … */
    {2, 64, 8, 8, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},    /* … the last stage */
    {1, 8, 14, 14, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},      /* one of everything */
    {1, 3, 1, 1, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1},      /* only the middle tap is inside */
    {1, 2, 1, 1, 3, 1, 1, 1, 1, 2, 2, 1, 1, 1},      /* most outputs see padding alone */
    {2, 3, 1, 40, 5, 1, 7, 1, 1, 0, 3, 1, 1, 1},     /* one row */
    {2, 3, 40, 1, 5, 7, 1, 1, 1, 3, 0, 1, 1, 1},     /* one column */
    {1, 5, 9, 17, 7, 2, 4, 1, 1, 0, 1, 1, 1, 1},     /* even, rectangular */
    {1, 4, 15, 13, 9, 3, 3, 3, 2, 1, 0, 1, 1, 1},    /* strides that differ */
    {1, 3, 11, 9, 5, 2, 2, 4, 4, 0, 0, 1, 1, 1},     /* stride beyond the window: pixels without a tap */
    {1, 2, 12, 12, 4, 3, 3, 1, 1, 2, 2, 2, 2, 1},    /* dilation */
    {2, 3, 13, 12, 4, 3, 2, 2, 3, 2, 1, 2, 3, 1},    /* dilation and stride */
    {1, 2, 7, 7, 3, 3, 3, 1, 1, 4, 5, 1, 1, 1},      /* more padding than window */
    {2, 8, 7, 7, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},      /* depthwise */
    {3, 20, 30, 33, 20, 3, 3, 1, 1, 1, 1, 1, 1, 20}, /* … for several threads */
    {2, 5, 14, 13, 5, 3, 3, 2, 2, 1, 1, 1, 1, 5},    /* … with strides */
    {2, 3, 9, 21, 3, 5, 4, 3, 1, 2, 0, 1, 2, 3},     /* … that differ, and dilation */
    {1, 3, 11, 9, 3, 2, 2, 4, 4, 1, 3, 1, 1, 3},     /* … pixels without a tap */
    {4, 2, 70, 41, 2, 1, 1, 1, 1, 0, 0, 1, 1, 2},    /* … one tap: rows end where the next begins */
    {1, 6, 9, 9, 12, 3, 3, 2, 2, 1, 1, 1, 1, 3},     /* groups */
    {1, 7, 6, 31, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1},    /* one short of a tile */
    {1, 7, 6, 33, 15, 3, 3, 1, 1, 1, 1, 1, 1, 1},    /* one more than a tile */
    {0, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1},      /* an empty batch */
    {3, 16, 16, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* work for several threads */
    {2, 9, 33, 29, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1},
    {64, 30, 1, 1, 200, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 512, 2, 2, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1},    /* K = 4608 */
};

static int between(int least, int most) { return least + (int)(next_random() % (unsigned)(most - least + 1)); }

static void set(adder_shape *s, const int *v) {
    *s = (adder_shape){.N = v[0], .C = v[1], .H = v[2], .W = v[3], .F = v[4], .KH = v[5], .KW = v[6],
                       .stride_h = v[7], .stride_w = v[8], .pad_h = v[9], .pad_w = v[10],
                       .dilation_h = v[11], .dilation_w = v[12], .groups = v[13]};
    s->OH = (s->H + 2 * s->pad_h - s->dilation_h * (s->KH - 1) - 1) / s->stride_h + 1;
    s->OW = (s->W + 2 * s->pad_w - s->dilation_w * (s->KW - 1) - 1) / s->stride_w + 1;
}

static int fits(const int *v) {
    return v[2] + 2 * v[9] > v[11] * (v[5] - 1) && v[3] + 2 * v[10] > v[12] * (v[6] - 1);
}

int next_shape(adder_shape *s, int index) {
    if (index < FIXED) {
        set(s, fixed[index]);
        return 1;
    }
    int v[14];
    do {
        const int groups = next_random() % 4 ? 1 : between(1, 4), plain = next_random() % 2;
        const int random[14] = {next_random() % 8 ? between(1, 4) : between(5, 40), groups * between(1, 12), between(1, 20), between(1, 40),
                                groups * between(1, 20), between(1, 5), between(1, 5),
                                plain ? 1 : between(1, 4), plain ? 1 : between(1, 4), between(0, 3), between(0, 3),
                                plain ? 1 : between(1, 3), plain ? 1 : between(1, 3), groups};
        for (int i = 0; i < 14; i++) v[i] = random[i];
        if (next_random() % 6 == 0) v[4] = v[13] = v[1]; /* depthwise */
    } while (!fits(v));
    set(s, v);
    return s->N * s->F * s->OH * s->OW * (s->C / s->groups) * s->KH * s->KW < 1000000;
}
