"""Writes graphs of ONNX, node by node. Needs the package onnx, the extra `onnx`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from addercore.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET: Final = 25
"""Version of the standard operators."""
IR_VERSION: Final = 13
"""Version of the file format that came with them."""
DOMAIN: Final = "adderworks"
"""Of the local functions."""


def required() -> Any:
    """The package onnx.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModuleNotFoundError(
            "writing ONNX needs the package onnx: pip install 'adderworks[onnx]'", name="onnx"
        ) from error
    return onnx


class Writer:
    """A list of nodes that grows, with the constants that they read.

    Args:
        begin: stands in front of all names of values that the writer makes up.
    """

    def __init__(self, begin: str = "") -> None:
        self.onnx = required()
        self.begin = begin
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: dict[str, int] = {}
        self._numbers: dict[tuple[str, tuple[int, ...]], str] = {}

    def node(self, kind: str, inputs: Sequence[str], name: str = "", domain: str = "", **attributes: Any) -> str:
        """Adds a node; the name of what it gives, which is `name` where that is still free."""
        out = self._fresh(name or kind.lower())
        made = self.onnx.helper.make_node(kind, list(inputs), [out], name=out, domain=domain, **attributes)
        self.nodes.append(made)
        return out

    def constant(self, values: Any, name: str = "constant") -> str:
        """Adds a constant, a numpy array; its name."""
        out = self._fresh(name)
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), out))
        return out

    def numbers(self, *values: int, name: str = "numbers") -> str:
        """A constant int64 (len(values),); equal ones of one name are one."""
        key = (name, values)
        if key not in self._numbers:
            self._numbers[key] = self.constant(np.array(values, np.int64), name)
        return self._numbers[key]

    def cast(self, value: str, kind: Any) -> str:
        """The value in another type, a numpy dtype."""
        return self.node("Cast", [value], to=self.kind(kind))

    def kind(self, kind: Any) -> int:
        """ONNX's number of a numpy dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def channelwise(self, values: Any, name: str = "channels") -> str:
        """A constant (C,) as (1, C, 1, 1)."""
        return self.constant(values.reshape(1, -1, 1, 1), name)

    def planes(self, value: str, size: tuple[int, int]) -> str:
        """(N, G, F / G, H' · W') → (N, F, H', W')."""
        return self.node("Reshape", [value, self.numbers(0, -1, *size)], "planes")

    def _fresh(self, name: str) -> str:
        found = self.begin + name
        count = self._names.get(found, 0)
        self._names[found] = count + 1
        return found if count == 0 else self._fresh(f"{name}_{count}")

    def ending(self, value: str, name: str) -> None:
        """Gives a value the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=f"as_{name}"))


def model_of(
    writer: Writer, functions: Sequence[Any], shape: Sequence[int], classes: Sequence[str], about: dict[str, str]
) -> ModelProto:
    """The model that takes `pixels` and gives `scores`, checked.

    Args:
        writer: with all nodes, and `scores` among what they give.
        functions: local functions that the nodes call.
        shape: (C, H, W) of an image.
        classes: names of the scores.
        about: metadata beside `classes`.
    """
    onnx = writer.onnx
    helper = onnx.helper
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["batch", *shape])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["batch", len(classes)])
    graph = helper.make_graph(writer.nodes, "network", [pixels], [scores], writer.constants)
    made: ModelProto = helper.make_model(
        graph,
        functions=list(functions),
        opset_imports=opsets(onnx),
        ir_version=IR_VERSION,
        producer_name="adderworks",
        producer_version=__version__,
    )
    helper.set_model_props(made, {"classes": json.dumps(list(classes), ensure_ascii=False), **about})
    onnx.checker.check_model(made, full_check=True)
    return made


def opsets(onnx: Any) -> list[Any]:
    """What models and local functions import."""
    return [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(DOMAIN, 1)]
