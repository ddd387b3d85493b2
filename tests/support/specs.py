"""Specs that many tests submit."""

from __future__ import annotations

from typing import Any

from addercore.config import merge
from jobs.spec import SPEC, Spec


def train_body(**changes: Any) -> dict[str, Any]:
    """The smallest training a request can ask for, with `changes` over it."""
    return merge({"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}}, changes)


def train_spec(**changes: Any) -> Spec:
    return SPEC.validate_python(train_body(**changes))
