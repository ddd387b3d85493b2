"""Importing a model file. It is checked without a tensor library and stored by its content hash."""

from __future__ import annotations

import json
from typing import Any

from addercore.arch import read_manifest
from addercore.errors import BadModel
from api.http.problems import Problem
from api.models.schemas import Model
from api.service import Service
from jobs.repository import models
from jobs.store import Upload

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME = 100
"""Characters that the name of the dataset in a manifest may have (column `models.dataset`)."""


def publish(service: Service, upload: Upload, given: object | None) -> tuple[Model, bool]:
    """Stores an uploaded model. The same bytes are one model, however often they are imported.

    Args:
        service: this API process.
        upload: the complete `model.safetensors`.
        given: the manifest that was sent beside it, to compare with the one in the file; None for none.

    Returns:
        The model, and whether it is new.

    Raises:
        Problem: 422 where the file is not a model of addercore, or the manifests differ.
    """
    upload.flush()
    manifest = _checked(upload, given)
    stored = upload.commit()
    # If the transaction fails, the file stays in the store without a row. The sweep removes it later.
    with service.database.write() as session:
        found = models.same_model(session, stored.sha256)
        if found is not None:
            return Model.model_validate(found), False
        row = models.new_model(manifest, stored, source="imported", job_id=None, metrics=manifest["metrics"])
        models.add_model(session, row)
        model = Model.model_validate(row)
    upload.ensure(stored)
    return model, True


def _checked(upload: Upload, given: object | None) -> dict[str, Any]:
    try:
        manifest = read_manifest(upload.path)
    except BadModel as error:
        raise Problem("bad_model", str(error).replace(str(upload.path), "weights")) from None
    try:
        # The manifest is stored and sent as JSON, which has neither NaN nor lone surrogates.
        text = json.dumps(manifest, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem("bad_model", "weights: the manifest holds values that JSON does not have.") from None
    if len(text) > MAX_MANIFEST_BYTES:
        raise Problem("bad_model", f"weights: the manifest is longer than {MAX_MANIFEST_BYTES} bytes.")
    if len(manifest["dataset"]) > MAX_NAME or "\x00" in manifest["dataset"]:
        raise Problem(
            "bad_model", f"weights: the manifest names a dataset with more than {MAX_NAME} characters or with NUL."
        )
    if given is not None and given != manifest:
        raise Problem(
            "bad_model", "manifest: this is not the manifest of these weights. Send the two files of one model."
        )
    return manifest
