"""The adder layer as functions, and the backends that compute it."""

from addercore.ops.functional import GRADIENTS, Gradient, adder_conv2d, adder_linear
from addercore.ops.geometry import Geometry
from addercore.ops.registry import DEFAULT, ENVIRONMENT, Backend, available, get

__all__ = [
    "DEFAULT",
    "ENVIRONMENT",
    "GRADIENTS",
    "Backend",
    "Geometry",
    "Gradient",
    "adder_conv2d",
    "adder_linear",
    "available",
    "get",
]
