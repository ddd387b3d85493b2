"""The adder layer as functions, and the backends that compute it."""

from addercore.ops.backend import Backend
from addercore.ops.functional import GRADIENTS, Gradient, adder_conv2d, adder_linear
from addercore.ops.geometry import Geometry
from addercore.ops.registry import ENVIRONMENT, available, choose, get, select

__all__ = [
    "ENVIRONMENT",
    "GRADIENTS",
    "Backend",
    "Geometry",
    "Gradient",
    "adder_conv2d",
    "adder_linear",
    "available",
    "choose",
    "get",
    "select",
]
