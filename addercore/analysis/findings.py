"""The results of measuring one network: plain values, and the tensors that the figure needs."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured of one run. `facts` are JSON; `diverged` says why a training failed, if it did."""

    name: str
    row: str
    seed: int
    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    diverged: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint. Facts are stored as JSON text, from which the same floats are read back."""
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
    """The fact at `path` by seed, of the findings of `row` that did not diverge, in order."""
    found: dict[int, float] = {}
    for finding in findings:
        if finding.row == row and finding.diverged is None:
            value: Any = finding.facts
            for part in path:
                value = value[part]
            found[finding.seed] = float(value)
    return found
