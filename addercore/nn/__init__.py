"""Adder layers and binary layers as torch modules."""

from addercore.nn.binary import Binary2d, BinaryLayer, BinaryLinear
from addercore.nn.containers import FusingSequential, ResidualBlock
from addercore.nn.layers import Adder2d, AdderLayer, AdderLinear, adder_parameters

__all__ = [
    "Adder2d",
    "AdderLayer",
    "AdderLinear",
    "Binary2d",
    "BinaryLayer",
    "BinaryLinear",
    "FusingSequential",
    "ResidualBlock",
    "adder_parameters",
]
