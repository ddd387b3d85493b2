"""What one image costs: operations, parameters, memory, energy, latency. Exact, from shapes alone.

Convention (docs/counts.md): the n multiply-accumulates of convolution and linear layers; batch normalisation,
activations, pooling, the addition at the end of a residual block and the scaling factors of binary layers are not
counted.

| layer | additions | multiplications | XNORs |
|---|---|---|---|
| convolution | n | n | – |
| adder | 2n (a subtraction and an accumulation) | – | – |
| `bnn`, `xnor` | n | – | n |
| `bwn` (the sign says whether a term is added or subtracted) | n | – | – |
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Final, Literal, get_args

from addercore.arch.layers import AvgPool, BatchNorm, Conv, Flatten, Leaf, Linear, MaxPool, Network, Placed, ReLU, Shape
from addercore.arch.methods import BINARY, Method, check_method, realisation, realised

DataType = Literal["fp32", "fp16", "int32", "int8"]
DATA_TYPES: Final[tuple[DataType, ...]] = get_args(DataType)

_ADD_J: Final[dict[DataType, float]] = {"fp32": 0.9e-12, "fp16": 0.4e-12, "int32": 0.1e-12, "int8": 0.03e-12}
_MUL_J: Final[dict[DataType, float]] = {"fp32": 3.7e-12, "fp16": 1.1e-12, "int32": 3.1e-12, "int8": 0.2e-12}
"""Joules an operation, 45 nm (M. Horowitz, "Computing's energy problem", ISSCC 2014)."""

XNOR_J: Final = 0.03e-12 / 8
"""No figure is published for a one-bit XNOR. A bit of an adder holds two such gates and the carry, so an eighth of the
8-bit addition is an upper bound, which is counted."""

_BYTES: Final[dict[DataType, int]] = {"fp32": 4, "fp16": 2, "int32": 4, "int8": 1}

ADD_CYCLES: Final = 2  # as the latency model of the paper's MNIST table has it
MUL_CYCLES: Final = 4
XNOR_CYCLES: Final = 1
"""The paper has none: an instruction of logic takes one cycle. Bits are counted one by one, not 64 in a word."""


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

    @property
    def cycles(self) -> int:
        """The latency model: each operation's latency, one after the other."""
        return self.add * ADD_CYCLES + self.mul * MUL_CYCLES + self.xnor * XNOR_CYCLES


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One layer: the torch module's name, its kind as realised, and what it costs for one image."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    operations: Operations
    parameter_bytes: int
    activation_bytes: int
    energy_joules: float
    method: Method = "conv"  # as realised; of a layer without operations it says nothing

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.output_shape),
            "parameters": self.parameters,
            "operations": self.operations.to_dict(),
            "parameter_bytes": self.parameter_bytes,
            "activation_bytes": self.activation_bytes,
            "energy_joules": self.energy_joules,
            "latency_cycles": self.operations.cycles,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals for one image, and every layer's part; what is not binary is of `data_type`.

    `parameter_bytes`: the parameters, of binary layers one bit a weight (whole bytes a layer) and the scaling factors.
    `activation_bytes`: every layer's output, what a training step keeps for an image (flattening is a view).
    `energy_joules`: the counted operations at 45 nm, arithmetic only (no memory traffic). Sums of bits are int32.
    `energy_by_data_type`: the same with numbers of each type.
    `latency_cycles`: the latency model of the paper's MNIST table: additions 2, multiplications 4, XNORs 1.
    """

    layers: tuple[LayerCount, ...]
    data_type: DataType = "fp32"

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def operations(self) -> Operations:
        return sum((layer.operations for layer in self.layers), Operations())

    @property
    def parameter_bytes(self) -> int:
        return sum(layer.parameter_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def energy_joules(self) -> float:
        return sum(layer.energy_joules for layer in self.layers)

    @property
    def energy_by_data_type(self) -> dict[DataType, float]:
        return {
            kind: sum(_energy(layer.operations, layer.method, kind) for layer in self.layers) for kind in DATA_TYPES
        }

    @property
    def latency_cycles(self) -> int:
        return self.operations.cycles

    def totals(self) -> dict[str, Any]:
        """All but the layers: what a job's result has as `counts`."""
        return {
            "parameters": self.parameters,
            "operations": self.operations.to_dict(),
            "data_type": self.data_type,
            "parameter_bytes": self.parameter_bytes,
            "activation_bytes": self.activation_bytes,
            "energy_joules": self.energy_joules,
            "energy_by_data_type": self.energy_by_data_type,
            "latency_cycles": self.latency_cycles,
        }

    def to_dict(self) -> dict[str, Any]:
        """The `model` object of `POST /v1/jobs?validate_only=true`."""
        return {**self.totals(), "layers": [layer.to_dict() for layer in self.layers]}


def _kind(layer: Leaf, method: Method) -> str:
    match layer:
        case Conv():
            return "conv" if method == "conv" else f"{method}_conv"
        case Linear():
            return "linear" if method == "conv" else f"{method}_linear"
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


def _operations(n: int, method: Method) -> Operations:
    """Of a layer with `n` multiply-accumulates."""
    match method:
        case "adder":
            return Operations(add=2 * n)
        case "conv":
            return Operations(add=n, mul=n)
        case "bwn":
            return Operations(add=n)
        case _:
            return Operations(add=n, xnor=n)


def _energy(operations: Operations, method: Method, data_type: DataType) -> float:
    summed: DataType = "int32" if method in ("bnn", "xnor") else data_type
    return operations.add * _ADD_J[summed] + operations.mul * _MUL_J[data_type] + operations.xnor * XNOR_J


def _weight_bytes(filters: int, taps: int, method: Method, data_type: DataType) -> int:
    """Of `filters` filters of `taps` weights."""
    if method not in BINARY:
        return filters * taps * _BYTES[data_type]
    factors = 1 if method == "bnn" else filters
    return ceil(filters * taps / 8) + factors * _BYTES[data_type]


def _count_layer(placed: Placed, method: str, first_last: str, data_type: DataType) -> LayerCount:
    layer = placed.layer
    kind: Method = "conv"
    parameters, size, operations = 0, 0, Operations()
    if isinstance(layer, Conv | Linear):
        kind = realisation(layer, method, first_last)
        if isinstance(layer, Conv):
            filters, taps = layer.out_channels, layer.in_channels // layer.groups * prod(layer.kernel)
        else:
            filters, taps = layer.out_features, layer.in_features
        parameters, size = filters * taps, _weight_bytes(filters, taps, kind, data_type)
        operations = _operations(prod(placed.output_shape) * taps, kind)
    elif isinstance(layer, BatchNorm):
        parameters = 2 * layer.features  # γ and β; running statistics are no parameters
        size = parameters * _BYTES[data_type]
    return LayerCount(
        name=placed.name,
        kind=_kind(layer, kind),
        output_shape=placed.output_shape,
        parameters=parameters,
        operations=operations,
        parameter_bytes=size,
        activation_bytes=0 if isinstance(layer, Flatten) else prod(placed.output_shape) * _BYTES[data_type],
        energy_joules=_energy(operations, kind, data_type),
        method=kind,
    )


def count(net: Network, method: str = "adder", first_last: str = "adder", data_type: str = "fp32") -> Counts:
    """What `net` costs for one image, realised by `method`, with numbers of `data_type`.

    Raises:
        ValueError: a name is unknown; it says which are known.
    """
    check_method(method, first_last)
    known = next((one for one in DATA_TYPES if one == data_type), None)
    if known is None:
        raise ValueError(f"unknown data_type {data_type!r}; known: {', '.join(DATA_TYPES)}")
    placed = realised(net, method, first_last).layers()
    return Counts(tuple(_count_layer(item, method, first_last, known) for item in placed), known)
