"""Importing a model file. It is checked without a tensor library and stored by its content hash."""

from __future__ import annotations

import json
from typing import Any

from addercore.arch import check_manifest, count, read_manifest
from addercore.errors import BadModel
from api.access.acting import Acting
from api.http.bodies import parse_json
from api.http.problems import Problem
from api.models.schemas import Model
from api.models.views import view
from jobs import documents
from jobs.access import audit, limits
from jobs.repository import models
from jobs.settings import Settings
from jobs.store import Upload

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME = 100
"""Characters that the name of the dataset in a manifest may have (column `models.dataset`)."""


def publish(service: Acting, upload: Upload, given: bytes | None) -> tuple[Model, bool]:
    """Stores an uploaded model. The same bytes are one model, however often they are imported.

    Args:
        service: this API process.
        upload: the complete `model.safetensors`.
        given: the manifest that was sent beside it, to compare with the one in the file; None for none.

    Returns:
        The model, and whether it is new.

    Raises:
        Problem: 422 where the file is not a model of addercore, costs too much here, or the manifests differ.
    """
    upload.flush()
    manifest = _checked(service, upload, given)
    stored = upload.commit()
    # If the transaction fails, the file stays in the store without a row. The sweep removes it later.
    with service.database.write() as session:
        found = models.same_model(session, stored.sha256)
        if found is not None:
            audit.nothing_done(session)
            return view(session, found), False
        limits.require_storage(session, limits.enter(session), stored.bytes)
        row = models.new_model(manifest, stored, source="imported", job_id=None, metrics=manifest["metrics"])
        models.add_model(session, row)
        audit.about(session, row.id)
        model = view(session, row)
    upload.ensure(stored)
    return model, True


def _checked(service: Acting, upload: Upload, given: bytes | None) -> dict[str, Any]:
    beside = None if given is None else parse_json(given)
    try:
        manifest = read_manifest(upload.path)
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
