"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.faults import (
    api,
    broker,
    checkpoints,
    clocks,
    database,
    disk,
    edges,
    kills,
    memory,
    messages,
    real,
    stops,
    storm,
    template,
)

ALL: tuple[Fault, ...] = tuple(
    fault
    for module in (
        kills, edges, stops, clocks, memory, broker, messages, database, disk, checkpoints, api, real, template,
        storm,
    )
    for fault in module.FAULTS
)  # fmt: skip
