"""A path that there is not is answered with the one that was most likely meant; a method, with those that there are."""

from __future__ import annotations

import httpx2
import pytest

from api.http.paths import nearest

TEMPLATES = ("/", "/jobs", "/jobs/{job_id}", "/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/logs",
             "/v1/jobs/{job_id}/cancel", "/v1/models/{model_id}/aliases/{alias}", "/healthz")  # fmt: skip


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/job", "/v1/jobs"),
        ("/v2/jobs", "/v1/jobs"),
        ("/job", "/jobs"),
        ("/job/job_1", "/jobs/job_1"),
        ("/api/v1/jobs", "/v1/jobs"),
        ("/v1/Jobs/job_1/log", "/v1/jobs/job_1/logs"),
        ("/jobs/job_1/logs", "/v1/jobs/job_1/logs"),
        ("/v1/jobs/job_1/stop", "/v1/jobs/job_1/cancel"),
        ("/v1/model/a/alias/prod", "/v1/models/a/aliases/prod"),
        ("/healthz/", "/healthz"),
        ("/health", "/healthz"),
        ("/v1/jobs/job_1/frobnicate", None),
        ("/wp-login.php", None),
        ("/", None),
        ("/" + "jobs" * 5000, None),
        ("/jobs" * 5000, None),
    ],
)
def test_the_nearest_path(path: str, meant: str | None) -> None:
    assert nearest(path, TEMPLATES) == meant


def test_the_answer_names_it(lite_api: httpx2.Client) -> None:
    answer = lite_api.get("/v1/job", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    said = "There is nothing at this path; did you mean /v1/jobs? /docs lists all calls."
    assert answer.json()["detail"] == said
    for path in ("/v1/jobs/", "/v1/models/"):
        assert f"did you mean {path[:-1]}?" in lite_api.get(path).json()["detail"]
    assert "/docs lists all calls" in lite_api.get("/%00/<b>", headers={"Accept": "application/json"}).json()["detail"]


def test_a_page_names_it_too(lite_api: httpx2.Client) -> None:
    answer = lite_api.get("/v1/jobs/<b>/log", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "did you mean /v1/jobs/&lt;b&gt;/logs?" in answer.text


def test_a_method_that_the_path_does_not_take(lite_api: httpx2.Client) -> None:
    answer = lite_api.put("/v1/jobs")
    assert answer.status_code == 405
    assert answer.json()["detail"] == "This path takes GET, HEAD, POST, and not this method."
