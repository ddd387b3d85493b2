"""``client.models``: published and imported models."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from adderclient.download import Progress, fetch
from adderclient.errors import AdderClientError
from adderclient.records import Model, Page
from adderclient.transport import Transport

Array = Sequence[Any]


class Models:
    """The server's models."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Model]:
        """One page of the models, newest first."""
        params = [(name, str(value)) for name, value in (("limit", limit), ("after", after)) if value is not None]
        return Page.from_json(self._transport.json("GET", "/v1/models", params=params), Model.from_json)

    def iterate(self) -> Iterator[Model]:
        """All models, newest first, page by page as they are asked for."""
        page = self.list(limit=100)
        yield from page
        while page.has_more and page.next:
            page = self.list(limit=100, after=page.next)
            yield from page

    def get(self, model_id: str) -> Model:
        """One model."""
        return Model.from_json(self._transport.json("GET", _path(model_id)))

    def import_(self, weights_path: str | Path, manifest_path: str | Path | None = None) -> Model:
        """Hands a ``model.safetensors`` to the server; the same bytes again give the same model.

        The weights carry their manifest; one in ``manifest_path`` is compared with it.
        """
        weights = Path(weights_path)
        manifest = Path(manifest_path) if manifest_path is not None else None
        for path in (weights, manifest):
            if path is not None and not path.is_file():
                raise AdderClientError(f"{path} is not there")
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
        progress: Callable[[Progress], None] | None = None,
    ) -> Path:
        """Fetches a model's file, resuming and verifying like a job's artifacts; ``to`` is a file or a folder."""
        weights = format == "safetensors"
        default_name = {"manifest": "model.json"}.get(format, f"model.{format}")
        return fetch(
            self._transport,
            f"{_path(model_id)}/download",
            to,
            default_name,
            params=[("format", format)],
            sha256=self.get(model_id).sha256 if weights else None,
            progress=progress,
        )

    def predict(self, model_id: str, image: str | Path | Array) -> Mapping[str, Any]:
        """Class probabilities for an image file, or for an array as nested lists."""
        path = f"{_path(model_id)}/predict"
        if isinstance(image, str | Path):
            source = Path(image)
            if not source.is_file():
                raise AdderClientError(f"{source} is not there")
            media_type = mimetypes.guess_type(source.name)[0] or "application/octet-stream"
            files = {"image": (source.name, source.read_bytes(), media_type)}
            return self._transport.json("POST", path, files=files, repeatable=True)
        return self._transport.json("POST", path, json={"array": image}, repeatable=True)


def _path(model_id: str) -> str:
    return f"/v1/models/{quote(model_id, safe='')}"
