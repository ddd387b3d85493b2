"""Recipes."""

from __future__ import annotations

from dataclasses import dataclass, field

from adderclient.records.base import Json, Record


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe(Record):
    """A table or figure of the paper that a job can compute."""

    SUMMARY = ("name", "title", "reference")

    name: str
    title: str = ""
    reference: str = ""
    """Where the paper has it."""
    description: str = ""
    output: str = ""
    """``table`` or ``figure``: what it is in the paper. A job yields both."""
    datasets: tuple[str, ...] = ()
    """Those of the paper."""
    takes_model: bool = False
    """Whether it can be about a model of yours (``model_id``) instead of networks that it trains."""
    options: tuple[str, ...] = ()
    """Which of ``archs``, ``methods`` and ``etas`` its spec may set; it may always set seeds, epochs and batch_size."""
    controls: tuple[str, ...] = ()
    """Values that its spec's ``control`` may have."""
    operations: int | None = None
    """Estimated operations of the whole job."""
    spec: Json = field(default_factory=dict)
    """Ready for ``client.jobs.submit``."""
