"""What is known of each network that an analysis has looked at: plain values, and the tensors its picture needs."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Finding:
    """One run's part. `facts` are JSON; a training that blew up has `diverged` and its facts up to there."""

    name: str
    row: str
    seed: int
    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    diverged: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; the facts as text, which gives the same floats back."""
        return {
            "name": self.name,
            "row": self.row,
            "seed": self.seed,
            "facts": json.dumps(self.facts),
            "tensors": dict(self.tensors),
            "diverged": self.diverged,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Finding":
        return cls(**{**state, "facts": json.loads(state["facts"])})


def by_seed(findings: Iterable[Finding], row: str, *path: str) -> dict[int, float]:
    """Seed → the fact at `path` of each finding of `row` that ended well, in order."""
    found: dict[int, float] = {}
    for finding in findings:
        if finding.row == row and finding.diverged is None:
            value: Any = finding.facts
            for part in path:
                value = value[part]
            found[finding.seed] = float(value)
    return found
