#include "avx512.inc"

const unit_t unit_avx512 = {"avx512", sad, dot, 1};
