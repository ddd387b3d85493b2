"""Datasets as tensors, and the way pixels take into a network."""

from addercore.data.pixels import prepare, random_crop
from addercore.data.sets import SPLITS, Examples, Split, load, raw, sample_image

__all__ = ["SPLITS", "Examples", "Split", "load", "prepare", "random_crop", "raw", "sample_image"]
