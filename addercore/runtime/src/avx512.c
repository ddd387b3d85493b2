#include "avx512.inc"

#include "depthwise.inc"

const unit_t unit_avx512 = {"avx512", sad, dot, depthwise, 1};
