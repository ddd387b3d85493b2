"""What one image costs: operations, parameters, energy, activations. Exact integers from shapes alone.

Convention (docs/paper.md, section 2): the n multiply-accumulates of convolution and linear layers; batch normalisation
and activations are not counted. Convolution: n mul + n add. Adder: 0 mul + 2n add (a subtraction and an accumulation).
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Final

from addercore.spec.layers import AvgPool, BatchNorm, Conv, Flatten, Leaf, Linear, MaxPool, Placed, ReLU, Shape
from addercore.spec.networks import Network, check_method, uses_adder

FP32_ADD_J: Final = 0.9e-12  # joules, 45 nm (Horowitz, ISSCC 2014)
FP32_MUL_J: Final = 3.7e-12  # joules, 45 nm (Horowitz, ISSCC 2014)
FP32_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations for one image."""

    add: int = 0
    mul: int = 0
    xnor: int = 0

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(self.add + other.add, self.mul + other.mul, self.xnor + other.xnor)

    def to_dict(self) -> dict[str, int]:
        return {"add": self.add, "mul": self.mul, "xnor": self.xnor}


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One layer: the torch module's name, its kind as realised, and what it costs for one image."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    operations: Operations

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.output_shape),
            "parameters": self.parameters,
            "operations": self.operations.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals for one image, and every layer's part.

    `energy_joules`: the counted operations in fp32 at 45 nm, arithmetic only (no memory traffic).
    `activation_bytes`: every layer's output in fp32, what a training step keeps for an image (flattening is a view).
    """

    layers: tuple[LayerCount, ...]
    parameters: int
    operations: Operations
    energy_joules: float
    activation_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The `model` object of `POST /v1/jobs?validate_only=true`."""
        return {
            "parameters": self.parameters,
            "operations": self.operations.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
            "energy_joules": self.energy_joules,
            "activation_bytes": self.activation_bytes,
        }


def _kind(layer: Leaf, adder: bool) -> str:
    match layer:
        case Conv():
            return "adder_conv" if adder else "conv"
        case Linear():
            return "adder_linear" if adder else "linear"
        case BatchNorm():
            return "batch_norm"
        case ReLU():
            return "relu"
        case MaxPool():
            return "max_pool"
        case AvgPool():
            return "avg_pool"
        case Flatten():
            return "flatten"


def _count_layer(placed: Placed, method: str, first_last: str) -> LayerCount:
    layer = placed.layer
    parameters, operations, adder = 0, Operations(), False
    if isinstance(layer, Conv | Linear):
        adder = uses_adder(layer, method, first_last)
        if isinstance(layer, Conv):
            taps = layer.in_channels // layer.groups * prod(layer.kernel)
            parameters = layer.out_channels * taps
        else:
            taps = layer.in_features
            parameters = layer.out_features * taps
        n = prod(placed.output_shape) * taps
        operations = Operations(add=2 * n) if adder else Operations(add=n, mul=n)
    elif isinstance(layer, BatchNorm):
        parameters = 2 * layer.features  # γ and β; running statistics are no parameters
    return LayerCount(placed.name, _kind(layer, adder), placed.output_shape, parameters, operations)


def count(net: Network, method: str = "adder", first_last: str = "adder") -> Counts:
    """Operations, parameters, energy and activations of `net` for one image, realised by `method`."""
    check_method(method, first_last)
    placed = net.layers()
    layers = tuple(_count_layer(item, method, first_last) for item in placed)
    operations = sum((layer.operations for layer in layers), Operations())
    return Counts(
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        operations=operations,
        energy_joules=operations.add * FP32_ADD_J + operations.mul * FP32_MUL_J,
        activation_bytes=FP32_BYTES
        * sum(prod(item.output_shape) for item in placed if not isinstance(item.layer, Flatten)),
    )
