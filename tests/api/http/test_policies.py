"""What answers say to browsers, and what they do not say of the server."""

from __future__ import annotations

import httpx2
import pytest

from tests.api.conftest import Running
from tests.support.specs import train_body


def test_a_drawing_that_is_opened_by_itself_runs_and_loads_nothing(lite_api: httpx2.Client) -> None:
    sweep = lite_api.post("/v1/sweeps", json={"base": train_body(), "grid": {"seed": [0, 1]}}).json()["id"]
    policy = lite_api.get(f"/v1/sweeps/{sweep}/figure.svg").headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@pytest.mark.parametrize(("scheme", "status"), [("http", 201), ("https", 403), ("HTTP", 201), ("ws", 403)])
def test_an_origin_is_its_scheme_too(lite: Running, lite_api: httpx2.Client, scheme: str, status: int) -> None:
    origin = f"{scheme}://{lite_api.base_url.netloc.decode()}"
    answer = lite_api.post("/v1/jobs", json=train_body(), headers={"Origin": origin})
    assert answer.status_code == status


def test_answers_do_not_tell_where_the_data_folder_lies(lite: Running, lite_api: httpx2.Client) -> None:
    folder = str(lite.settings.data_dir.resolve())
    refused = lite_api.post("/v1/jobs", json=train_body(dataset={"name": "mnist"}))
    assert refused.status_code == 422
    texts = [refused.text, *(lite_api.get(path).text for path in ("/v1/datasets", "/datasets", "/v1/datasets/mnist"))]
    assert [text for text in texts if folder in text] == []
    assert "into datasets/mnist" in refused.text
