"""Importing a model file. It is checked without a tensor library and stored by its content hash."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2
from anyio.to_thread import run_sync

from addercore.arch import check_manifest, count, is_integer, read_manifest
from addercore.errors import BadModel
from api.access.acting import Acting
from api.http.bodies import parse_json
from api.http.problems import Problem
from api.models.inference import away, inference_of
from api.models.schemas import Model
from api.models.views import view
from jobs import documents
from jobs.access import audit, limits
from jobs.repository import models
from jobs.repository.attempts import Stored
from jobs.settings import Settings
from jobs.store import Upload

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME = 100
"""Characters that the name of the dataset in a manifest may have (column `models.dataset`)."""


@dataclass(frozen=True)
class Inspected:
    """An integer model that the inference process has checked."""

    stored: Stored
    manifest: dict[str, Any]


async def inspected(service: Acting, upload: Upload) -> Inspected | None:
    """Has the inference process check the whole file of an uploaded integer model; None for a file that is none.

    Raises:
        Problem: 422 for a damaged file, one whose manifest is of another network or that costs too much here; 503
            without an inference process.
    """
    await run_sync(upload.flush)
    if not await run_sync(is_integer, upload.path):
        return None
    inference = inference_of(service)
    stored = await run_sync(upload.commit)
    try:
        answer = await inference.post("/inspect", json={"sha256": stored.sha256})
        return Inspected(stored, await run_sync(_integer_manifest, service.settings, answer))
    except httpx2.TransportError:
        raise away() from None
    except Problem:
        await run_sync(service.discard, [stored.sha256])
        raise


def _integer_manifest(settings: Settings, answer: httpx2.Response) -> dict[str, Any]:
    """The manifest in the inference process's answer. Raises Problem where the file, or what it costs, is refused."""
    try:
        found = answer.json()
    except ValueError:
        raise away() from None
    if answer.status_code == 422:
        raise Problem("bad_model", f"weights: {found['detail']}")
    if answer.status_code != 200:
        raise Problem("inference_unavailable", "The inference process is busy or failed; try again.")
    manifest: dict[str, Any] = found["manifest"]
    try:
        network = check_manifest(manifest, source="weights")
    except BadModel as error:
        raise Problem("bad_model", str(error)) from None
    if not isinstance(manifest.get("quantisation"), dict):
        raise Problem("bad_model", "weights: the manifest's 'quantisation' is missing or no object.")
    if list(network.input_shape) != found["input_shape"]:
        reason = f"the manifest's network takes {list(network.input_shape)}, the integers {found['input_shape']}"
        raise Problem("bad_model", f"weights: {reason}.")
    if found["terms"] > settings.max_predict_operations:
        most = f"at most {settings.max_predict_operations:,} are allowed (ADDER_MAX_PREDICT_OPERATIONS)"
        raise Problem("too_costly", f"weights: one image takes {found['terms']:,} operations; {most}.")
    return manifest


def publish(
    service: Acting, upload: Upload, given: bytes | None, integers: Inspected | None = None
) -> tuple[Model, bool]:
    """Stores an uploaded model. The same bytes are one model, however often they are imported.

    Args:
        service: this API process.
        upload: the complete `model.safetensors`, or `model.adder`.
        given: the manifest that was sent beside it, to compare with the one in the file; None for none.
        integers: of a `model.adder` what `inspected` returned.

    Returns:
        The model, and whether it is new.

    Raises:
        Problem: 422 where the file is not a model of addercore, costs too much here, or the manifests differ.
    """
    upload.flush()
    manifest = _checked(service, upload, given, integers)
    stored = upload.commit() if integers is None else integers.stored
    # If the transaction fails, the file stays in the store without a row. The sweep removes it later.
    with service.database.write() as session:
        found = models.same_model(session, stored.sha256)
        if found is not None:
            audit.nothing_done(session)
            return view(session, found), False
        limits.require_storage(session, limits.enter(session), stored.bytes)
        format = "safetensors" if integers is None else "adder"
        row = models.new_model(
            manifest, stored, source="imported", job_id=None, metrics=manifest["metrics"], format=format
        )
        models.add_model(session, row)
        audit.about(session, row.id)
        model = view(session, row)
    upload.ensure(stored)
    return model, True


def _checked(service: Acting, upload: Upload, given: bytes | None, integers: Inspected | None) -> dict[str, Any]:
    beside = None if given is None else parse_json(given)
    try:
        manifest = read_manifest(upload.path) if integers is None else integers.manifest
    except BadModel as error:
        raise Problem("bad_model", str(error).replace(str(upload.path), "weights")) from None
    found = documents.fault(manifest)
    if found is not None:
        raise Problem("bad_model", f"weights: the manifest's {found.pointer or 'document'} {found.reason}.")
    if len(json.dumps(manifest, ensure_ascii=False).encode()) > MAX_MANIFEST_BYTES:
        raise Problem("bad_model", f"weights: the manifest is longer than {MAX_MANIFEST_BYTES} bytes.")
    if len(manifest["dataset"]) > MAX_NAME or "\x00" in manifest["dataset"]:
        raise Problem(
            "bad_model", f"weights: the manifest names a dataset with more than {MAX_NAME} characters or with NUL."
        )
    dear = too_costly(service.settings, manifest)
    if dear is not None:
        raise Problem("too_costly", f"weights: {dear}")
    if given is not None and beside != manifest:
        raise Problem(
            "bad_model", "manifest: this is not the manifest of these weights. Send the two files of one model."
        )
    return manifest


def too_costly(settings: Settings, manifest: dict[str, Any]) -> str | None:
    """Says where one image costs a model more than this service pays for a prediction; None where it does not.

    Some networks take images of any size with the same weights: what they cost follows from the manifest alone.
    """
    part = manifest["network"]
    costs = count(check_manifest(manifest), part["method"], part["first_last"])
    operations = sum(costs.operations.to_dict().values())
    for cost, most, unit, name in (
        (operations, settings.max_predict_operations, "operations", "ADDER_MAX_PREDICT_OPERATIONS"),
        (costs.activation_bytes, settings.max_predict_bytes, "bytes of activations", "ADDER_MAX_PREDICT_BYTES"),
    ):
        if cost > most:
            shape = "×".join(map(str, part["input_shape"]))
            return f"one image of its input_shape {shape} takes {cost:,} {unit}; at most {most:,} are allowed ({name})."
    return None
