#include "neon.inc"

const unit_t unit_neon_dotprod = {"neon_dotprod", sad, dot, 1};
