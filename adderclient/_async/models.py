"""``client.models``: published and imported models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import IO, Any, Unpack

from adderclient._async.download import fetch
from adderclient._async.export import export_model
from adderclient._async.paging import walk
from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.download import Transfer
from adderclient.keeping import Filters, changes, listing
from adderclient.models import FILES, Array, file_at, image_body
from adderclient.records import Model, Page
from adderclient.transport import given


class AsyncModels:
    """The server's models.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page[Model]:
        """Asks for one page of the models, newest first unless ``sort`` says otherwise.

        Args:
            limit: models on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.
            filters: which of them, and in which order (:class:`~adderclient.Filters`).

        Returns:
            The page.

        Raises:
            InvalidRequestError: a filter or the cursor is none.
        """
        params = [*given(limit=limit, after=after), *listing(filters)]
        return Page.from_json(await self._transport.json("GET", "/v1/models", params=params), Model.from_json)

    def iterate(self, **filters: Unpack[Filters]) -> AsyncIterator[Model]:
        """Walks through all models that match, in the order of :meth:`list`.

        Args:
            filters: which of them, and in which order (:class:`~adderclient.Filters`).

        Returns:
            The models; each page is fetched when it is reached.

        Raises:
            InvalidRequestError: a filter is none.
        """
        return walk(self._transport, "/v1/models", listing(filters), Model.from_json)

    async def edit(
        self,
        model_id: str,
        *,
        name: str | None = None,
        notes: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        starred: bool | None = None,
    ) -> Model:
        """Changes what is kept with a model; what is None stays.

        Args:
            model_id: the model's id, or an alias.
            name: a title on one line, at most 100 characters; empty: none.
            notes: any text of at most 4000 characters; empty: none.
            labels: labels to set by their names; the value None takes one away. Others stay.
            starred: whether it has a star.

        Returns:
            The model as it is now.

        Raises:
            InvalidRequestError: a text is too long or has control characters; ``errors`` names each bad field.
            ConflictError: it would have more than 32 labels.
            NotFoundError: there is no such model.
        """
        body = changes(name, notes, labels, starred)
        return Model.from_json(await self._transport.json("PATCH", _path(model_id), json=body, repeatable=True))

    async def set_alias(self, model_id: str, alias: str) -> Model:
        """Points an alias to a model, also where it pointed to another one.

        Args:
            model_id: the model's id, or another alias of it.
            alias: a lower-case letter, then at most 63 lower-case letters, digits, points, ``_`` and ``-``. It stands
                wherever a model's id may, in specs too; a job stores the id.

        Returns:
            The model, with all its ``aliases``.

        Raises:
            InvalidRequestError: the name cannot be an alias.
            ConflictError: the model has 32 aliases already.
            NotFoundError: there is no such model.
        """
        return Model.from_json(await self._transport.json("PUT", _alias(model_id, alias), repeatable=True))

    async def remove_alias(self, model_id: str, alias: str) -> None:
        """Takes an alias from a model; jobs that were submitted with it keep the model's id.

        Args:
            model_id: the model's id, or an alias.
            alias: the alias to take away.

        Raises:
            NotFoundError: there is no such model, or it has no such alias.
        """
        await self._transport.request("DELETE", _alias(model_id, alias))

    async def get(self, model_id: str) -> Model:
        """Asks for one model.

        Args:
            model_id: the model's id, or an alias.

        Returns:
            The model.

        Raises:
            NotFoundError: there is no such model.
        """
        return Model.from_json(await self._transport.json("GET", _path(model_id)))

    async def delete(self, model_id: str) -> None:
        """Deletes a model with its aliases. The files of the job that trained it stay with that job.

        Args:
            model_id: the model's id, or an alias.

        Raises:
            ConflictError: an unfinished job or a sweep uses it.
            NotFoundError: there is no such model.
        """
        await self._transport.request("DELETE", _path(model_id))

    async def import_(self, weights_path: str | Path, manifest_path: str | Path | None = None) -> Model:
        """Hands a downloaded model to the server; the same bytes again give the same model.

        Args:
            weights_path: a ``model.safetensors`` or ``model.adder``; it carries its manifest.
            manifest_path: its ``model.json``, to be compared with the manifest inside.

        Returns:
            The imported model.

        Raises:
            AdderClientError: a file is not there.
            InvalidRequestError: it is no model that this server understands, or the manifests differ.
        """
        weights = file_at(weights_path)
        manifest = file_at(manifest_path) if manifest_path is not None else None
        with weights.open("rb") as tensors:
            files: dict[str, tuple[str, IO[bytes] | bytes, str]] = {
                "weights": (weights.name, tensors, "application/octet-stream")
            }
            if manifest is not None:
                files["manifest"] = (manifest.name, manifest.read_bytes(), "application/json")
            return Model.from_json(await self._transport.json("POST", "/v1/models", files=files, repeatable=False))

    async def download(
        self,
        model_id: str,
        to: str | Path,
        *,
        format: str | None = None,
        progress: Callable[[Transfer], None] | None = None,
    ) -> Path:
        """Downloads a model; goes on where an earlier call was interrupted, and verifies the sha256.

        Args:
            model_id: the model's id.
            to: a file, or a folder (it exists, or ends in ``/``).
            format: ``safetensors`` (float weights), ``adder`` (an integer model), ``onnx``, ``c`` (integers as a
                header) or ``manifest`` (``model.json``); None: what the model is.
            progress: is called after each piece.

        Returns:
            Where the file lies.

        Raises:
            NotFoundError: there is no such model.
            InvalidRequestError: the server has no such format.
            ConflictError: the model has no such format.
            ChecksumMismatch: the bytes are not those that were published; what came of them is deleted.
            ConnectionFailed: the connection broke too often; the next call goes on.
        """
        model = await self.get(model_id)
        wanted = format or model.format
        return await fetch(
            self._transport,
            f"{_path(model_id)}/download",
            to,
            FILES.get(wanted, f"model.{wanted}"),
            params=[("format", wanted)],
            sha256=model.sha256 if wanted == model.format else None,
            progress=progress,
        )

    async def export(self, model_id: str, to: str | Path, *, format: str = "hf", license: str = "unknown") -> str:
        """Writes a model for another tool.

        Args:
            model_id: the model's id, or an alias.
            to: a folder.
            format: ``hf``: the model, its manifest and a model card, as ``hf upload`` takes them; ``safetensors``,
                ``adder``, ``onnx`` or ``c``: one file.
            license: of the weights, as the Hugging Face Hub names them, such as ``apache-2.0``.

        Returns:
            The folder.

        Raises:
            AdderClientError: there is no such format.
            NotFoundError: there is no such model.
            ChecksumMismatch: the bytes are not those that were published.
        """
        return await export_model(self._transport, model_id, format, to, license)

    async def predict(
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
        body = image_body(image, value_range=value_range, transparent_on=transparent_on)
        return await self._transport.json("POST", f"{_path(model_id)}/predict", **body, repeatable=True)


def _path(model_id: str) -> str:
    return f"/v1/models/{segment(model_id)}"


def _alias(model_id: str, alias: str) -> str:
    return f"{_path(model_id)}/aliases/{segment(alias)}"
