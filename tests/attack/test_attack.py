"""The short form of `make attack`, and what its table promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.line import Line, NotTried, Seen
from tests.attack.service import Service, running
from tests.attack.table import chosen, tried


@pytest.mark.long("a service starts and is attacked")
def test_what_did_not_hold_once_holds_now(tmp_path: Path) -> None:
    said: list[str] = []
    with running(tmp_path) as service:
        holes = tried(service, chosen(short=True), said.append)
    assert [one.name for one in holes] == [], "\n".join(said)


def test_every_row_has_a_line() -> None:
    assert {one.row for one in chosen()} == {*map(str, range(1, 18)), "threat"}
    names = [(one.row, one.name) for one in chosen()]
    assert len(set(names)) == len(names)


def test_a_line_that_fails_is_a_hole_and_one_that_cannot_be_tried_is_none(tmp_path: Path) -> None:
    def broken(_: Service) -> Seen:
        raise ConnectionResetError("gone")

    def elsewhere(_: Service) -> Seen:
        raise NotTried("no Landlock here")

    lines = [
        Line("1", "holds", lambda _: Seen(True, "422"), False),
        Line("2", "does not", lambda _: Seen(False, "200"), False),
        Line("3", "no answer", broken, False),
        Line("4", "cannot", elsewhere, False),
    ]
    said: list[str] = []
    holes = tried(Service("http://127.0.0.1:1", tmp_path, 0), lines, said.append)
    assert [one.row for one in holes] == ["2", "3"]
    assert [text.split()[0] for text in said] == ["HELD", "HOLE", "HOLE", "—"]
    assert "ConnectionResetError: gone" in said[2]
