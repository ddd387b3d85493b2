"""Addresses that do not exist, and one that people guess."""

from __future__ import annotations

import httpx2
import pytest

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/one/two", "/v1/nowhere"])
def test_an_address_that_does_not_exist_is_a_page_for_browsers_and_json_for_programs(
    lite_api: httpx2.Client, path: str
) -> None:
    answer = lite_api.get(path, headers=PAGE)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "All jobs" in answer.text
    answer = lite_api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_jobs_leads_to_the_jobs(lite_api: httpx2.Client) -> None:
    answer = lite_api.get("/jobs?status=queued", headers=PAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, "/?status=queued")


def test_the_reference_has_the_frame_of_all_pages_and_its_contents(lite_api: httpx2.Client) -> None:
    text = lite_api.get("/docs", headers=PAGE).text
    assert 'aria-label="Main"' in text
    assert '<a href="#jobs">Jobs</a>' in text
    assert "<h2 id='jobs'>" in text
    assert "&lt;details" not in text
