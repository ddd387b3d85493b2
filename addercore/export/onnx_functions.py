"""The adder layer of ONNX: two local functions of standard operators, for floats and for integers alike.

`Windows` loops over the taps of a window and gathers what each sees, and `Distances` loops over the filters of a group,
for all groups at once: a depthwise layer is as many nodes as any other. So a layer needs a few times the memory of its
windows, (N, kernel · C, H' · W'), and never (N, F, C, H', W'). Below, G is the number of groups, K = kernel · C / G is
what a filter sees of one position, and P = H' · W'.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from addercore.export.onnx_graph import DOMAIN, Writer, opsets
from addercore.runtime.program import Window

WINDOWS: Final = "Windows"
DISTANCES: Final = "Distances"
GEOMETRY: Final = ("kernel", "strides", "dilations", "pads", "size", "groups")
"""Inputs of `Windows` and not attributes: ONNX Runtime before 1.25 cannot tell their shapes in a function."""


def windows_call(writer: Writer, source: str, pad: str, window: Window, size: tuple[int, int], name: str) -> str:
    """Adds a call of `Windows`: (N, C, H, W) → (N, G, K, P).

    Args:
        writer: gets the node.
        source: the value (N, C, H, W).
        pad: a value of one element of the same type, which lies outside of the image.
        window: kernel, stride, padding, dilation and groups.
        size: (H', W').
        name: of what comes out.
    """
    given = (window.kernel, window.stride, window.dilation, window.padding * 2, size, (window.groups,))
    geometry = [writer.numbers(*one, name=option) for option, one in zip(GEOMETRY, given, strict=True)]
    return writer.node(WINDOWS, [source, pad, *geometry], name, DOMAIN)


def filters_of(weights: Any, groups: int) -> Any:
    """(F, C / G, kernel height, kernel width) → (G, F / G, K), what a filter sees in the order of `Windows`."""
    return np.ascontiguousarray(weights.transpose(0, 2, 3, 1).reshape(groups, len(weights) // groups, -1))


def distances_call(writer: Writer, windows: str, filters: str, name: str) -> str:
    """Adds a call of `Distances`: (N, G, K, P) and filters (F / G, G, K) → (N, G, F / G, P)."""
    return writer.node(DISTANCES, [windows, filters], name, DOMAIN)


def functions(writer: Writer, kind: Any) -> list[Any]:
    """Both functions, for values of a numpy dtype: float32, or int32."""
    return [_windows(writer, kind), _distances(writer, kind)]


def _windows(outer: Writer, kind: Any) -> Any:
    """x (N, C, H, W), pad (1,) → what each tap of the window sees, (N, G, K, P), tap by tap."""
    onnx, inner = outer.onnx, _Body(outer)
    padded = inner.node("Pad", ["x", "pads", "pad", inner.numbers(2, 3)], "padded")
    taps = inner.node("ReduceProd", ["kernel"], "taps", keepdims=0)
    columns = inner.node("Gather", ["kernel", inner.numbers(1)], "columns")
    less = inner.node("Sub", ["size", inner.numbers(1)])
    reach = inner.node("Add", [inner.node("Mul", [less, "strides"]), inner.numbers(1)], "reach")
    axes = inner.numbers(2, 3)
    step = _Body(outer, "each_")
    place = step.node("Unsqueeze", ["tap", step.numbers(0)], "place")
    row, column = step.node("Div", [place, columns], "row"), step.node("Mod", [place, columns], "column")
    begin = step.node("Mul", [step.node("Concat", [row, column], axis=0), "dilations"], "begin")
    end = step.node("Add", [begin, reach], "end")
    seen = step.node("Slice", [padded, begin, end, axes, "strides"], "seen")
    going = step.node("Identity", ["going"], "going_on")
    body = _graph(
        onnx,
        step,
        [("tap", np.int64, []), ("going", np.bool_, [])],
        [(going, np.bool_, []), (seen, kind, None)],
        "look_through_tap",
    )
    forever = inner.node("Constant", [], value=onnx.numpy_helper.from_array(np.array(True)))
    stacked = inner.node("Loop", [taps, forever], "stacked", body=body)
    positions = inner.node("ReduceProd", ["size"], "positions", keepdims=1)
    apart = inner.node("Concat", [inner.numbers(0, 0), "groups", inner.numbers(-1), positions], axis=0)
    by_tap = inner.node("Reshape", [stacked, apart], "by_tap")  # (kernel, N, G, C / G, P)
    by_image = inner.node("Transpose", [by_tap], "by_image", perm=[1, 2, 0, 3, 4])
    together = inner.node("Concat", [inner.numbers(0, 0, -1), positions], axis=0)
    out = inner.node("Reshape", [by_image, together], "windows")
    return onnx.helper.make_function(DOMAIN, WINDOWS, ["x", "pad", *GEOMETRY], [out], inner.nodes, opsets(onnx))


def _distances(outer: Writer, kind: Any) -> Any:
    """windows (N, G, K, P), filters (F / G, G, K) → Σ |window − filter|, (N, G, F / G, P): eq. 2 but for its sign."""
    onnx, inner, step = outer.onnx, _Body(outer), _Body(outer, "each_")
    column = step.node("Unsqueeze", ["filter", step.numbers(2)], "column")
    apart = step.node("Abs", [step.node("Sub", ["windows", column])], "apart")
    distance = step.node("ReduceSum", [apart, step.numbers(2)], "distance", keepdims=0)
    body = _graph(onnx, step, [("filter", kind, None)], [(distance, kind, None)], "distance_of_filter")
    out = inner.node("Scan", ["filters"], "distances", body=body, num_scan_inputs=1, scan_output_axes=[2])
    return onnx.helper.make_function(DOMAIN, DISTANCES, ["windows", "filters"], [out], inner.nodes, opsets(onnx))


class _Body(Writer):
    """A function's or a loop's nodes. Functions have no constants of their own but those that nodes give."""

    def __init__(self, outer: Writer, begin: str = "") -> None:
        super().__init__(begin)
        self.onnx = outer.onnx

    def numbers(self, *values: int, name: str = "numbers") -> str:
        """int64 (len(values),)."""
        return self.node("Constant", [], name, value_ints=list(values))


def _graph(onnx: Any, writer: Writer, inputs: list[Any], outputs: list[Any], name: str) -> Any:
    """A loop's body; inputs and outputs are (name, numpy dtype, shape or None)."""

    def infos(values: list[Any]) -> list[Any]:
        return [onnx.helper.make_tensor_value_info(one, writer.kind(kind), shape) for one, kind, shape in values]

    return onnx.helper.make_graph(writer.nodes, name, infos(inputs), infos(outputs))
