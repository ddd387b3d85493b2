"""A project's storage: what comes in at once stops exactly at the limit, and a training that ends is kept whole."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.access.conftest import Access
from tests.support.specs import train_body
from tests.support.uploads import folders, zipped

AT_ONCE, FIT = 20, 7


def upload(number: int) -> bytes:
    """Uploads of one length and other bytes."""
    return zipped(folders(f"leaf{number:02}", "stem"))


def test_of_twenty_uploads_at_once_as_many_are_taken_as_fit(guarded: Access) -> None:
    size = len(upload(0))
    party = guarded.party("vision", max_storage_bytes=FIT * size + size // 2)
    barrier = threading.Barrier(AT_ONCE)

    def one(number: int) -> tuple[int, str]:
        with party.client() as api:
            barrier.wait()
            files = {"file": ("a.zip", upload(number))}
            answer = api.post("/v1/datasets", data={"name": f"leaves{number}"}, files=files)
        return answer.status_code, answer.json().get("limit", "")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = Counter(pool.map(one, range(AT_ONCE)))
    assert outcomes == {(201, ""): FIT, (429, "max_storage_bytes"): AT_ONCE - FIT}
    with party.client() as api:
        assert api.get("/v1/me").json()["usage"]["stored_bytes"] == FIT * size


@pytest.mark.parametrize("what", ["job", "upload"])
def test_a_training_that_ends_over_the_limit_is_kept_and_nothing_more_is_taken(guarded: Access, what: str) -> None:
    party = guarded.party("vision", max_storage_bytes=100)
    claim = guarded.attempt(party)
    guarded.worker.publish(claim)
    guarded.worker.finish(claim)
    with party.client() as api:
        job = api.get(f"/v1/jobs/{claim.job_id}").json()
        assert job["status"] == "succeeded"
        assert api.get(f"/v1/models/{job['model_id']}").status_code == 200
        if what == "job":
            refused = api.post("/v1/jobs", json=train_body())
        else:
            refused = api.post("/v1/datasets", data={"name": "leaves"}, files={"file": ("a.zip", upload(0))})
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        api.delete(f"/v1/models/{job['model_id']}").raise_for_status()
        api.delete(f"/v1/jobs/{claim.job_id}").raise_for_status()
        assert api.post("/v1/jobs", json=train_body()).status_code == 201, "there is room again"
