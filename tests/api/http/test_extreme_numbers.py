"""No number that the document allows is one that the database or the API cannot take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

EXTREMES = (1e300, -1e300, 1e-300, 2**62, -(2**62), 2**63)
BODIES: dict[str, dict[str, Any]] = {
    "TrainSpec": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
    "AnalyzeSpec": {"kind": "analyze", "recipe": "table1"},
    "SweepSpec": {
        "base": {"kind": "train", "model": {"arch": "lenet5_bn"}, "dataset": {"name": "digits"}},
        "search": {"optimizer.lr": {"low": 0.1, "high": 0.2}},
        "trials": 2,
    },
}


def numbers(document: dict[str, Any], schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the fields that hold a number, in a schema of `document`."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in ("anyOf", "allOf"):
        for inner in schema.get(part, ()):
            yield from numbers(document, inner, at)
    if schema.get("type") in ("number", "integer"):
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from numbers(document, inner, (*at, name))


def changed(body: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(body))
    here = copy
    for name in path[:-1]:
        here[name] = here.get(name) or {}
        here = here[name]
    here[path[-1]] = value
    return copy


@pytest.mark.parametrize("kind", BODIES)
def test_the_largest_and_the_smallest_of_every_field(lite_api: httpx2.Client, kind: str) -> None:
    document = lite_api.get("/openapi.json").json()
    paths = list(dict.fromkeys(numbers(document, {"$ref": f"#/{kind}"})))
    assert len(paths) > 3
    call = "/v1/sweeps" if kind == "SweepSpec" else "/v1/jobs"
    for path in paths:
        for value in EXTREMES:
            answer = lite_api.post(call, json=changed(BODIES[kind], path, value))
            assert answer.status_code in (201, 422), (path, value, answer.text[:300])
    assert lite_api.get("/v1/jobs", params={"limit": 100}).status_code == 200
    assert lite_api.get("/v1/sweeps", params={"limit": 100}).status_code == 200
    assert lite_api.get("/").status_code == 200
