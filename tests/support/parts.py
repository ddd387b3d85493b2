"""The parts of the suite: `pytest --part short` leaves out the tests that have certain marks, `--part rest` runs those.

`make test` is the short part, `make test-all` is both. These are hooks of pytest, which tests/conftest.py imports.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

LEFT_OUT = {
    "long": "take long by their nature",
    "browser": "drive Chromium (apt-get install chromium)",
    "emulator": "need a cross compiler and an emulator "
    "(apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)",
}
"""The marks of the tests that are not in the short part, and what such tests do."""
BY_FIXTURE = {"browser": "browser", "emulated": "emulator"}
"""The mark of every test that uses the fixture."""
_counts = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", choices=["short", "rest"], help=f"tests without or with the marks {', '.join(LEFT_OUT)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in BY_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(BY_FIXTURE[fixture])
        for mark in item.iter_markers("long"):
            if len(mark.args) != 1 or not isinstance(mark.args[0], str):
                raise pytest.UsageError(f'{item.nodeid}: say why it is long, as in @pytest.mark.long("220 jobs")')
    part = config.getoption("--part")
    if part is None:
        return
    short = [item for item in items if not marks_of(item)]
    rest = [item for item in items if marks_of(item)]
    items[:], others = (short, rest) if part == "short" else (rest, short)
    config.hook.pytest_deselected(items=others)
    if part == "short":
        config.stash[_counts] = Counter(" and ".join(marks_of(item)) for item in rest)


def marks_of(item: pytest.Item) -> list[str]:
    """Those that keep the test out of the short part."""
    return [name for name in LEFT_OUT if item.get_closest_marker(name)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its numbers to the process that reports. All workers collect the same tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(_counts, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_counts] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says how many tests of which mark were left out."""
    counts = config.stash.get(_counts, Counter())
    if not counts:
        return
    terminalreporter.section("left out here, part of make test-all")
    for marks, number in sorted(counts.items()):
        reasons = "; they ".join(LEFT_OUT[mark] for mark in marks.split(" and "))
        terminalreporter.write_line(f"{number:5} {marks}: they {reasons}")
