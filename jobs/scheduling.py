"""The queue's rules that need no database: the share of a job, its work, and the slots that may take it.

Fair sharing is self-clocked fair queueing (Golestani 1994, https://doi.org/10.1109/INFCOM.1994.337677) in each
priority: a job's turn is `max(V, last) + work` with `last` the turn of its share's job before it and V the virtual
time; `jobs/repository/queue.py` reads both. Within a project the values of a label take turns by a second one, its
`label_turn`: a claim gives the project's turn to the job that is first by that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from addercore import config
from addercore.arch import Operations, check_manifest, count, network
from jobs.access.scope import Project
from jobs.settings import Settings
from jobs.spec import AnalyzeSpec, BenchmarkSpec, IngestSpec, QuantizeSpec, Spec, TrainSpec

MEGA = 1_000_000
PASSES = 3
"""Passes over the network for a training image: forward, gradients of inputs, gradients of filters."""
CALIBRATIONS = 40
"""What choosing the scales costs for a calibration image, in passes: measured with LeNet-5-BN and ResNet-20."""
BENCHMARK_RATE = 10_000
"""Mega-operations that stand for a second of a benchmark, which takes its time whatever the model costs: about what a
core computes."""
MOST_WORK = 10**12
"""Most mega-operations of a job, so that sums of turns stay far below 2^63."""
MEMORY_STEP_MB = 64
"""Memory demands are rounded up to a multiple of this, so that the queue has few different ones."""

COMPETES: Mapping[str, tuple[str, ...]] = {
    "auto": ("auto", "cpu", "cuda"),
    "cpu": ("cpu", "auto"),
    "cuda": ("cuda", "auto"),
}
"""Device demands that may compete for the same slot."""


@dataclass(frozen=True)
class Rules:
    """The settings that a submission needs."""

    share_label: str = "user"
    """Its values share the workers equally, or the part of their project."""
    by_project: bool = False
    """Whether projects share the workers equally, whatever labels their jobs have."""
    live_ms: int = 30_000
    """A worker whose heartbeat is younger is alive."""
    max_queued: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.fair_share_label, settings.needs_keys, settings.live_ms, settings.max_queued_jobs)


def share_of(project: Project, spec: Spec, rules: Rules) -> str:
    """The share of the workers to which a job belongs.

    It is the project's, or, where users are trusted with that, the value of a label: jobs without it have one share
    together.
    """
    return project.id if rules.by_project else spec.labels.get(rules.share_label, "")


def label_share_of(spec: Spec, rules: Rules) -> str | None:
    """The part of its project's share to which a job belongs; None where the label alone makes shares."""
    return spec.labels.get(rules.share_label, "") if rules.by_project else None


def needs_memory_mb(memory_gb: float | None, ranks: int = 1) -> int:
    """MiB of all processes of a job, rounded up to `MEMORY_STEP_MB`; 0 for a job that does not say."""
    return 0 if memory_gb is None else math.ceil(memory_gb * ranks * 1024 / MEMORY_STEP_MB) * MEMORY_STEP_MB


def work_of(spec: Spec, manifest: Mapping[str, Any] | None = None) -> int:
    """Estimated mega-operations of a job, at least 1.

    Args:
        manifest: of the model that an evaluation or a quantisation names, or of a training's teacher.
    """
    if isinstance(spec, IngestSpec):
        return 1  # minutes of one core at most
    if isinstance(spec, AnalyzeSpec):
        return _bounded(spec.operations())
    if isinstance(spec, BenchmarkSpec):
        return round(spec.seconds() * BENCHMARK_RATE)
    info = config.dataset(spec.dataset.name)
    if isinstance(spec, TrainSpec):
        model = spec.model
        if model.layers is None:
            each = _operations(model.arch, info.input_shape, len(info.classes), model.method, model.first_last)
        else:
            each = _all(spec.counts().operations)
        train, validation = config.images_of(spec.dataset)
        total = int(each * spec.epochs * (PASSES * train + validation) * config.slowness(spec.model))
        if manifest is not None:
            total += _operations_of(manifest) * spec.epochs * train
    elif isinstance(spec, QuantizeSpec):
        each = 0 if manifest is None else _operations_of(manifest)
        trained = 0 if spec.finetune is None else PASSES * spec.finetune.epochs * info.train_size
        total = each * (trained + CALIBRATIONS * spec.calibration_images + info.validation_size)
    elif manifest is not None:
        total = _operations_of(manifest) * config.size_of(info, spec.split, _share(manifest, info.name))
    else:
        total = 0
    return _bounded(total)


def _share(manifest: Mapping[str, Any], dataset: str) -> float | None:
    held = config.Holdout.of_model(manifest, dataset)
    return None if held is None else held.share


def _bounded(operations: int) -> int:
    """As mega-operations."""
    return min(max(1, operations // MEGA), MOST_WORK)


def _operations_of(manifest: Mapping[str, Any]) -> int:
    net = manifest["network"]
    if "layers" in net:
        return _all(count(check_manifest(manifest), net["method"], net["first_last"]).operations)
    shape = tuple(net["input_shape"])
    return _operations(net["arch"], shape, len(manifest["classes"]), net["method"], net["first_last"])


@lru_cache(maxsize=256)
def _operations(arch: str, shape: tuple[int, int, int], classes: int, method: str, first_last: str) -> int:
    """Operations of a forward pass for one image."""
    return _all(count(network(arch, shape, classes), method, first_last).operations)


def _all(operations: Operations) -> int:
    return operations.add + operations.mul + operations.xnor


def kind_of(device: str) -> str:
    """`cpu` or `cuda` of a device such as `cuda:1`."""
    return device.partition(":")[0]


def ranks_of(spec: Any) -> int:
    """Processes that compute a job together: 1 where the spec does not say, as older ones, or cannot be read."""
    resources = spec.get("resources") if isinstance(spec, Mapping) else None
    if not isinstance(resources, Mapping):
        return 1
    said = (resources.get(name) for name in ("processes", "gpus"))
    return max((count for count in said if isinstance(count, int)), default=1)


DEVICE_LENGTH = 16
"""Length of the column that holds an attempt's device."""


def device_text(devices: Sequence[str]) -> str:
    """How the devices of an attempt are written: `cpu`, `cpu:2` (two slots of it), `cuda:1`, `cuda:0-2,4`."""
    if kind_of(devices[0]) == "cpu":
        return "cpu" if len(devices) == 1 else f"cpu:{len(devices)}"
    runs: list[list[int]] = []
    for number in sorted(int(device.partition(":")[2]) for device in devices):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "cuda:" + ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def devices_of(text: str) -> tuple[str, ...]:
    """The slots' devices that `device_text` wrote."""
    kind, _, rest = text.partition(":")
    if kind == "cpu":
        return ("cpu",) * int(rest or 1)
    numbers: list[int] = []
    for run in rest.split(","):
        first, _, last = run.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(f"cuda:{number}" for number in numbers)


def room(free: Sequence[str], slots: Sequence[str], kind: str, ranks: int) -> tuple[str, ...] | None:
    """The devices that a job of several processes gets of a worker; None if too few are free.

    Each process gets a GPU of its own. Of the processor it takes as many slots as it has processes, or all of a worker
    that has fewer.

    Args:
        free: the device of each free slot, best first.
        slots: the device of each slot of the worker.
        kind: `cpu` or `cuda`.
    """
    if kind == "cpu":
        wanted = min(ranks, sum(device == "cpu" for device in slots))
        return ("cpu",) * wanted if 0 < wanted <= sum(device == "cpu" for device in free) else None
    gpus = list(dict.fromkeys(device for device in free if kind_of(device) == "cuda"))
    ordered = sorted(gpus, key=lambda device: int(device.partition(":")[2]))
    choices = [gpus[:ranks], *(ordered[first : first + ranks] for first in range(len(ordered)))]
    fits = (choice for choice in choices if len(choice) == ranks and len(device_text(choice)) <= DEVICE_LENGTH)
    found = next(fits, None)
    return None if found is None else tuple(found)


def has_gpu(devices: Iterable[str]) -> bool:
    return any(kind_of(device) == "cuda" for device in devices)


def placement(free: Sequence[str], gpus: bool) -> dict[str, str]:
    """The free device that a job gets, by what it asks for (`auto`, `cpu`, `cuda`).

    `auto` takes a GPU where the worker has any; the CPU of such a worker is for jobs that ask for it.

    Args:
        free: devices of free slots, best first.
        gpus: whether the worker has GPUs, free or not.
    """
    found: dict[str, str] = {}
    for device in free:
        found.setdefault(kind_of(device), device)
    best = found.get("cuda" if gpus else "cpu")
    return found if best is None else {**found, "auto": best}


def last_chance(faults: int, max_attempts: int) -> bool:
    """Whether one more fault could end the job. It then runs alone on its worker, so that it takes no other job
    down."""
    return faults >= max(1, max_attempts - 1)
