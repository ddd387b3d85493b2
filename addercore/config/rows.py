"""The rows of each recipe's table: which networks an analysis trains, and what it varies between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from addercore.config.recipes import SMALL

TEACHER: Final = "twin"
"""The row of the distillation recipe whose model teaches."""
TEACHER_PASSES: Final = 2
"""It trains so many times as long as the networks that learn from it, on digits on augmented images too: a twin trained
by their own recipe holds them back (docs/distillation.md)."""
DISTILL: Final = {"weight": 0.9}

GRADIENTS: Final = ("full_precision", "sign")
RATES: Final = ("alr", "ilr", "none")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: its `key` (as in the runs' names), what is varied, and the training spec's part of it."""

    key: str
    labels: tuple[tuple[str, Any], ...]
    spec: dict[str, Any]


def rows_of(
    recipe: str, dataset: str, archs: Sequence[str], methods: Sequence[str], etas: Sequence[float]
) -> tuple[Row, ...]:
    """The rows of a recipe in the order of its table, for the options that it has."""
    arch = archs[0] if archs else ""
    match recipe:
        case "table4":
            return tuple(
                Row(f"eta{eta:g}", (("eta", eta),), _of(arch, "adder") | {"optimizer": {"eta": eta}}) for eta in etas
            )
        case "figure3":
            return tuple(_scheme(arch, gradient, rate) for gradient in GRADIENTS for rate in RATES)
        case "distillation":
            return (
                Row(TEACHER, (("network", "convolutional twin (teacher)"),), _of(arch, "conv") | _teaching(dataset)),
                Row("plain", (("network", "AdderNet"),), _of(arch, "adder")),
                Row("distilled", (("network", "AdderNet, distilled"),), _of(arch, "adder") | {"distill": DISTILL}),
            )
        case "successors":
            return _successors(arch)
        case "integer" | "latency":
            several = recipe == "latency"
            return tuple(_cell(recipe, one, method, several) for one in archs for method in ("adder", "conv"))
        case _:
            return tuple(_cell(recipe, one, method, several=len(archs) > 1) for one in archs for method in methods)


def _successors(arch: str) -> tuple[Row, ...]:
    """The convolutional twin, the adder network, and the adder network with one thing changed each."""
    adder = _of(arch, "adder")
    changed: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("plain", "AdderNet", {}),
        ("unclipped", "AdderNet, input gradient F − X", {"optimizer": {"clip_input_gradient": "none"}}),
        ("signed", "AdderNet, input gradient sgn(F − X)", {"optimizer": {"clip_input_gradient": "sign"}}),
        ("powers", "AdderNet, p from 2 to 1", {"model": {**adder["model"], "p_schedule": {"from": 2, "to": 1}}}),
        ("distilled", "AdderNet, distilled", {"distill": {"kind": "plain"}}),
        ("kernels", "AdderNet, distilled by kernels", {"distill": {"kind": "kernels"}}),
        ("pkkd", "AdderNet, after PKKD", {"distill": {"kind": "pkkd"}}),
    )
    twin = Row(TEACHER, (("network", "convolutional twin"),), _of(arch, "conv"))
    return twin, *(Row(key, (("network", name),), adder | change) for key, name, change in changed)


def _teaching(dataset: str) -> dict[str, Any]:
    """What the teacher's training has beside more epochs."""
    return {"augment": "affine"} if dataset == SMALL else {}


def _of(arch: str, method: str, **model: str) -> dict[str, Any]:
    return {"model": {"arch": arch, "method": method, **model}}


def _scheme(arch: str, gradient: str, rate: str) -> Row:
    spec = _of(arch, "adder", gradient=gradient) | {"optimizer": {"adaptive_lr": rate}}
    return Row(f"{gradient}-{rate}", (("gradient", gradient), ("local_rate", rate)), spec)


def _cell(recipe: str, arch: str, method: str, several: bool) -> Row:
    """A network by a method; in the published tables first and last layer stay convolutions."""
    kept = recipe in ("table2", "table3", "xnor_table")
    return Row(
        f"{arch}-{method}" if several else method,
        (("network", arch), ("method", method)),
        _of(arch, method, **({"first_last": "conv"} if kept else {})),
    )
