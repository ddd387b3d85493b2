"""The worst mistakes of an evaluation: which they are, and their picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import addercore
from addercore.train.mistakes import MOST, Mistake, Mistakes, sheet


def test_the_surest_mistakes_of_all_batches_are_kept_in_order() -> None:
    mistakes = Mistakes()
    mistakes.add(torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    mistakes.add(torch.tensor([[5.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    found = mistakes.worst()
    assert [(one.index, one.label, one.predicted) for one in found] == [(3, 1, 0), (1, 0, 1), (4, 1, 0)]
    assert [one.probability for one in found] == pytest.approx([1 / (1 + np.exp(-x)) for x in (5, 3, 1)], rel=1e-6)


def test_no_more_are_kept_than_fit() -> None:
    mistakes = Mistakes()
    scores = torch.arange(100.0)[:, None] * torch.tensor([0.01, -0.01])
    for _ in range(2):
        mistakes.add(scores, torch.ones(100, dtype=torch.int64))
    found = mistakes.worst()
    assert len(found) == MOST
    assert [one.index for one in found[:4]] == [99, 199, 98, 198]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 40, 200)])
def test_the_sheet_shows_each_image(shape: tuple[int, int, int], tmp_path: Path) -> None:
    images = torch.zeros(10, *shape, dtype=torch.uint8)
    for index in range(10):
        images[index] = 20 * index
    found = [Mistake(index, 0, 1, 0.9) for index in range(9, -1, -1)]
    sheet(found, ["a", "b"], lambda index: images[index], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        made = np.asarray(image)
    assert [int(made[12, 12 + 120 * column, 0]) for column in range(8)] == [20 * index for index in range(9, 1, -1)]


def test_an_evaluation_tells_its_mistakes_and_draws_them(digits_model: Path, tmp_path: Path) -> None:
    model = addercore.load(digits_model)
    found = addercore.evaluate(model, "digits", picture=tmp_path / "mistakes.png")
    wrong = round((1 - found.accuracy) * found.images)
    assert 0 < len(found.mistakes) == min(wrong, MOST)
    assert all(found.confusion_matrix[one.label][one.predicted] > 0 for one in found.mistakes)
    with Image.open(tmp_path / "mistakes.png") as image:
        assert image.format == "PNG"
    assert found.to_dict()["mistakes"][0] == found.mistakes[0].to_dict()
    again = addercore.evaluate(model, "digits", batch_size=7)
    assert [one.index for one in again.mistakes] == [one.index for one in found.mistakes]
