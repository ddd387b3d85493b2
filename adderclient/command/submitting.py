"""The options and the output that ``adder submit`` and ``adder sweep submit`` share."""

from __future__ import annotations

from collections.abc import Callable

from adderclient.command.errors import UsageError
from adderclient.command.output import note, print_json
from adderclient.command.terminal import say
from adderclient.records import Job, Sweep


def refuse_with_validate_only(watch: bool, idempotency_key: str | None) -> None:
    """Raises UsageError for options that have no effect together with ``--validate-only``."""
    if watch or idempotency_key is not None:
        name = "--watch" if watch else "--idempotency-key"
        raise UsageError(f"--validate-only submits nothing: leave out {name}")


def submitted(made: Job | Sweep, as_json: bool, watch: Callable[[], None] | None, remark: str) -> None:
    """Prints the id, or the object as JSON, and goes on with ``watch`` where that was asked for."""
    if watch is not None:
        if not as_json:
            say(made.id, flush=True)
        watch()
    elif as_json:
        print_json(made.raw)
    else:
        say(made.id)
        note(remark)
