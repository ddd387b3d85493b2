"""Takes an upload in, and looks up what became of each of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from addercore.config import IntakeOptions
from addercore.data.intake import BadDataset, Intake, Limits, take_in
from tests.support.uploads import written


@dataclass
class Taken:
    """An upload that became a dataset."""

    made: Intake
    tensors: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.made.info.classes

    @property
    def notes(self) -> str:
        return "\n".join(self.made.notes)

    @property
    def sizes(self) -> tuple[int, int]:
        return self.made.info.train_size, self.made.info.validation_size

    def images(self, label: str, part: str | None = None) -> Any:
        """(n, c, h, w) of a class, of one part or of both."""
        parts = ["train", "validation"] if part is None else [part]
        number = self.classes.index(label)
        return np.concatenate([self.tensors[f"{p}_images"][self.tensors[f"{p}_labels"] == number] for p in parts])


def taken(folder: Path, data: bytes, options: IntakeOptions = IntakeOptions(), limits: Limits = Limits()) -> Taken:
    made = take_in(written(folder, data), folder / "canonical", "ds_mine", options, limits=limits)
    return Taken(made, load_file(folder / "canonical"))


def problems(
    folder: Path, data: bytes, options: IntakeOptions = IntakeOptions(), limits: Limits = Limits()
) -> list[str]:
    with pytest.raises(BadDataset) as refused:
        take_in(written(folder, data), folder / "canonical", "ds_bad", options, limits=limits)
    return refused.value.problems


def refusal(folder: Path, data: bytes, options: IntakeOptions = IntakeOptions(), limits: Limits = Limits()) -> str:
    """The one problem of an upload."""
    (problem,) = problems(folder, data, options, limits)
    return problem
