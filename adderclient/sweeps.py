"""``client.sweeps``: jobs that vary a spec by a grid or a search, and what they came to; ``client.compare``."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from adderclient.errors import ConnectionFailed, ServerError, SweepFailed, WaitTimeout
from adderclient.records import FINAL, Page
from adderclient.transport import Transport

Json = Mapping[str, Any]
OUTAGE = 120.0
"""Seconds for which ``wait`` bears a server that does not answer."""
LONGEST_PAUSE = 2.0  # seconds between two looks


@dataclass(frozen=True, kw_only=True)
class Best:
    """The finished trial with the best value so far."""

    trial: int
    job_id: str | None = None
    parameters: Json = field(default_factory=dict)
    value: float


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep as the server last saw it."""

    id: str
    status: str
    name: str | None = None
    spec: Json = field(default_factory=dict)
    message: str | None = None
    """Why it ended as it did, where that needs saying."""
    created_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Mapping[str, int] = field(default_factory=dict)
    """Trials that are ``done``, ``running``, ``waiting``, ``failed``, ``pruned``, and the ``total``."""
    best: Best | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended; a retry of a failed one opens it again."""
        return self.status in FINAL

    @classmethod
    def from_json(cls, data: Json) -> Sweep:
        """Parses the object of the contract."""
        best = data.get("best")
        return cls(
            id=str(data["id"]),
            status=str(data["status"]),
            name=data.get("name"),
            spec=data.get("spec") or {},
            message=data.get("message"),
            created_at=_time(data.get("created_at")),
            finished_at=_time(data.get("finished_at")),
            progress={name: int(count) for name, count in (data.get("progress") or {}).items()},
            best=None
            if not isinstance(best, Mapping)
            else Best(
                trial=int(best["trial"]),
                job_id=best.get("job_id"),
                parameters=best.get("parameters") or {},
                value=float(best["value"]),
            ),
            raw=data,
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One child of a sweep."""

    number: int
    status: str
    parameters: Json = field(default_factory=dict)
    job_id: str | None = None
    value: float | None = None
    message: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Trial:
        """Parses the object of the contract."""
        value = data.get("value")
        return cls(
            number=int(data["number"]),
            status=str(data["status"]),
            parameters=data.get("parameters") or {},
            job_id=data.get("job_id"),
            value=None if value is None else float(value),
            message=data.get("message"),
            raw=data,
        )


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


class Sweeps:
    """The server's sweeps."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(self, sweep: Json, idempotency_key: str | None = None) -> Sweep:
        """Creates a sweep: ``base`` with ``grid`` or ``search``. A repeated call with the same key and sweep gives the
        same one back; a fresh key is the default, which makes the retries inside this one call safe."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        answer = self._transport.json("POST", "/v1/sweeps", json=dict(sweep), headers=headers, repeatable=True)
        return Sweep.from_json(answer)

    def validate(self, sweep: Json) -> Json:
        """``{jobs, spec, children}``: how many jobs it would make, and their specs; creates nothing."""
        params = [("validate_only", "true")]
        return self._transport.json("POST", "/v1/sweeps", json=dict(sweep), params=params, repeatable=True)

    def get(self, sweep_id: str) -> Sweep:
        """One sweep."""
        return Sweep.from_json(self._transport.json("GET", _path(sweep_id)))

    def list(self, *, status: str | None = None, limit: int | None = None, after: str | None = None) -> Page[Sweep]:
        """One page, newest first."""
        given = (("status", status), ("limit", limit), ("after", after))
        params = [(name, str(value)) for name, value in given if value is not None]
        return Page.from_json(self._transport.json("GET", "/v1/sweeps", params=params), Sweep.from_json)

    def trials(self, sweep_id: str) -> Iterator[Trial]:
        """All its trials that are known so far, in order."""
        after: str | None = None
        while True:
            params = [("limit", "100"), *([("after", after)] if after else [])]
            page = Page.from_json(
                self._transport.json("GET", f"{_path(sweep_id)}/trials", params=params), Trial.from_json
            )
            yield from page
            after = page.next
            if not (page.has_more and after):
                return

    def table(self, sweep_id: str) -> Json:
        """``{objective, fields, rows, best, …}``: a row for each combination, over its seeds where it has several."""
        return self._transport.json("GET", f"{_path(sweep_id)}/table")

    def table_text(self, sweep_id: str, format: Literal["csv", "md"]) -> str:
        """The same as CSV or Markdown."""
        return self._transport.request("GET", f"{_path(sweep_id)}/table", params=[("format", format)]).text

    def figure(self, sweep_id: str) -> str:
        """The picture, an SVG document."""
        return self._transport.request("GET", f"{_path(sweep_id)}/figure.svg").text

    def cancel(self, sweep_id: str) -> Sweep:
        """No trial begins any more, and those that run are cancelled."""
        return Sweep.from_json(self._transport.json("POST", f"{_path(sweep_id)}/cancel", repeatable=True))

    def delete(self, sweep_id: str) -> None:
        """Forgets a finished sweep; its jobs stay."""
        self._transport.request("DELETE", _path(sweep_id))

    def watch(self, sweep_id: str, timeout: float | None = None) -> Iterator[Sweep]:
        """The sweep now and then until it has ended, the last time as it ended.

        Raises:
            WaitTimeout: it did not end within ``timeout`` seconds.
        """
        began = heard = time.monotonic()
        pause = 0.2
        last: Sweep | None = None
        while True:
            try:
                last = self.get(sweep_id)
                heard = time.monotonic()
            except (ConnectionFailed, ServerError):
                if time.monotonic() - heard > OUTAGE or last is None:
                    raise
            yield last
            if last.finished:
                return
            if timeout is not None and time.monotonic() - began >= timeout:
                raise WaitTimeout(last, timeout)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def wait(self, sweep_id: str, timeout: float | None = None, *, check: bool = True) -> Sweep:
        """Waits until the sweep has ended and returns it. Bears a server that is away for up to two minutes.

        Raises:
            SweepFailed: none of its trials succeeded, or it was cancelled (unless ``check`` is false).
            WaitTimeout: it did not end within ``timeout`` seconds.
        """
        *_, last = self.watch(sweep_id, timeout)
        if check and last.status != "succeeded":
            raise SweepFailed(last)
        return last


def compare(transport: Transport, jobs: builtins.list[str]) -> Json:
    """``{jobs, differences, metrics, results}`` of 2 to 20 jobs."""
    return transport.json("GET", "/v1/compare", params=[("job", job) for job in jobs])


def _path(sweep_id: str) -> str:
    return f"/v1/sweeps/{quote(sweep_id, safe='')}"
