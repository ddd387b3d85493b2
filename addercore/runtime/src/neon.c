#include "neon.inc"

#include "depthwise.inc"

const unit_t unit_neon = {"neon", sad, dot, depthwise, 1};
