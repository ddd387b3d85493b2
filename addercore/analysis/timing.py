"""Times of several networks in one measurement, beside the convolutional twin in ONNX Runtime: batch 1, one thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from addercore import runtime
from addercore.analysis.context import Context
from addercore.analysis.findings import Finding
from addercore.arch import Network
from addercore.errors import Stopped
from addercore.io import load
from addercore.latency import twin
from addercore.latency.processor import processor
from addercore.latency.run import row_of
from addercore.latency.subjects import Subject, best_of, in_onnx
from addercore.latency.timing import interleaved
from addercore.quant import float_scores

FLOAT: Final = "float"
"""Name of the tensor with the bytes of a float model's file; each other one is a `model.adder`."""
TIMES: Final = "times"
"""Row of the finding that has the times."""
SECONDS: Final = 1.0
"""For which each network is measured."""


def as_tensor(content: bytes) -> torch.Tensor:
    """A file's bytes as a finding keeps them."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def subjects_of(finding: Finding, folder: Path) -> Iterator[Subject]:
    """The networks whose files a finding has; `what` of each is ROW-TENSOR."""
    for name, tensor in finding.tensors.items():
        what = f"{finding.row}-{name}"
        path = folder / f"{what}.{'safetensors' if name == FLOAT else 'adder'}"
        path.write_bytes(tensor.numpy().tobytes())
        size = path.stat().st_size
        if name == FLOAT:
            model = load(path, device="cpu")
            yield Subject("torch", what, "fp32", size, lambda images, m=model: lambda: float_scores(m, images))  # type: ignore[misc]
        else:
            integers = runtime.load(path)
            yield Subject("integer", what, name, size, lambda images, m=integers: lambda: m.run(images, 1))  # type: ignore[misc]


def twins_of(network: Network, folder: Path) -> list[Subject]:
    """The convolutional form of a network in ONNX Runtime, with random weights; none where it is not installed."""
    if twin.available() is None:
        return []
    made = twin.models(network, pixels=True, folder=folder)
    return [in_onnx("twin", name, "image", content, 1) for name, content in made.items()]


def times_of(context: Context, subjects: Sequence[Subject], shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row of `addercore.latency` for each network, but of the twin's int8 forms for the fastest alone.

    Raises:
        Stopped: the callbacks asked to stop.
    """

    def tell(_: float) -> None:
        if context.callbacks.should_stop():
            raise Stopped("stopped on request while measuring")

    images = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        samples = interleaved({at: one.prepare(images) for at, one in enumerate(subjects)}, SECONDS, tell, 0.0)
    finally:
        torch.set_num_threads(before)
    return list(best_of([row_of(one, 1, 1, samples[at]) for at, one in enumerate(subjects) if samples[at]]))


def finding_of(times: dict[str, list[dict[str, Any]]], seed: int) -> Finding:
    """The times by network, and the processor that they are of."""
    return Finding(TIMES, TIMES, seed, {"times": times, "processor": processor()})


def time_of(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Any] | None:
    """The row of one network."""
    return next((row for row in rows if row["what"] == what), None)


def on(finding: Finding) -> str:
    """A sentence that says where the times were taken."""
    chip = finding.facts["processor"]
    return f"Times: batch 1, one thread, medians on the clock, on {chip['name']} ({', '.join(chip['features'])})."
