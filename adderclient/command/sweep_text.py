"""A sweep in words."""

from __future__ import annotations

from rich.text import Text

from adderclient.client import Client
from adderclient.command import copied
from adderclient.command.columns import Column, table
from adderclient.command.output import fields, note, status
from adderclient.command.terminal import console
from adderclient.formats import DASH, named, text
from adderclient.records import Sweep, Trial

MOST_TRIALS = 30
"""Trials that `show` lists."""


def counts_of(sweep: Sweep) -> str:
    """``12/20 done, 2 running, 1 failed``."""
    counts = sweep.progress
    parts = [f"{count} {name}" for name, count in counts.items() if count and name not in ("done", "total")]
    return ", ".join([f"{counts.get('done', 0)}/{counts.get('total', 0)} done", *parts])


def best_of(sweep: Sweep) -> str:
    """The best value so far, and where it was found."""
    if sweep.best is None:
        return DASH
    return f"{named(str(sweep.spec.get('objective')), sweep.best.value)} ({text(sweep.best.parameters)})"


def state_of(trial: Trial) -> Text:
    """The status of a trial; one that the server calls running has a job, which may still be queued, or paused."""
    return status((trial.job_status or trial.status) if trial.status == "running" else trial.status)


def show_fields(sweep: Sweep) -> None:
    """Prints a sweep without its trials."""
    fields(
        [
            ("sweep", sweep.id),
            ("name", sweep.name),
            ("status", status(sweep.status)),
            ("jobs", counts_of(sweep)),
            ("objective", sweep.spec.get("objective")),
            ("best", best_of(sweep)),
            ("job of the best", sweep.best and sweep.best.job_id),
            ("why", sweep.message),
            ("created", sweep.created_at),
            ("finished", sweep.finished_at),
        ]
    )


def show_sweep(client: Client, sweep: Sweep) -> None:
    """Prints a sweep and its trials."""
    show_fields(sweep)
    trials = list(client.sweeps.trials(sweep.id))
    if trials:
        console().print()
        table(trial_columns(str(sweep.spec.get("objective"))), trials[:MOST_TRIALS])
    if len(trials) > MOST_TRIALS:
        remark = f"{len(trials) - MOST_TRIALS} further trials; all of them: "
        note(remark + copied.adder("sweep trials", sweep.id))


def trial_columns(objective: str) -> tuple[Column[Trial], ...]:
    """The columns of a sweep's trials."""
    return (
        Column("trial", lambda one: one.number, right=True),
        Column("status", lambda one: one.status, state_of, rank=1),
        Column("parameters", lambda one: one.parameters, rank=3, cut=True),
        Column("value", lambda one: one.value, lambda one: named(objective, one.value), rank=2, right=True),
        Column("job", lambda one: one.job_id, rank=4),
        Column("why", lambda one: one.message, lambda one: one.message or "", rank=5, cut=True),
    )
