"""Chromium, driven by Playwright, of which a process can have one at a time: one fixture for all folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--use-fake-device-for-media-stream",  # a camera that shows a test picture
]


SLOWED = int(os.environ.get("ADDER_TEST_SLOWED_PAGES", "1"))
"""By how many times the browser slows the scripts of pages: at ten, tests that do not wait for a page fail."""


@contextmanager
def started() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def new_page(browser: Any, **options: Any) -> Any:
    """A page in a context of its own, which has these options and ends with `page.context.close()`."""
    context = browser.new_context(
        **({"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce"} | options)
    )
    page = context.new_page()
    if SLOWED > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
    return page


# Playwright keeps an event loop running in the thread that started it, in which no other test could start one of its
# own: it ends with the module that needs it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("No Chromium here; these tests drive one: apt-get install chromium")
    with started() as running:
        yield running
