"""Random generators by words, so that what is drawn depends on what it is for and not on what was drawn before."""

import hashlib

import torch


def generator(*key: int | str) -> torch.Generator:
    """A new CPU generator, seeded by the words of `key`."""
    digest = hashlib.sha256(":".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
