"""A model's card: what an image costs it and how long it takes, beside its convolutional twin."""

from __future__ import annotations

from adderclient.command import copied
from adderclient.command.latencies import measured
from adderclient.command.output import table
from adderclient.command.terminal import console, say
from adderclient.formats import ago, energy, number, size
from adderclient.records import Costs, Model


def print_card(model: Model) -> None:
    """Prints it; of a server that says nothing of costs, nothing."""
    mine, twin, latency = model.costs, model.twin_costs, model.latency
    if mine is None or twin is None:
        return
    rows = [[name, *values] for name, *values in zip(_names(mine), _values(mine), _values(twin), strict=True)]
    if not mine.operations.get("xnor"):
        del rows[2]
    if latency is not None:
        both = [None if one is None else measured(one.raw) for one in (latency.model, latency.twin)]
        rows.append(["latency, measured", *(one or "not measured" for one in both)])
    console().print()
    table(["AN IMAGE COSTS", "THIS MODEL>", "CONVOLUTIONAL TWIN>"], rows)
    if latency is None:
        say(f"latency not measured: {copied.adder('benchmark', model.id)}")
    else:
        on = f" on {latency.processor}" if latency.processor else ""
        say(f"measured {ago(latency.measured_at)} by {latency.job_id}{on}")


def _names(costs: Costs) -> list[str]:
    arithmetic, numbers = f"energy, {costs.data_type}", f"parameters, {costs.data_type}"
    return ["additions", "multiplications", "XNOR operations", arithmetic, numbers]


def _values(costs: Costs) -> list[str]:
    counts = [number(costs.operations.get(name, 0)) for name in ("add", "mul", "xnor")]
    return [*counts, f"{energy(costs.energy_joules)} µJ", size(costs.parameter_bytes)]
