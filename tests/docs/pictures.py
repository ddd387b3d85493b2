"""`python -m tests.docs.pictures`: writes docs/command.md, what the command shows at ten daily tasks.

The command runs against a real server with fixed data. What differs from run to run (ids, addresses, moments) is
replaced by something that stays. A test compares the page with what this would write.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from rich.text import Text

from adderclient.command import main as adder
from tests.docs.example_service import Example, example_service
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs/command.md"
WIDTHS = (80, 120)
ID = re.compile(r"\b(job|model|sweep|ds|worker)_([0-9a-hjkmnp-tv-z]{26})\b")
MOMENT = re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b")
CLEAR_LINE, UP, CONTROL = "\x1b[2K", "\x1b[1A", re.compile(r"\x1b\[(?:2K|1A|\?25[lh])|\r")
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
"""Of a terminal, by their numbers."""
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # of ids


@dataclass(frozen=True)
class Task:
    """Something that people do daily."""

    title: str
    about: str
    commands: tuple[str, ...]
    """`{name}` is the id of an object of the example, `{name:end}` its last six characters."""


TASKS = (
    Task(
        "Begin",
        "`adder init` writes a spec with the paper's recipe for a dataset and says what each field means. "
        "`--validate-only` shows what the network costs.",
        ("adder init --dataset digits", "adder submit job.yaml --validate-only"),
    ),
    Task(
        "Submit, and change a field",
        "`--set` overrides a field; TAB completes its name and its values. The id alone is on stdout: "
        "`JOB=$(adder submit job.yaml)`.",
        (
            "adder submit job.yaml --set epochs=5 --set optimizer.schedule=constant",
            "adder cancel @last",
            "adder delete --yes @last",
        ),
    ),
    Task(
        "See what goes on",
        "The newest jobs. A narrow terminal leaves out the columns that matter least, and an id is never cut.",
        ("adder jobs",),
    ),
    Task(
        "Watch several at once",
        "A bar for each while they run. It ends when each has ended or waits for somebody, here with exit code 1, "
        "since one failed.",
        ("adder watch {baseline:end} {diverged:end} {paused:end}",),
    ),
    Task(
        "Look at one",
        "What it found, what its network costs, what it left. `--web` opens its page instead.",
        ("adder show {baseline:end}",),
    ),
    Task(
        "Find the best",
        "Sorted by a metric, filtered by a label, with the columns that one wants.",
        ("adder jobs --label study:first --sort val/accuracy --columns id,accuracy,val/loss,ran,method,label:study",),
    ),
    Task(
        "Compare",
        "Where the specs differ, and what came of it.",
        ("adder compare {baseline:end} {twin:end}",),
    ),
    Task(
        "Follow a sweep",
        "A sweep, its trials and its table.",
        ("adder sweeps", "adder show {sweep:end}"),
    ),
    Task(
        "Keep models",
        "An alias stands wherever the id may.",
        ("adder alias {model:end} best", "adder models", "adder show champion"),
    ),
    Task(
        "Clear up",
        "Several ids at once: what fails is named, the others are done. On a terminal `delete` asks, unless `--yes`.",
        ("adder resume {paused:end} {baseline:end}", "adder pause {waiting:end}", "adder delete --yes {waiting:end}"),
    ),
)

HEAD = """\
# The command at ten daily tasks

What `adder` shows on terminals of 80 and 120 columns, with and without colour. This page is made by `python -m
tests.docs.pictures`, and a test compares it.

- **Ids** are never cut or wrapped. The last six characters or more of one stand wherever an id may, and `@last` is
  the newest job (or model, sweep, dataset where the command takes one of these). `adder --install-completion` lets
  the shell complete ids, recipes, networks, datasets and the fields of `--set`.
- **Listings** all take `--columns`, `--sort`, `--order`, `--limit`, `--json` and `--csv`: `adder jobs`, `adder
  models`, `adder datasets`, `adder sweeps`, `adder sweep trials`, `adder recipes`, `adder workers`, `adder
  metrics`, `adder events` and `adder count`. `adder jobs list` is the same as `adder jobs`, and so for every group.
- **Columns** have an order of importance, in which a narrow terminal keeps them: of jobs {jobs}; of models
  {models}. A column in which no row has anything is left out. `--columns all` is every column; the others of jobs
  are {more}, and any metric (`val/loss`) or label (`label:study`). `--columns` leaves out nothing, and a pipe gets
  every column uncut.
- **JSON** has what the server says; with `--columns` these values alone. CSV has numbers as they are: accuracies
  are shares from 0 to 1, times RFC 3339. On the terminal accuracies are in per cent.
- **Several ids**: `show`, `watch`, `delete`, `cancel`, `pause`, `resume`, `retry`, `download`. What fails is named
  on stderr, the others are done, and the exit code is that of the first failure. `show`, `watch` and `delete` take
  jobs, models, sweeps and datasets.
- **Exit codes**: 0 done; 1 the job failed or was cancelled; 2 wrong usage; 3 no such thing, or its state forbids
  it; 4 no server; 5 what was watched is paused or no worker can run it; 130 interrupted. A reader that goes away
  (`adder jobs | head`) is no failure.
- **The server**: `--url`, `ADDER_URL`, or http://127.0.0.1:8000; with a path where a proxy has one, with or without
  `/v1`. Commands that are printed to be copied carry `--url` where it was given.
- **Specs** are YAML 1.2 or JSON: `010` is ten, `on` and `2024-01-05` are texts.
- **Colour** changes no character of a picture. The line below each says what it colours; `NO_COLOR=1` leaves it
  out.
"""


def written() -> str:
    """The whole page."""
    from adderclient.command.columns import Column
    from adderclient.command.job_columns import COLUMNS as OF_JOBS
    from adderclient.command.models import COLUMNS as OF_MODELS

    def ranked(columns: tuple[Column, ...]) -> str:  # type: ignore[type-arg]
        return ", ".join(f"`{one.name}`" for one in sorted(columns, key=lambda one: one.rank) if not one.extra)

    more = ", ".join(f"`{one.name}`" for one in OF_JOBS if one.extra)
    parts = [HEAD.format(jobs=ranked(OF_JOBS), models=ranked(OF_MODELS), more=more)]
    pictures: dict[int, list[str]] = {}
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder, example_service(Path(folder)) as example:
            pictures[width] = list(_pictures(example, width))
    for number, task in enumerate(TASKS):
        parts.append(f"\n## {number + 1}. {task.title}\n\n{task.about}\n")
        parts += [f"\n{pictures[width][number]}" for width in WIDTHS]
    return "".join(parts)


def _pictures(example: Example, width: int) -> Iterator[str]:
    """A picture of each task on a terminal so wide."""
    stable = Stable(example)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for task in TASKS:
            lines: list[str] = []
            colours: dict[str, list[str]] = {}
            for command in task.commands:
                typed = _typed(command, example.names)
                shown = Text.from_ansi(run(typed, example.url, width))
                for span in shown.spans:
                    words = " ".join(shown.plain[span.start : span.end].split())
                    if any(map(str.isalnum, words)) and words not in colours.setdefault(str(span.style), []):
                        colours[str(span.style)].append(words)
                lines += [f"$ {typed}", *(line.rstrip() for line in shown.plain.splitlines()), ""]
            text = stable("\n".join(lines).rstrip())
            yield f"{width} columns:\n\n```text\n{text}\n```\n{_coloured(colours, stable)}"


def _coloured(colours: Mapping[str, list[str]], stable: Stable) -> str:
    """A line that says what has which colour."""
    parts = [
        f"**{_named(style)}** {', '.join(f'`{stable(word)}`' for word in words)}" for style, words in colours.items()
    ]
    return f"\nIn colour: {'; '.join(parts)}.\n" if parts else ""


def _named(style: str) -> str:
    """A style with the names of its colours."""
    return re.sub(r"color\((\d)\)", lambda found: COLOURS[int(found[1])], style)


def _typed(command: str, names: Mapping[str, str]) -> str:
    for name, id_ in names.items():
        command = command.replace(f"{{{name}:end}}", id_[-6:]).replace(f"{{{name}}}", id_)
    return command


def run(command: str, url: str, width: int, **terminal: str) -> str:
    """What a terminal shows of a command, with its colours unless `NO_COLOR` is set."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "ADDER_API_KEY")}
    environment = {
        **kept,
        "ADDER_URL": url,
        "COLUMNS": str(width),
        "LINES": "50",
        "TTY_COMPATIBLE": "1",
        "TERM": "xterm-256color",
        **terminal,
    }
    screen = io.StringIO()
    argv = command.split()
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", argv),
        patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(screen),
        redirect_stderr(screen),
        suppress(SystemExit),
    ):
        adder()
    return seen(screen.getvalue())


def seen(output: str) -> str:
    """What is left on the screen after lines were drawn over."""
    lines = [""]
    at = 0
    place = 0
    for found in [*CONTROL.finditer(output), None]:
        for number, part in enumerate(output[place : found.start() if found else None].split("\n")):
            if number:
                at += 1
                lines += [""] * (at + 1 - len(lines))
            lines[at] += part
        if found is None:
            break
        place = found.end()
        if found[0] == UP:
            at = max(0, at - 1)
        elif found[0] == CLEAR_LINE:
            lines[at] = ""
    return "\n".join(lines)


class Stable:
    """Replaces what differs from run to run by something of the same length that stays."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._ids: dict[str, str] = {}
        for name, id_ in example.names.items():
            self._id(id_, name)

    def _id(self, id_: str, name: str = "") -> str:
        if id_ not in self._ids:
            kind = id_.partition("_")[0]
            digest = hashlib.sha256(f"{kind} {name or len(self._ids)}".encode()).digest()
            self._ids[id_] = f"{kind}_01kb3m8z4k6wq0{''.join(ALPHABET[one % 32] for one in digest[:12])}"
        return self._ids[id_]

    def __call__(self, text: str) -> str:
        text = ID.sub(lambda found: self._id(found[0]), text)
        for id_, other in self._ids.items():
            text = text.replace(id_[-8:], other[-8:]).replace(id_[-6:], other[-6:])
        text = text.replace(self._example.url, "http://127.0.0.1:8000")
        return MOMENT.sub("2026-11-30 10:00:00", text)


def main() -> None:
    PAGE.write_text(written(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
