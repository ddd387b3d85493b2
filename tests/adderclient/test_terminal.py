"""What others wrote never steers the reader's terminal, whatever command shows it."""

from __future__ import annotations

import ast
import io
import json
import unicodedata
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import adderclient.command
from adderclient.command.terminal import PlainConsole, plain
from tests.adderclient.conftest import Adder
from tests.adderclient.contract_service import Service
from tests.adderclient.documents import event, job, metric

EVIL = {
    "escape": "\x1b]0;owned\x07\x1b[2J",
    "C1": "\x9b31m\x90\x9d",
    "bell": "\x07\x08\x7f",
    "bidirectional": "\u202egnp.exe\u2066\u200f",
    "line ends": "\x0b\x0c\r\x85\u2028\u2029",
}
ALL = "".join(EVIL.values())
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal does something about."""

    def acts(one: str) -> bool:
        kind = unicodedata.category(one)
        marks = one in "\u200e\u200f\u061c" or unicodedata.bidirectional(one) in TURNING
        return one not in "\n\t" and (kind in ("Cc", "Zl", "Zp") or marks)

    return [ascii(one) for one in text if acts(one)]


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_no_command_lets_them_through(service: Service, adder: Adder, evil: str) -> None:
    error = {"code": "code_error", "message": evil, "log_tail": evil}
    service.jobs["job_0001"] = job("job_0001", "failed", labels={evil: evil}, error=error, waiting_for=evil)
    service.logs["job_0001"] = f"a line {evil}\n"
    service.events["job_0001"] = [event(1, f"said {evil}")]
    service.metrics["job_0001"] = [metric(1, f"loss {evil}")]
    for arguments in (
        ("jobs",),
        ("show", "job_0001"),
        ("logs", "job_0001"),
        ("events", "job_0001"),
        ("metrics", "job_0001"),
        ("metrics", "job_0001", "--csv"),
        ("watch", "job_0001"),
        ("jobs", "--json"),
        ("events", "job_0001", "--json"),
    ):
        done = adder(*arguments)
        assert obeyed(done.stdout) == [], arguments
        assert obeyed(done.stderr) == [], arguments
    (same,) = json.loads(adder("jobs", "--json").stdout)["data"]
    assert same["labels"] == {evil: evil}


def test_it_is_seen_what_was_there(service: Service, adder: Adder) -> None:
    service.jobs["job_0001"] = job("job_0001", labels={"run": "\x1b[2J \u202e é 数"})
    assert r"\x1b[2J \u202e é 数" in adder("show", "job_0001").stdout


def test_everything_that_a_console_renders_is_plain_and_its_own_colours_stay() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, color_system="standard", width=200, highlight=False)
    table = Table(title=ALL)
    table.add_column(ALL)
    table.add_row(Text(ALL, style="red"))
    console.print(table, Text(ALL), ALL, markup=False)
    text = screen.getvalue()
    assert "\x1b[31m" in text
    assert "\x1b[2J" not in text
    assert set(obeyed(text)) == {ascii("\x1b")}
    assert obeyed(plain(text)) == []


def test_nothing_else_writes_to_the_terminal() -> None:
    """A `print` of its own would be a way around."""
    found = []
    for path in Path(adderclient.command.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and path.name != "terminal.py":
                found += [f"{path.name}:{node.lineno}"] if node.func.id in ("print", "Console") else []
    assert found == []
