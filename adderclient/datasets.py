"""``client.datasets``: what can be trained on, and users' own."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adderclient.download import Progress, fetch
from adderclient.errors import AdderClientError
from adderclient.records import Dataset, Page
from adderclient.transport import Transport

UPLOAD_SECONDS = 600.0
"""How long the server may take to store an upload that it has received."""


class Datasets:
    """The server's datasets."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Dataset]:
        """One page of the datasets: published ones by name, then users' own, newest first."""
        params = [(name, str(value)) for name, value in (("limit", limit), ("after", after)) if value is not None]
        return Page.from_json(self._transport.json("GET", "/v1/datasets", params=params), Dataset.from_json)

    def get(self, dataset: str) -> Dataset:
        """The dataset with this id or name: of a user's the newest version, or ``name@version``."""
        return Dataset.from_json(self._transport.json("GET", _path(dataset)))

    def upload(
        self,
        path: str | Path,
        name: str,
        *,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        validation_fraction: float | None = None,
        seed: int | None = None,
        on_bad_image: str | None = None,
        max_skipped: int | None = None,
        transparent_on: str | None = None,
        value_range: str | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Dataset:
        """Sends an ``.npz``, a zip or tar of class folders, or a Parquet table; a job then validates it (:meth:`wait`).

        The same file with the same options under the same name gives the version that is there. ``size`` is (height,
        width), ``columns`` names those of a table (``image``, ``label``); what is left out, the server chooses. What it
        left out, converted or guessed is in the dataset's ``notes``.
        """
        source = Path(path)
        if not source.is_file():
            raise AdderClientError(f"{source} is not there")
        given = {
            "size": size,
            "channels": channels,
            "validation_fraction": validation_fraction,
            "seed": seed,
            "on_bad_image": on_bad_image,
            "max_skipped": max_skipped,
            "transparent_on": transparent_on,
            "value_range": value_range,
            "columns": columns,
        }
        options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        with _Counted(source, progress) as file:
            answer = self._transport.json(
                "POST",
                "/v1/datasets",
                data={"name": name, "options": json.dumps(options)},
                files={"file": (source.name, file, "application/octet-stream")},
                timeout=UPLOAD_SECONDS,
                repeatable=False,
            )
        return Dataset.from_json(answer)

    def wait(self, dataset: str, *, timeout: float | None = None, interval: float = 0.5) -> Dataset:
        """The dataset once it is validated: see its ``status``, ``problems`` and ``notes``. ``timeout`` in seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (found := self.get(dataset)).status == "validating":
            if deadline is not None and time.monotonic() > deadline:
                raise AdderClientError(f"{dataset} was still being validated after {timeout:g} s, by {found.job_id}")
            time.sleep(interval)
        return found

    def preview(self, dataset: str, to: str | Path, *, progress: Callable[[Progress], None] | None = None) -> Path:
        """Fetches the contact sheet of a user's dataset (PNG); ``to`` is a file or a folder."""
        found = self.get(dataset)
        return fetch(self._transport, f"{_path(dataset)}/preview", to, f"{found.name}.png", progress=progress)

    def delete(self, dataset: str) -> None:
        """Removes one version of a user's dataset: by id, ``name@version``, or the newest of a name."""
        self._transport.request("DELETE", _path(dataset))


class _Counted(io.FileIO):
    """A file that says how much of it was read."""

    def __init__(self, path: Path, progress: Callable[[Progress], None] | None) -> None:
        super().__init__(path)
        self._path, self._progress, self._total = path, progress, path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        if self._progress is not None:
            self._progress(Progress(self._path, self.tell(), self._total))
        return data


def _path(dataset: str) -> str:
    return f"/v1/datasets/{quote(dataset, safe='')}"
