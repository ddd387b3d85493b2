"""How a network's similarities are computed (eq. 1): the methods, and what each makes of one and the same tree."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

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
    Sequential,
)

Method = Literal["adder", "conv", "bnn", "xnor", "bwn"]

METHODS: Final[tuple[Method, ...]] = ("adder", "conv", "bnn", "xnor", "bwn")
"""adder filters (eq. 2) · the convolutional twin · 1-bit weights and activations as DoReFa-Net has them
(arXiv:1606.06160) · XNOR-Net · XNOR-Net's binary weights with float activations (both arXiv:1603.05279)."""

BINARY: Final[tuple[Method, ...]] = ("bnn", "xnor", "bwn")
"""Methods whose weights have one bit each, and a scaling factor."""

FIRST_LAST: Final = ("adder", "conv")
"""The first and the last layer: `adder` turns them into what the method makes of every other layer, `conv` keeps
convolutions, as the published CIFAR and ImageNet tables do, and the binary networks' papers."""


def default_first_last(method: str) -> str:
    """What is published: binary networks keep both ends as convolutions; on MNIST every layer is an adder."""
    return "adder" if method == "adder" else "conv"


def check_method(method: str, first_last: str) -> None:
    """`ValueError` naming what is unknown, and what is known."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    if first_last not in FIRST_LAST:
        raise ValueError(f"unknown first_last {first_last!r}; known: {', '.join(FIRST_LAST)}")


def realisation(layer: Conv | Linear, method: str, first_last: str) -> Method:
    """What `layer` computes in a network of `method`; both names are known ones."""
    if layer.role != "inner" and first_last == "conv":
        return "conv"
    return next(known for known in METHODS if known == method)


def realised(net: Network, method: str, first_last: str) -> Network:
    """The tree as `method` computes it: the same layers by the same names, but for what stands before signs.

    XNOR-Net reduces a layer's input to its signs. After a ReLU each would be +1, and after max pooling nearly each, so
    its block is pool, normalise, sign, convolve (arXiv:1603.05279, section 3.2). Here the tree's own normalisation
    takes that place: in front of an `xnor` layer, normalise–ReLU–pool becomes pool–normalise, and ReLU goes. The other
    methods take the tree as it is: DoReFa's activations are clipped to 0…1 before they are rounded, which a ReLU in
    front does not change, and binary weights do not touch the input.
    """
    if method != "xnor":
        return net

    def takes_signs(layer: Conv | Linear) -> bool:
        return realisation(layer, method, first_last) == "xnor"

    return replace(net, body=_sequence(net.body, False, takes_signs))


def _begins(node: Node, following: bool, takes_signs: Callable[[Conv | Linear], bool]) -> bool:
    """Whether what enters `node` is reduced to signs before anything else but pooling; `following`: what leaves it."""
    match node:
        case Conv() | Linear():
            return takes_signs(node)
        case MaxPool() | AvgPool() | Flatten():
            return following
        case BatchNorm() | ReLU():
            return False
        case Sequential():
            for child in reversed(node.children):
                following = _begins(child, following, takes_signs)
            return following
        case Residual():
            return _begins(node.body, following, takes_signs)


def _rewrite(node: Node, following: bool, takes_signs: Callable[[Conv | Linear], bool]) -> Node:
    match node:
        case Sequential():
            return _sequence(node, following, takes_signs)
        case Residual():
            shortcut = None if node.shortcut is None else _sequence(node.shortcut, following, takes_signs)
            return replace(node, body=_sequence(node.body, following, takes_signs), shortcut=shortcut)
        case _:
            return node


def _sequence(node: Sequential, following: bool, takes_signs: Callable[[Conv | Linear], bool]) -> Sequential:
    """`node` with its children in the order that suits signs; `following`: what leaves it is reduced to signs."""
    kept: list[Node] = []  # from the end to the beginning
    for child in reversed(node.children):
        if following and isinstance(child, ReLU):
            continue
        at = len(kept)
        while following and isinstance(child, BatchNorm) and at and isinstance(kept[at - 1], MaxPool):
            at -= 1  # pools come before it
        kept.insert(at, _rewrite(child, following, takes_signs))
        following = _begins(child, following, takes_signs)
    return replace(node, children=tuple(reversed(kept)))
