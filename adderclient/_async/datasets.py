"""``client.datasets``: what can be trained on, and users' own datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import anyio

from adderclient._async.download import fetch
from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.download import Transfer
from adderclient.errors import AdderClientError
from adderclient.progress import Progress, shown
from adderclient.records import Dataset, Page
from adderclient.transport import given
from adderclient.uploads import Counted

UPLOAD_SECONDS = 600.0
"""How long the server may take to store an upload that it has received."""


class AsyncDatasets:
    """The server's datasets.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Dataset]:
        """Asks for one page of the datasets: published ones by name, then users' own, newest first.

        Args:
            limit: datasets on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.

        Returns:
            The page.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        params = given(limit=limit, after=after)
        return Page.from_json(await self._transport.json("GET", "/v1/datasets", params=params), Dataset.from_json)

    async def get(self, dataset: str) -> Dataset:
        """Asks for one dataset.

        Args:
            dataset: an id, a name (of a user's dataset: its newest version) or ``name@version``.

        Returns:
            The dataset.

        Raises:
            NotFoundError: there is no such dataset.
        """
        return Dataset.from_json(await self._transport.json("GET", _path(dataset)))

    async def upload(
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
        progress: Callable[[Transfer], None] | None = None,
    ) -> Dataset:
        """Uploads images of your own; a job then validates them, see :meth:`wait`.

        The same file with the same options under the same name gives the version that is there.

        Args:
            path: an ``.npz``, a zip or tar of class folders, or a Parquet table.
            name: what specs shall call it; a name that is taken gets a further version.
            size: (height, width) in pixels to resize all images to; None: as they are.
            channels: 1 (grey) or 3 (colour); None: as they are.
            validation_fraction: share of each class that validates, unless the file says; None: the server's 0.15.
            seed: of the choice of those images; None: the server's 0.
            on_bad_image: ``fail`` (the server's default), or ``skip`` images that cannot be read.
            max_skipped: images that may be skipped; with more of them the upload fails.
            transparent_on: the ground under transparent pixels: ``white``, ``black``, or ``refuse`` such images.
            value_range: black and white of arrays and deep images: ``auto``, ``0..1``, ``0..255``, ``-1..1``, ``bits``.
            columns: of a table, ``{"image": …, "label": …}``; None: told by their names.
            progress: is called after each piece.

        Returns:
            The dataset, which is ``validating``. Its ``notes`` will say what was left out, converted or guessed.

        Raises:
            AdderClientError: the file is not there.
            InvalidRequestError: the name or an option is wrong, or the file is too large.
        """
        source = Path(path)
        if not source.is_file():
            raise AdderClientError(f"{source} is not there")
        wanted = {
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
        options: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        with Counted(source, progress) as file:
            answer = await self._transport.json(
                "POST",
                "/v1/datasets",
                data={"name": name, "options": json.dumps(options)},
                files={"file": (source.name, file, "application/octet-stream")},
                timeout=UPLOAD_SECONDS,
                repeatable=False,
            )
        return Dataset.from_json(answer)

    async def wait(
        self,
        dataset: str,
        *,
        timeout: float | None = None,
        interval: float = 0.5,
        progress: Progress[Dataset] = False,
    ) -> Dataset:
        """Waits until an upload is validated.

        Args:
            dataset: as for :meth:`get`.
            timeout: seconds to wait at most; None: without limit.
            interval: seconds between two looks.
            progress: true shows a line on stderr; a function is called with the dataset at each look.

        Returns:
            The dataset; its ``status`` is ``ready``, or ``failed`` with its ``problems``.

        Raises:
            AdderClientError: it was still being validated after ``timeout`` seconds.
            NotFoundError: there is no such dataset.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with shown(progress) as tell:
            while True:
                found = await self.get(dataset)
                tell(found)
                if found.status != "validating":
                    return found
                if deadline is not None and monotonic() > deadline:
                    said = f"{dataset} was still being validated after {timeout:g} s, by {found.job_id}"
                    raise AdderClientError(said)
                await anyio.sleep(interval)

    async def preview(
        self, dataset: str, to: str | Path, *, progress: Callable[[Transfer], None] | None = None
    ) -> Path:
        """Fetches the contact sheet of a user's dataset: 8 images of each class as the network sees them.

        Args:
            dataset: as for :meth:`get`.
            to: a file or a folder.
            progress: is called after each piece.

        Returns:
            The PNG file.

        Raises:
            NotFoundError: there is no such dataset, or it has no contact sheet.
        """
        found = await self.get(dataset)
        return await fetch(self._transport, f"{_path(dataset)}/preview", to, f"{found.name}.png", progress=progress)

    async def delete(self, dataset: str) -> None:
        """Removes one version of a user's dataset. Models that were trained on it stay.

        Args:
            dataset: an id, ``name@version``, or a name: its newest version.

        Raises:
            ConflictError: it is published with the service, or an unfinished job or sweep uses it.
            NotFoundError: there is no such dataset.
        """
        await self._transport.request("DELETE", _path(dataset))


def _path(dataset: str) -> str:
    return f"/v1/datasets/{segment(dataset)}"
