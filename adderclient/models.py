"""``client.models``: published and imported models."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from adderclient.download import Transfer, fetch
from adderclient.errors import AdderClientError
from adderclient.records import Model, Page, pages
from adderclient.transport import Transport, given

Array = Sequence[Any]
FILES = {"safetensors": "model.safetensors", "manifest": "model.json"}
"""Formats of a model's download, and the names of the files that they give."""


class Models:
    """The server's models.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Model]:
        """Asks for one page of the models, newest first.

        Args:
            limit: models on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.

        Returns:
            The page.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        params = given(limit=limit, after=after)
        return Page.from_json(self._transport.json("GET", "/v1/models", params=params), Model.from_json)

    def iterate(self) -> Iterator[Model]:
        """Walks through all models, newest first.

        Returns:
            The models; each page is fetched when it is reached.

        Raises:
            ServerError: the server fails on the way.
        """
        for page in pages(lambda after: self.list(limit=100, after=after)):
            yield from page

    def get(self, model_id: str) -> Model:
        """Asks for one model.

        Args:
            model_id: the model's id.

        Returns:
            The model.

        Raises:
            NotFoundError: there is no such model.
        """
        return Model.from_json(self._transport.json("GET", _path(model_id)))

    def import_(self, weights_path: str | Path, manifest_path: str | Path | None = None) -> Model:
        """Hands a downloaded model to the server; the same bytes again give the same model.

        Args:
            weights_path: a ``model.safetensors``; it carries its manifest.
            manifest_path: its ``model.json``, to be compared with the manifest inside.

        Returns:
            The imported model.

        Raises:
            AdderClientError: a file is not there.
            InvalidRequestError: it is no model that this server understands, or the manifests differ.
        """
        weights = _file(weights_path)
        manifest = _file(manifest_path) if manifest_path is not None else None
        with weights.open("rb") as tensors:
            files: dict[str, tuple[str, IO[bytes] | bytes, str]] = {
                "weights": (weights.name, tensors, "application/octet-stream")
            }
            if manifest is not None:
                files["manifest"] = (manifest.name, manifest.read_bytes(), "application/json")
            return Model.from_json(self._transport.json("POST", "/v1/models", files=files, repeatable=False))

    def download(
        self,
        model_id: str,
        to: str | Path,
        *,
        format: str = "safetensors",
        progress: Callable[[Transfer], None] | None = None,
    ) -> Path:
        """Downloads a model; goes on where an earlier call was interrupted, and verifies the sha256.

        Args:
            model_id: the model's id.
            to: a file, or a folder (it exists, or ends in ``/``).
            format: ``safetensors`` (the weights) or ``manifest`` (``model.json``).
            progress: is called after each piece.

        Returns:
            Where the file lies.

        Raises:
            NotFoundError: there is no such model.
            InvalidRequestError: the server has no such format.
            ChecksumMismatch: the bytes are not those that were published; what came of them is deleted.
            ConnectionFailed: the connection broke too often; the next call goes on.
        """
        return fetch(
            self._transport,
            f"{_path(model_id)}/download",
            to,
            FILES.get(format, f"model.{format}"),
            params=[("format", format)],
            sha256=self.get(model_id).sha256 if format == "safetensors" else None,
            progress=progress,
        )

    def predict(
        self,
        model_id: str,
        image: str | Path | bytes | Array,
        *,
        value_range: str | None = None,
        transparent_on: str | None = None,
    ) -> Mapping[str, Any]:
        """Asks a model which class an image belongs to.

        Args:
            model_id: the model's id.
            image: an image file (its path, its bytes or a data URI), or numbers as nested lists or a numpy array:
                (height, width), (channels, height, width) or (height, width, channels).
            value_range: what is black and what is white in arrays and 16-bit images: ``0..1``, ``0..255``, ``-1..1``,
                ``bits``; None: ``auto``, told by the values.
            transparent_on: the ground of transparent pixels: ``white``, ``black`` or ``refuse``; None: ``white``.

        Returns:
            ``{label, probabilities: {class: share}, notes}``.

        Raises:
            AdderClientError: the image file is not there.
            InvalidRequestError: it is no image, or an array whose shape or range could be two things.
            NotFoundError: there is no such model.
            ServerError: no inference process answers.
        """
        path = f"{_path(model_id)}/predict"
        options = {
            name: value
            for name, value in (("value_range", value_range), ("transparent_on", transparent_on))
            if value is not None
        }
        if isinstance(image, str) and image[:5].lower() == "data:":
            return self._transport.json("POST", path, json={"image": image, **options}, repeatable=True)
        if isinstance(image, str | Path | bytes):
            name, content = ("image", image) if isinstance(image, bytes) else _named(image)
            media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
            files: dict[str, tuple[str, IO[bytes] | bytes, str]] = {"image": (name, content, media_type)}
            if options:
                files["options"] = ("options", json.dumps(options).encode(), "application/json")
            return self._transport.json("POST", path, files=files, repeatable=True)
        array = image.tolist() if hasattr(image, "tolist") else image
        return self._transport.json("POST", path, json={"array": array, **options}, repeatable=True)


def _named(path: str | Path) -> tuple[str, bytes]:
    source = _file(path)
    return source.name, source.read_bytes()


def _file(path: str | Path) -> Path:
    found = Path(path)
    if not found.is_file():
        raise AdderClientError(f"{found} is not there")
    return found


def _path(model_id: str) -> str:
    return f"/v1/models/{quote(model_id, safe='')}"
