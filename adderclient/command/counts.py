"""``adder count``: the operations, memory and energy of a network for one image. It asks no server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adderclient.command import completion
from adderclient.command.columns import Column
from adderclient.command.errors import UsageError
from adderclient.command.listing import Listed, Request, listing
from adderclient.command.output import fields, print_json
from adderclient.command.terminal import console
from adderclient.formats import energy, number, shape

if TYPE_CHECKING:
    from addercore.arch import Counts, Network

Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="Network.",
        show_default="all, a line each",
        autocompletion=completion.archs,
    ),
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="What its layers compute.", show_default="adder", autocompletion=completion.methods),
]
FirstLast = Annotated[
    str | None,
    typer.Option(
        "--first-last",
        help="First and last layer: `adder` (as the method has the others) or `conv`.",
        show_default="as published",
    ),
]
DatasetName = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Images, classes and ends as in its training recipe.")
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="CxHxW", help="Images, such as 3x32x32.", show_default="as published")
]
Classes = Annotated[int | None, typer.Option("--classes", help="Number of classes.", show_default="as published")]
DataType = Annotated[str, typer.Option("--data-type", help="Of numbers: fp32, fp16, int32 or int8.")]
Layers = Annotated[bool, typer.Option("--layers", help="Every layer as well.")]


@dataclass(frozen=True)
class Counted:
    """What a network costs with a method."""

    net: Network
    method: str
    ends: str
    counts: Counts


def _number(
    name: str, value: Callable[[Any], Any], rank: int, shown: Callable[[Any], str] = number, heading: str | None = None
) -> Column[Any]:
    return Column(name, value, lambda row: shown(value(row)), rank=rank, right=True, heading=heading)


NETWORKS: tuple[Column[Counted], ...] = (
    Column("network", lambda row: row.net.arch),
    Column("input", lambda row: shape(row.net.input_shape), rank=7),
    Column("method", lambda row: row.method, rank=1),
    Column("ends", lambda row: row.ends, rank=5),
    _number("add", lambda row: row.counts.operations.add, 2),
    _number("mul", lambda row: row.counts.operations.mul, 3),
    _number("xnor", lambda row: row.counts.operations.xnor, 6),
    _number("parameters", lambda row: row.counts.parameters, 8),
    _number("bytes", lambda row: row.counts.parameter_bytes, 9),
    _number("energy", lambda row: row.counts.energy_joules, 4, energy, "ENERGY, µJ"),
    _number("cycles", lambda row: row.counts.latency_cycles, 10),
)
LAYERS: tuple[Column[Any], ...] = (
    Column("layer", lambda one: one.name),
    Column("kind", lambda one: one.kind, rank=3),
    Column("output", lambda one: shape(one.output_shape), rank=4),
    _number("add", lambda one: one.operations.add, 1),
    _number("mul", lambda one: one.operations.mul, 2),
    _number("xnor", lambda one: one.operations.xnor, 6),
    _number("parameters", lambda one: one.parameters, 7),
    _number("bytes", lambda one: one.parameter_bytes, 9),
    _number("activation", lambda one: one.activation_bytes, 8),
    _number("energy", lambda one: one.energy_joules, 5, energy, "ENERGY, µJ"),
    _number("cycles", lambda one: one.operations.cycles, 10),
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(count)


@listing(paged=False, server=False)
def count(
    _: None,
    request: Request,
    arch: Arch = None,
    method: Method = None,
    first_last: FirstLast = None,
    dataset: DatasetName = None,
    size: Input = None,
    classes: Classes = None,
    data_type: DataType = "fp32",
    layers: Layers = False,
) -> Listed[Any]:
    """Count additions, multiplications, XNORs, parameters, memory and energy of a network for one image."""
    if dataset is not None and (size is not None or classes is not None):
        raise UsageError("--dataset says the images and the classes: leave out --input and --classes")
    if layers and arch is None:
        raise UsageError("--layers are of one network: name it with --arch")
    rows = _counted(arch, method, first_last, dataset, size, classes, data_type)
    if arch is None or (request.as_csv and not layers):
        return Listed(rows, NETWORKS, raw=lambda row: _document(row, layers=False))
    if request.as_json:
        print_json(_document(rows[0], layers=True))
        raise typer.Exit
    if not request.as_csv:
        _show(rows[0])
        if not layers:
            raise typer.Exit
        console().print()
    return Listed(rows[0].counts.layers, LAYERS)


def _counted(
    arch: str | None,
    method: str | None,
    first_last: str | None,
    dataset: str | None,
    size: str | None,
    classes: int | None,
    data_type: str,
) -> list[Counted]:
    """What each network costs with each method, of those that are named or of all."""
    from addercore.arch import ARCHS, METHODS, count

    try:
        methods = [method] if method else list(METHODS) if arch is None else ["adder"]
        nets = [_network(one, dataset, size, classes) for one in ([arch] if arch else ARCHS)]
        rows = []
        for net in nets:
            for kind in methods:
                ends = first_last or _published_ends(kind, dataset)
                rows.append(Counted(net, kind, ends, count(net, kind, ends, data_type)))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return rows


def _network(arch: str, dataset: str | None, size: str | None, classes: int | None) -> Network:
    from addercore import config
    from addercore.arch import PUBLISHED, network

    if dataset is not None:
        info = config.dataset(dataset)
        return network(arch, info.input_shape, len(info.classes))
    published_shape, published_classes = PUBLISHED.get(arch, ((1, 1, 1), 2))  # an unknown network is refused below
    input_shape = published_shape if size is None else _shape(size)
    return network(arch, input_shape, published_classes if classes is None else classes)


def _published_ends(method: str, dataset: str | None) -> str:
    from addercore.arch import default_first_last
    from addercore.config import recipe

    if dataset is None:
        return default_first_last(method)
    return str(recipe(dataset, method)["model"]["first_last"])


def _shape(size: str) -> tuple[int, ...]:
    """``3x32x32`` as numbers."""
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}){2}", size):
        raise UsageError(f"--input {size}: write channels, height and width as 3x32x32")
    return tuple(map(int, size.split("x")))


def _document(row: Counted, layers: bool) -> dict[str, Any]:
    about = {
        "arch": row.net.arch,
        "method": row.method,
        "first_last": row.ends,
        "input_shape": list(row.net.input_shape),
        "classes": row.net.classes,
    }
    return about | (row.counts.to_dict() if layers else row.counts.totals())


def _show(row: Counted) -> None:
    net, counts = row.net, row.counts
    ops = counts.operations
    image = shape(net.input_shape)
    fields(
        [
            ("network", f"{net.arch}, method {row.method}, first and last layer {row.ends}"),
            ("image", f"{image}, {net.classes} classes, numbers of {counts.data_type}"),
            ("additions", number(ops.add)),
            ("multiplications", number(ops.mul)),
            ("XNOR operations", number(ops.xnor)),
            ("parameters", f"{counts.parameters:,} in {counts.parameter_bytes:,} bytes"),
            ("activations", f"{counts.activation_bytes:,} bytes"),
            ("energy", f"{energy(counts.energy_joules)} µJ at 45 nm, arithmetic only"),
            ("latency model", f"{counts.latency_cycles:,} cycles"),
        ]
    )
