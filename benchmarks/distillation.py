"""`python -m benchmarks.distillation [--seeds N]`: does a well-trained teacher help an adder network on the digits?

The teacher is the convolutional twin, trained twice as long and on augmented images. The adder network learns from the
labels alone and from both, on the plain images, with each of the seeds; differences are paired. docs/distillation.md
has the table. (With a twin of the very same recipe as teacher: `adder submit --recipe distillation`.)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

from addercore import fit
from addercore.analysis.statistics import compare, mean_of
from addercore.config import TrainConfig, dataset

EPOCHS: Final = 12
TEACHER: Final[dict[str, Any]] = {"method": "conv", "epochs": 2 * EPOCHS, "augment": "affine"}
DISTILL: Final = {"teacher": "twin", "temperature": 2.0, "weight": 0.9, "features": 1.0}


def train(folder: Path, *, method: str = "adder", teacher: Path | None = None, **spec: Any) -> dict[str, float]:
    """The last epoch's metrics; the model is `folder/model.safetensors`."""
    changes = {} if teacher is None else {"distill": DISTILL}
    model = {"arch": "lenet5_bn", "method": method}
    config = TrainConfig.from_dict({"model": model, "dataset": {"name": "digits"}, **spec, **changes})
    return fit(config, workdir=folder, device="cpu", threads=1, teacher=teacher).metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        taught = train(folder / "teacher", seed=0, **TEACHER)
        twin = folder / "teacher/model.safetensors"
        print(f"teacher: accuracy {taught['val/accuracy']:.2%}, loss {taught['val/loss']:.4f}")
        plain = {seed: train(folder / f"plain-{seed}", seed=seed, epochs=EPOCHS) for seed in seeds}
        student = {seed: train(folder / f"student-{seed}", seed=seed, epochs=EPOCHS, teacher=twin) for seed in seeds}
    for name in ("val/accuracy", "val/loss"):
        alone, distilled = ({seed: run[name] for seed, run in runs.items()} for runs in (plain, student))
        means = (mean_of([*values.values()]).value for values in (alone, distilled))
        print(f"{name}: {' → '.join(f'{mean:.4f}' for mean in means)}", end="")
        difference = compare(distilled, alone, dataset("digits").validation_size)
        print(
            "" if difference is None else f", paired difference {difference.mean:+.4f} ± {difference.margin:.4f} (95 %)"
        )


if __name__ == "__main__":
    main()
