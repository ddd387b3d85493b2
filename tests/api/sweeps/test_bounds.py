"""A sweep's checks cost what its jobs are worth, whatever it says."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.support.specs import train_body

BOUNDED: dict[str, tuple[dict[str, Any], str]] = {
    "20,000 fields": ({"grid": {f"optimizer.f{n}": [1] for n in range(20_000)}}, "/grid"),
    "20,000 fields of one parent": ({"grid": {"a" + ".b" * (n % 40) + str(n): [1] for n in range(20_000)}}, "/grid"),
    "100,000 values": ({"grid": {"seed": list(range(100_000))}}, "/grid/seed"),
    "50 fields of 1,000 values": ({"grid": {f"optimizer.f{n}": list(range(1000)) for n in range(50)}}, "/grid"),
    "20,000 ranges": (
        {"search": {f"optimizer.f{n}": {"type": "int", "low": 0, "high": 1} for n in range(20_000)}},
        "/search",
    ),
    "5,000 choices": (
        {"search": {f"optimizer.f{n}": {"type": "categorical", "choices": list(range(100))} for n in range(50)}},
        "/search",
    ),
    "a base of 50,000 fields": (
        {"base": train_body(**{f"f{n}": 1 for n in range(50_000)}), "grid": {"seed": [0, 1]}},
        "",
    ),
    "a tiny step in a huge range": (
        {"search": {"optimizer.lr": {"type": "float", "low": 0, "high": 1e308, "step": 5e-324}}},
        "/search",
    ),
}


@pytest.mark.parametrize("validate_only", [True, False])
@pytest.mark.parametrize("name", BOUNDED)
def test_lists_of_any_length_are_refused_without_work(lite_api: httpx2.Client, name: str, validate_only: bool) -> None:
    body, pointer = BOUNDED[name]
    answer = lite_api.post(
        "/v1/sweeps", json={"base": train_body()} | body, params={"validate_only": validate_only}, timeout=60
    )
    assert answer.status_code == 422, answer.text[:500]
    found = [error["pointer"] for error in answer.json()["errors"]]
    assert any(where.startswith(pointer) for where in found), found[:3]
    assert lite_api.get("/v1/sweeps").json()["data"] == []
