"""`python -m benchmarks.powers [--save]`: what other powers and clips cost, beside the kernels of p = 1.

A training step of LeNet-5-BN, batch 128, on one thread, in milliseconds; rows go to results/powers.jsonl.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Final

import torch
from torch.nn import functional as nnf

from addercore import build
from addercore.arch import network
from addercore.nn import AdderLayer
from addercore.ops.variants import Clip
from addercore.optim import AdderSGD
from benchmarks.rows import RESULTS, Row, table, write

BATCH: Final = 128
TIMES: Final = 7
VARIANTS: Final[tuple[tuple[float, Clip], ...]] = (
    (1.0, "hardtanh"), (1.0, "none"), (1.0, "sign"), (1.5, "hardtanh"), (2.0, "hardtanh"), (2.0, "none"),
)  # fmt: skip


def milliseconds(p: float, clip: Clip) -> list[float]:
    """Times of steps, without the first."""
    torch.manual_seed(0)
    model = build(network("lenet5_bn", (1, 32, 32), 10), seed=0)
    for module in model.modules():
        if isinstance(module, AdderLayer):
            module.p, module.clip = p, clip
    optimizer = AdderSGD(model, 0.1)
    images, labels = torch.randn(BATCH, 1, 32, 32), torch.randint(10, (BATCH,))
    found = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        optimizer.zero_grad()
        nnf.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(1000 * (time.perf_counter() - began))
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="append the rows to benchmarks/results/powers.jsonl")
    save = parser.parse_args().save
    torch.set_num_threads(1)
    settings = {"arch": "lenet5_bn", "batch": BATCH, "threads": 1}
    rows = [
        Row("training step", f"p {p:g}, clip {clip}", "ms", milliseconds(p, clip), os.getloadavg(), settings)
        for p, clip in VARIANTS
    ]
    print(table(rows))
    if save:
        write(rows, RESULTS / "powers.jsonl", ("python", "torch"))


if __name__ == "__main__":
    main()
