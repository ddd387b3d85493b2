#include "avx512.inc"

const unit_t unit_avx512vnni = {"avx512vnni", sad, dot, 1};
