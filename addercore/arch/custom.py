"""A network of one's own, from a list of layers: what `arch: custom` builds.

Each layer is a mapping with a `kind` and its options (`addercore.config.layers` checks them). A batch normalisation
follows every layer with weights, and a ReLU every normalisation unless `relu` is false. The classifier is added at the
end, behind a flattening if it takes one, with a normalisation over the classes as in the other networks.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from addercore.arch.counts import count
from addercore.arch.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Network,
    Node,
    ReLU,
    Residual,
    Role,
    Sequential,
    Shape,
    final_shape,
)

CUSTOM: Final = "custom"
MAX_LAYERS: Final = 200
"""Entries of the list, those within residual blocks included."""
MAX_PARAMETERS: Final = 200_000_000
MAX_OPERATIONS: Final = 50_000_000_000
"""Multiply-accumulates for one image."""

MAX_WIDTH: Final = 16_384
MAX_KERNEL: Final = 15
MAX_STRIDE: Final = 8
MAX_PADDING: Final = 7

Layer = Mapping[str, Any]
Bounds = tuple[int, int]

_WINDOW: Final[dict[str, Bounds]] = {
    "kernel": (1, MAX_KERNEL),
    "stride": (1, MAX_STRIDE),
    "padding": (0, MAX_PADDING),
}
_OPTIONS: Final[dict[str, dict[str, Bounds]]] = {
    "conv": {"filters": (1, MAX_WIDTH), "groups": (1, MAX_WIDTH), **_WINDOW},
    "depthwise": _WINDOW,
    "linear": {"features": (1, MAX_WIDTH)},
    "max_pool": {"size": (2, MAX_KERNEL), "stride": (1, MAX_STRIDE)},
    "avg_pool": {},
    "flatten": {},
    "residual": {},
}
_REQUIRED: Final = ("filters", "features", "size")
_NULLABLE: Final = ("padding", "stride")
_INNER: Final = ("conv", "depthwise")


def check_layers(layers: object, kinds: Sequence[str] = tuple(_OPTIONS)) -> None:
    """Raises `ValueError` where a list of layers is not what `addercore.config.layers` would let pass.

    For the manifests of stored models, which may come from anywhere.
    """
    if not isinstance(layers, list | tuple) or not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MAX_LAYERS} layers, got {reprlib.repr(layers)}")
    for number, said in enumerate(layers, 1):
        kind = said.get("kind") if isinstance(said, Mapping) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"layer {number} must have a kind out of {', '.join(kinds)}, got {reprlib.repr(said)}")
        _check_layer(number, said)


def _check_layer(number: int, said: Layer) -> None:
    options, several = _OPTIONS[said["kind"]], said["kind"] == "residual"
    if several:
        check_layers(said.get("layers"), _INNER)
    known = {"kind", "relu", *options, *(["layers"] if several else [])}
    if unknown := sorted(str(name) for name in set(said) - known):
        raise ValueError(f"layer {number} ({said['kind']}) has no option {', '.join(map(reprlib.repr, unknown))}")
    if not isinstance(said.get("relu", True), bool):
        raise ValueError(f"layer {number}: relu must be true or false, got {reprlib.repr(said['relu'])}")
    for name, (least, most) in options.items():
        value = said.get(name)
        if value is None and (name in _NULLABLE or (name not in said and name not in _REQUIRED)):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            must = f"layer {number}: {name} must be an integer from {least} to {most}"
            raise ValueError(f"{must}, got {reprlib.repr(value)}")


class _Builder:
    """Appends layers to a list and follows the shape of an image through them."""

    def __init__(self, shape: Shape, prefix: str, first: bool) -> None:
        self.shape, self.nodes, self._prefix, self._first = shape, list[Node](), prefix, first

    def add(self, *nodes: Node) -> None:
        for node in nodes:
            self.shape = final_shape(node, self.shape, self._prefix)
            self.nodes.append(node)

    def _role(self) -> Role:
        role: Role = "first" if self._first else "inner"
        self._first = False
        return role

    def normalised(self, layer: Conv | Linear, number: int, relu: bool) -> None:
        width = layer.out_channels if isinstance(layer, Conv) else layer.out_features
        self.add(layer, BatchNorm(f"bn{number}", width), *((ReLU(f"relu{number}"),) if relu else ()))

    def layer(self, number: int, said: Layer) -> None:
        """Appends what entry `number` (from 1) of the list says."""
        kind, relu = said["kind"], said.get("relu", True)
        if kind == "flatten" or (kind == "linear" and len(self.shape) == 3):
            self.add(Flatten(f"flatten{number}"))
        if kind in ("conv", "depthwise", "max_pool", "avg_pool", "residual") and len(self.shape) != 3:
            raise ValueError(f"layer {number} ({kind}) takes an image, but {self.shape[0]} features reach it")
        match kind:
            case "conv" | "depthwise":
                self.normalised(self._conv(number, said), number, relu)
            case "linear":
                self.normalised(Linear(f"fc{number}", self.shape[0], said["features"], self._role()), number, relu)
            case "max_pool":
                self.add(MaxPool(f"pool{number}", said["size"], said.get("stride")))
            case "avg_pool":
                self.add(AvgPool(f"pool{number}"))
            case "residual":
                self._residual(number, said)

    def _conv(self, number: int, said: Layer) -> Conv:
        channels, kernel, stride = self.shape[0], said.get("kernel", 3), said.get("stride") or 1
        padding = kernel // 2 if said.get("padding") is None else said["padding"]
        depthwise = said["kind"] == "depthwise"
        filters, groups = (channels, channels) if depthwise else (said["filters"], said.get("groups", 1))
        if channels % groups or filters % groups:
            raise ValueError(
                f"layer {number}: groups must divide {channels} channels and {filters} filters, got {groups}"
            )
        pairs = ((kernel, kernel), (stride, stride), (padding, padding))
        return Conv(f"conv{number}", channels, filters, *pairs, groups=groups, role=self._role())

    def _residual(self, number: int, said: Layer) -> None:
        name, before = f"block{number}", self.shape
        body = _Builder(before, f"{name}.body", self._first)
        for place, one in enumerate(said["layers"], 1):
            body.layer(place, one)
        self._first = body._first
        shortcut = None
        if body.shape != before:
            stride = tuple(-(-before[axis] // body.shape[axis]) for axis in (1, 2))
            resampled = Conv("conv", before[0], body.shape[0], (1, 1), (stride[0], stride[1]))
            shortcut = Sequential("shortcut", (resampled, BatchNorm("bn", body.shape[0])))
        self.add(Residual(name, Sequential("body", tuple(body.nodes)), shortcut))
        if said.get("relu", True):
            self.add(ReLU(f"relu{number}"))


def custom(layers: Sequence[Layer], input_shape: Shape, classes: int) -> Network:
    """Builds the network.

    Args:
        layers: in order; `kind` is `conv`, `depthwise`, `linear`, `max_pool`, `avg_pool`, `flatten` or `residual`.
        input_shape: (c, h, w) of an image.
        classes: how many there are.

    Raises:
        ValueError: a layer does not fit what reaches it, or the network is too large.
    """
    check_layers(layers)
    if (entries := sum(1 + len(one.get("layers", ())) for one in layers)) > MAX_LAYERS:
        raise ValueError(f"there are {entries} layers; at most {MAX_LAYERS} are taken")
    builder = _Builder(input_shape, "", True)
    for number, said in enumerate(layers, 1):
        builder.layer(number, said)
    if not any(isinstance(node, Conv | Linear | Residual) for node in builder.nodes):
        raise ValueError("there is no layer with weights; give at least one conv, depthwise, linear or residual")
    if len(builder.shape) == 3:
        builder.add(Flatten("flatten"))
    builder.add(Linear("classifier", builder.shape[0], classes, role="last"), BatchNorm("classifier_bn", classes))
    net = Network(CUSTOM, input_shape, classes, Sequential("", tuple(builder.nodes)))
    costs = count(net, "conv")
    for what, value, most in (
        ("parameters", costs.parameters, MAX_PARAMETERS),
        ("multiply-accumulates for an image", costs.operations.mul, MAX_OPERATIONS),
    ):
        if value > most:
            raise ValueError(f"the network has {value:,} {what}; at most {most:,} are taken")
    return net
