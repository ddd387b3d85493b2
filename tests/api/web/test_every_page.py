"""What holds on every page: axe finds nothing, and a server that is away is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from jobs.store import store_of
from tests.api.access.conftest import Access, guarded, settings
from tests.api.dashboard import Dashboard, Visit
from tests.api.gallery import ADDRESSES, filled, operator, routes_of_pages
from tests.api.stand_in import StandIn

__all__ = ["guarded", "settings"]  # fixtures
WIDTHS = {"desktop": {"width": 1200, "height": 900}, "phone": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
UNFOLD = "document.querySelectorAll('main details').forEach((one) => (one.open = true))"
UNFOLD_HEALTH = "document.getElementById('health').open = true"  # it covers what is below it
FOLDED = frozenset({"/docs"})
"""What is looked at as it is: a hundred calls, each folded, in which axe would spend minutes."""
PARTS = 4
"""Of the addresses, side by side: axe takes seconds for a page."""


@pytest.fixture
def dashboard(guarded: Access) -> Dashboard:
    return Dashboard(guarded.site.url, StandIn(guarded.database, store_of(guarded.site.settings)))


def test_every_page_has_its_address_here() -> None:
    assert set(routes_of_pages()) <= set(ADDRESSES)


@pytest.fixture
def enter(guarded: Access, dashboard: Dashboard, visit: Callable[..., Visit]) -> Callable[..., Visit]:
    """Opens the service as its operator, empty; `before` looks at the page where one signs in."""

    def open_(before: Callable[[Any], None] = lambda page: None) -> Visit:
        party = operator(guarded)
        dashboard.worker.heartbeat()
        opened = visit("/sign-in")
        opened.page.set_default_timeout(300_000)
        before(opened.page)
        opened.page.fill("input[name=key]", party.keys["operator"])
        opened.page.click("main button")
        opened.page.wait_for_url(f"{dashboard.url}/")
        return opened

    return open_


@pytest.fixture
def fill(guarded: Access, dashboard: Dashboard) -> Callable[[], dict[str, str]]:
    return lambda: filled(guarded, operator(guarded), dashboard.worker)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("part", range(PARTS))
def test_axe_finds_nothing(
    enter: Callable[..., Visit], fill: Callable[[], dict[str, str]], dashboard: Dashboard, part: int
) -> None:
    """At both widths, in both colour schemes, with everything folded open."""
    found: list[str] = []

    def look(page: Any, address: str) -> None:
        found.extend(_complaints(page, address))

    opened = enter((lambda page: look(page, "/sign-in")) if part == 0 else (lambda page: None))
    opened.expected = ["status of 400", "status of 404", "status of 422", "/readyz"]
    if part == 0:
        opened.page.evaluate(UNFOLD_HEALTH)
        look(opened.page, "/ of an empty service")
    ids = fill()
    addresses = [address.format(**ids) for several in ADDRESSES.values() for address in several]
    for address in addresses[part::PARTS]:
        opened.page.goto(dashboard.url + address)
        look(opened.page, address)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_that_is_away_is_shown_on_every_page(
    enter: Callable[..., Visit], fill: Callable[[], dict[str, str]], dashboard: Dashboard
) -> None:
    opened = enter()
    opened.expected = ["ERR_FAILED", "/readyz"]
    context = opened.page.context
    ids = fill()
    pages = {}
    for several in ADDRESSES.values():
        pages[several[0]] = context.new_page()
        pages[several[0]].goto(dashboard.url + several[0].format(**ids))
    context.route("**/*", lambda route: route.abort())
    for address, page in pages.items():
        page.get_by_text("The server does not answer").wait_for(timeout=120_000)
        assert page.locator("h1").count() == 1, address


def _complaints(page: Any, address: str) -> Iterator[str]:
    """What axe says of a page, in each of its looks."""
    if address not in FOLDED:
        page.evaluate(UNFOLD)
    for width, size in WIDTHS.items():
        page.set_viewport_size(size)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for one in Axe().run(page).response["violations"]:
                for node in one["nodes"]:
                    yield f"{address} {width} {scheme}: {one['id']}: {node['html'][:160]} {_why(node)}"


def _why(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))
