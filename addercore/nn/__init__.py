"""Adder layers as torch modules."""

from addercore.nn.containers import FusingSequential, ResidualBlock
from addercore.nn.layers import Adder2d, AdderLayer, AdderLinear, adder_parameters

__all__ = ["Adder2d", "AdderLayer", "AdderLinear", "FusingSequential", "ResidualBlock", "adder_parameters"]
