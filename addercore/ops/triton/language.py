"""Which language the kernels are read in: Gluon for a GPU, the interpreter's reading of it on a CPU.

`triton.jit` decides when a function is decorated, so TRITON_INTERPRET=1 must stand in the environment before this
module is imported for the first time.
"""

from typing import Any

import triton
import triton.language as tl

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)


def _languages() -> tuple[Any, Any]:
    """(names that kernels call `gl`, their decorator)."""
    if INTERPRETED:
        from addercore.ops.triton import interpreted

        return interpreted, triton.jit
    from triton.experimental import gluon
    from triton.experimental.gluon import language

    return language, gluon.jit


gl, jit = _languages()

__all__ = ["INTERPRETED", "gl", "jit", "tl"]
