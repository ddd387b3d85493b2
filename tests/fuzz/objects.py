"""Whether everything that is stored can be read: each page of each list, each object, each web page."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2

from tests.fuzz.server import Server

LISTS = ("jobs", "models", "datasets", "sweeps")
PAGES = ("/", "/models", "/datasets", "/sweeps", "/recipes")


def unreadable(server: Server) -> Iterator[str]:
    """What cannot be read, a line each."""
    with httpx2.Client(base_url=server.url, timeout=60) as api:
        for path in PAGES:
            if (status := api.get(path).status_code) != 200:
                yield f"GET {path}: {status}"
        for name in LISTS:
            yield from _list(api, name)


def _list(api: httpx2.Client, name: str) -> Iterator[str]:
    after: str | None = None
    while True:
        answer = api.get(f"/v1/{name}", params={"limit": 100} | ({} if after is None else {"after": after}))
        if answer.status_code != 200:
            yield f"GET /v1/{name}: {answer.status_code} {answer.text[:200]}"
            return
        page = answer.json()
        if page.get("unreadable"):
            yield f"GET /v1/{name} leaves out {page['unreadable']}"
        for row in page["data"]:
            paths = [f"/v1/{name}/{row['id']}"]
            if name != "datasets":  # which have one page for all
                paths.append(f"/{name}/{row['id']}")
            for path in paths:
                if (status := api.get(path).status_code) != 200:
                    yield f"GET {path}: {status}"
        after = page["next"]
        if after is None:
            return
