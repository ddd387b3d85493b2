"""What must still hold of objects of an old version, and when results must be equal to the byte."""

from __future__ import annotations

import math
from typing import Any

from tests.upgrade.reading import FINAL, Document, curve

EXACT = ("device", "backend", "kernels", "torch", "threads", "cpu_capability")
"""Of `environment`: where all are equal, so are the bytes (docs/exact-resume.md)."""
SHOWN = ("description", "source", "how_to_get")
"""Of a dataset: texts that the service words anew each time."""


def still_there(now: Any, then: Any, where: str = "") -> None:
    """Raises AssertionError unless `now` has all that `then` had, with the same values; it may have new fields."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name, value in then.items():
            assert name in now, f"{where}/{name} is gone; it was {value!r}"
            still_there(now[name], value, f"{where}/{name}")
    elif isinstance(then, list) and isinstance(now, list):
        assert len(now) == len(then), f"{where} has {len(now)} items, not {len(then)}"
        for number, (one, other) in enumerate(zip(now, then, strict=True)):
            still_there(one, other, f"{where}/{number}")
    else:
        assert now == then, f"{where} is {now!r}, not {then!r}"


def old_objects_are_whole(now: Document, then: Document) -> None:
    """Every object that `then` has is in `now`, and what nobody has worked on since is unchanged."""
    for kind in ("jobs", "models", "sweeps", "datasets"):
        assert then[kind].keys() <= now[kind].keys(), kind
    for id, before in then["jobs"].items():
        if before["job"]["status"] in FINAL:
            still_there(now["jobs"][id], before, id)
        else:  # what it had written by then
            unfinished_job_goes_on(now["jobs"][id], before, id)
    for id, before in then["models"].items():
        still_there(now["models"][id], before, id)
    for id, before in then["datasets"].items():
        still_there(now["datasets"][id], {k: v for k, v in before.items() if k not in SHOWN}, id)
    for id, before in then["sweeps"].items():
        unfinished_sweep_goes_on(now["sweeps"][id], before, id)


def unfinished_job_goes_on(now: Document, then: Document, id: str) -> None:
    """A job that had not ended keeps its identity, and all rows that it had written."""
    kept = ("id", "kind", "spec", "labels", "created_at", "retry_of")
    still_there(now["job"], {name: then["job"][name] for name in kept}, id)
    for rows in ("metrics", "events"):
        still_there(now[rows][: len(then[rows])], then[rows], f"{id}/{rows}")
    still_there([one["cause"] for one in now["attempts"]][: len(then["attempts"])],
                [one["cause"] for one in then["attempts"]], f"{id}/attempts")  # fmt: skip
    assert now["log"].startswith(then["log"]), id


def unfinished_sweep_goes_on(now: Document, then: Document, id: str) -> None:
    """A sweep that had not ended keeps its identity, and the trials that had."""
    kept = ("id", "name", "spec", "labels", "created_at")
    still_there(now["sweep"], {name: then["sweep"][name] for name in kept}, id)
    for trial in then["trials"]:
        same = trial if trial["status"] in FINAL else {name: trial[name] for name in ("number", "parameters", "job_id")}
        still_there(now["trials"][trial["number"]], same, f"{id}/trials/{trial['number']}")


def same_environment(one: Document, other: Document) -> bool:
    """Whether two jobs that report these environments must give the same bytes."""
    return all(one.get(name) == other.get(name) for name in EXACT)


def same_outcome(now: Document, then: Document) -> None:
    """Compares a training with the old version's: to the byte in one environment, else as far as can be required.

    Elsewhere: the same points of the same metrics, finite values. Accuracies of so short a training on so few
    images say nothing more.
    """
    result, expected = now["job"]["result"], then["job"]["result"]
    assert now["job"]["status"] == then["job"]["status"] == "succeeded", now["job"]
    assert then["contents"].keys() <= now["contents"].keys()
    if same_environment(now["job"]["environment"], then["job"]["environment"]):
        assert curve(now["metrics"]) == curve(then["metrics"])
        assert now["contents"]["model.safetensors"] == then["contents"]["model.safetensors"]
        still_there(result, expected, "/result")
        return
    assert [point[:3] for point in curve(now["metrics"])] == [point[:3] for point in curve(then["metrics"])]
    assert all(point[3] is not None and math.isfinite(point[3]) for point in curve(now["metrics"]))
    assert 0 <= result["val/accuracy"] <= 1, result
