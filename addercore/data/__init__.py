"""Datasets as bytes and as tensors, and the way pixels take into a network."""

from addercore.data.pixels import Preprocess, prepare
from addercore.data.sets import SPLITS, Examples, Split, load, opened, raw, sample_image, source
from addercore.data.sources import Shared, Source, Stored

__all__ = [
    "SPLITS",
    "Examples",
    "Preprocess",
    "Shared",
    "Source",
    "Split",
    "Stored",
    "load",
    "opened",
    "prepare",
    "raw",
    "sample_image",
    "source",
]
