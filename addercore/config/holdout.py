"""Training images that are held out: they validate a training in place of the published test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from addercore.config.datasets import DatasetInfo

Part = Literal["train", "validation", "test"]
"""Images of a training: those it learns from, those that validate it, and the published test images. Without a holdout
the last two are the same."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of a dataset's training images, of every class alike, drawn by a training's seed.

    Attributes:
        share: of the training images, 0 < share < 1.
        seed: the training's.
    """

    share: float
    seed: int

    def count(self, train_size: int) -> int:
        """How many of `train_size` images are held out."""
        return round(self.share * train_size)

    @classmethod
    def of_model(cls, manifest: Mapping[str, Any], dataset: str) -> Self | None:
        """The images that a model's training on `dataset` held out; None where there are none, or none are known.

        Args:
            manifest: the model's, which may have been imported from anywhere. Of a float model `config` tells, of an
                integer model `held_out`, as its `config` is that of the conversion.
            dataset: name or id of the dataset whose images are asked for.
        """
        config, held = manifest.get("config"), manifest.get("held_out")
        if isinstance(held, Mapping) and manifest.get("dataset") == dataset:
            share, seed = held.get("holdout"), held.get("seed")
        else:
            section = config.get("dataset") if isinstance(config, Mapping) else None
            if not isinstance(config, Mapping) or not isinstance(section, Mapping) or section.get("name") != dataset:
                return None
            share, seed = section.get("holdout"), config.get("seed")
        if not isinstance(share, float) or not 0 < share < 1 or not isinstance(seed, int) or isinstance(seed, bool):
            return None
        return cls(share, seed)


def sizes(info: DatasetInfo, holdout: float | None) -> tuple[int, int]:
    """Images that train and images that validate, where the share `holdout` is held out of the training images."""
    if holdout is None:
        return info.train_size, info.validation_size
    held = Holdout(holdout, 0).count(info.train_size)
    return info.train_size - held, held


def size_of(info: DatasetInfo, part: Part, holdout: float | None) -> int:
    """Images of a part."""
    train, validation = sizes(info, holdout)
    return {"train": train, "validation": validation, "test": info.validation_size}[part]
