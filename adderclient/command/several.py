"""Commands that take several ids: what fails is named, the others are done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from adderclient.client import Client
from adderclient.command.errors import INTERRUPTED, exit_code_for
from adderclient.command.output import note
from adderclient.errors import AdderClientError, ConnectionFailed

R = TypeVar("R")


class Failures:
    """The ids for which a command could not be done."""

    def __init__(self) -> None:
        self._codes: list[int] = []

    def of(self, texts: Sequence[str], act: Callable[[str], R], *, alone: bool | None = None) -> list[R]:
        """What `act` gives for each text, without those that it refuses; these are named on stderr.

        With one text (``alone``) the error is raised as it is. A server that does not answer ends all of it.
        """
        done = []
        for text in dict.fromkeys(texts):
            try:
                done.append(act(text))
            except ConnectionFailed:
                raise
            except AdderClientError as error:
                if len(texts) == 1 if alone is None else alone:
                    raise
                said = str(error)
                note(f"adder: {said}" if text in said else f"adder: {text}: {said}")
                self._codes.append(exit_code_for(error))
        return done

    def end(self) -> None:
        """Ends the command with the exit code of the first failure, where there was one."""
        if self._codes:
            raise typer.Exit(self._codes[0])


def each(
    client: Client, texts: Sequence[str], meant: Callable[[Client, str], str], act: Callable[[str], R]
) -> tuple[list[R], Failures]:
    """Does something with the objects that texts mean.

    Args:
        client: the server's.
        texts: ids, their ends, `@last`.
        meant: finds the id that a text means.
        act: what is done with each id.

    Returns:
        What it gave for each, and those that failed.
    """
    failures = Failures()
    return failures.of(texts, lambda text: act(meant(client, text))), failures


def is_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, yes: bool) -> None:
    """Asks on a terminal, and ends the command unless the answer is yes. Programs are not asked."""
    if yes or not is_a_terminal():
        return
    if not typer.confirm(question, default=False, err=True):
        note("Nothing is deleted.")
        raise typer.Exit(INTERRUPTED)
