#include "neon.inc"

const unit_t unit_neon = {"neon", sad, dot, 1};
