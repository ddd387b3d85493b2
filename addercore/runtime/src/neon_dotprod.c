#include "neon.inc"

#include "depthwise.inc"

const unit_t unit_neon_dotprod = {"neon_dotprod", sad, dot, depthwise, 1};
