"""The commands and programs of the pages: which of them a test runs, and how.

Every code block of a shell or of Python is run by tests/acceptance/test_snippets.py, page by page, as a reader would:
in order, in one folder, against a service. A comment on the line before a block, which readers do not see, says what
is different about it:

- `<!-- not run: REASON -->`: it is not.
- `<!-- keeps running -->`: it starts a service, which runs until the page's end; later blocks speak to that.

A block whose first line is a comment with a file's name (`# eta.yaml`, `/* main.c */`) is that file.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.programs import die_with_parent
from tests.docs.markdown import Block, Page, pages

SHELL = ("sh", "bash", "console")
NOT_RUN, KEEPS_RUNNING = "not run", "keeps running"
FILE = re.compile(r"^(?:#|//|/\*)\s*([\w-]+\.(?:yaml|json|py|c))\b")
PROGRAMS = {"adder", "curl", "make", "python", "pip", "docker", "git", "helm", "kubectl", "tar", "sbatch", "gcc", "cc"}
ADDRESS = re.compile(r"(?:http://)?(?:127\.0\.0\.1|localhost):8000")
HISTORY = "CHANGELOG.md"
PATIENCE = 900
"""Seconds that one block may take."""


def problems(page: Page) -> Iterator[tuple[int, str]]:
    """Blocks of which nobody can tell whether they are run, and marks without a reason."""
    for block in page.blocks():
        first = block.code.split(maxsplit=1)[0] if block.code.split() else ""
        if block.mark is not None and block.mark.startswith(NOT_RUN) and not reason(block):
            yield block.line, "a block that is not run needs its reason: <!-- not run: REASON -->"
        if block.language == "" and (first in PROGRAMS or first.startswith(("deploy/", ".venv/"))):
            yield block.line, "a block of commands needs its language: ```sh"
        if block.language == "python":
            try:
                compile(block.code, page.name, "exec")
            except SyntaxError as error:
                yield block.line + (error.lineno or 1) - 1, f"this is not Python: {error.msg}"
    for line in page.indented():
        if line.text.split()[0] in PROGRAMS:
            yield line.line, "commands stand in a fenced block, ```sh, so that they are run"


def reason(block: Block) -> str | None:
    """Why a block is not run; None where it is."""
    mark = block.mark or ""
    return mark.partition(":")[2].strip() if mark.startswith(NOT_RUN) else None


def file_of(block: Block) -> str | None:
    """The name of the file that the block is."""
    named = FILE.match(block.code)
    return named[1] if named else None


def is_run(block: Block) -> bool:
    """Whether the test runs the block as a command or a program."""
    return block.language in (*SHELL, "python") and reason(block) is None and file_of(block) is None


def pages_that_run() -> list[Page]:
    """Pages with at least one block that is run."""
    return [page for page in pages() if page.name != HISTORY and any(is_run(block) for block in page.blocks())]


class SnippetError(AssertionError):
    """A block of a page did not do what a reader would expect: it failed."""


@dataclass
class Reader(AbstractContextManager["Reader"]):
    """Follows a page in a folder.

    `words` are what a reader fills in: the first `JOB` of a block becomes the first id, the second one the next.
    """

    folder: Path
    url: str
    words: Mapping[str, tuple[str, ...]]
    environment: Mapping[str, str]
    output: list[str] = field(default_factory=list)
    """What the blocks of a shell printed, one text for each."""
    _names: dict[str, object] = field(default_factory=dict)
    _services: list[subprocess.Popen[str]] = field(default_factory=list)
    _operator: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services:
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=PATIENCE)
            if service.stdout is not None:
                service.stdout.close()

    def follow(self, page: Page) -> None:
        """Does what the page says. Raises `SnippetError` at the first block that fails."""
        for block in page.blocks():
            where = f"{page.name}:{block.line}"
            name = file_of(block)
            if name is not None:
                (self.folder / name).write_text(self._typed(block.code))
            elif not is_run(block):
                continue
            elif block.mark == KEEPS_RUNNING:
                self._start(block, where)
            elif block.language == "python":
                self._program(block, page)
            else:
                self._commands(block, where)

    def _typed(self, code: str) -> str:
        """The code with the service's address, and ids in the place of words."""
        code = ADDRESS.sub(self.url, code)
        for word, values in self.words.items():
            left = iter(values * code.count(word))
            code = re.sub(rf"(?<![\w${{]){word}(?![\w=])", lambda _, left=left: next(left), code)  # type: ignore[misc]
        return code

    def _variables(self) -> dict[str, str]:
        more = {"ADDER_URL": self.url, "URL": self.url, "OPERATOR": self._operator}
        return {**self.environment, **more, **{word: values[0] for word, values in self.words.items()}}

    def _commands(self, block: Block, where: str) -> None:
        # A reader sees an error of HTTP; curl alone would end with 0.
        script = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n' + self._typed(block.code)
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self._variables(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        )  # fmt: skip
        if done.returncode:
            raise SnippetError(f"{where} ended with {done.returncode}:\n{block.code}\n{done.stdout[-4000:]}")
        self.output.append(done.stdout)

    def _program(self, block: Block, page: Page) -> None:
        code = self._typed(block.code)
        exec(compile("\n" * (block.line - 1) + code, str(page.path), "exec"), self._names)

    def _start(self, block: Block, where: str) -> None:
        """Starts a service on a free port, and waits for what it says."""
        code = block.code.replace("adder up", "exec adder up --port 0 --ready-timeout 300", 1)
        code = re.sub(r"^(\w+=\S+) exec ", r"export \1; exec ", code)
        service = subprocess.Popen(
            ["bash", "-c", code], cwd=self.folder, env={**self._variables(), "ADDER_URL": ""}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
        self._services.append(service)
        assert service.stdout is not None
        said: list[str] = []
        ready = None
        while ready is None:
            line = service.stdout.readline()
            said.append(line)
            if not line:
                raise SnippetError(f"{where} ended:\n{''.join(said)}")
            if key := re.search(r"\badw_\w+", line):
                self._operator = key[0]
            ready = re.search(r"is ready at (http://\S+)", line)
        self.url = ready[1]
        threading.Thread(target=_drained, args=(service,), daemon=True).start()


def _drained(service: subprocess.Popen[str]) -> None:
    """Reads what a service says, so that it never waits for its reader."""
    assert service.stdout is not None
    try:
        for _ in service.stdout:
            pass
    except ValueError:  # closed at the end
        sys.exit()
