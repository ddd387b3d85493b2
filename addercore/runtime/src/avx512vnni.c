#include "avx512.inc"

#include "depthwise.inc"

const unit_t unit_avx512vnni = {"avx512vnni", sad, dot, depthwise, 1};
