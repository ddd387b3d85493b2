"""``adder count``: the operations, memory and energy of a network for one image. It asks no server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adderclient.command.app import AsJson
from adderclient.command.errors import UsageError
from adderclient.command.formats import energy, number, shape
from adderclient.command.output import fields, print_json, print_list, table
from adderclient.command.terminal import console

if TYPE_CHECKING:
    from addercore.arch import Counts, Network

Arch = Annotated[str | None, typer.Option("--arch", metavar="NAME", help="Network.", show_default="all, a line each")]
Method = Annotated[str | None, typer.Option("--method", help="What its layers compute.", show_default="adder")]
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


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(count)


def count(
    arch: Arch = None,
    method: Method = None,
    first_last: FirstLast = None,
    dataset: DatasetName = None,
    size: Input = None,
    classes: Classes = None,
    data_type: DataType = "fp32",
    layers: Layers = False,
    as_json: AsJson = False,
) -> None:
    """Count additions, multiplications, XNORs, parameters, memory and energy of a network for one image."""
    from addercore.arch import ARCHS, METHODS, count

    if dataset is not None and (size is not None or classes is not None):
        raise UsageError("--dataset says the images and the classes: leave out --input and --classes")
    if layers and arch is None:
        raise UsageError("--layers are of one network: name it with --arch")
    try:
        methods = [method] if method else list(METHODS) if arch is None else ["adder"]
        nets = [_network(one, dataset, size, classes) for one in ([arch] if arch else ARCHS)]
        rows = []
        for net in nets:
            for kind in methods:
                ends = first_last or _published_ends(kind, dataset)
                rows.append((net, kind, ends, count(net, kind, ends, data_type)))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arch is None:
        _show_all(rows, as_json)
    elif as_json:
        print_json(_document(*rows[0], layers=True))
    else:
        _show(*rows[0], layers)


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


def _document(net: Network, method: str, first_last: str, counts: Counts, layers: bool) -> dict[str, Any]:
    about = {
        "arch": net.arch,
        "method": method,
        "first_last": first_last,
        "input_shape": list(net.input_shape),
        "classes": net.classes,
    }
    return about | (counts.to_dict() if layers else counts.totals())


def _show_all(rows: list[tuple[Network, str, str, Counts]], as_json: bool) -> None:
    if as_json:
        print_list(_document(*row, layers=False) for row in rows)
        return
    table(
        [
            "NETWORK",
            "INPUT",
            "METHOD",
            "ENDS",
            "ADD>",
            "MUL>",
            "XNOR>",
            "PARAMETERS>",
            "BYTES>",
            "ENERGY, µJ>",
            "CYCLES>",
        ],
        (
            (
                net.arch,
                shape(net.input_shape),
                method,
                ends,
                *map(number, (ops.add, ops.mul, ops.xnor, counts.parameters, counts.parameter_bytes)),
                energy(counts.energy_joules),
                number(counts.latency_cycles),
            )
            for net, method, ends, counts in rows
            for ops in (counts.operations,)
        ),
    )


def _show(net: Network, method: str, first_last: str, counts: Counts, layers: bool) -> None:
    ops = counts.operations
    image = shape(net.input_shape)
    fields(
        [
            ("network", f"{net.arch}, method {method}, first and last layer {first_last}"),
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
    if layers:
        console().print()
        table(
            [
                "LAYER",
                "KIND",
                "OUTPUT",
                "ADD>",
                "MUL>",
                "XNOR>",
                "PARAMETERS>",
                "BYTES>",
                "ACTIVATION>",
                "ENERGY, µJ>",
                "CYCLES>",
            ],
            (
                (
                    layer.name,
                    layer.kind,
                    shape(layer.output_shape),
                    *map(number, (layer.operations.add, layer.operations.mul, layer.operations.xnor)),
                    number(layer.parameters),
                    number(layer.parameter_bytes),
                    number(layer.activation_bytes),
                    energy(layer.energy_joules),
                    number(layer.operations.cycles),
                )
                for layer in counts.layers
            ),
        )
