"""Importing a model file: checked without a tensor library, stored by content, one row for the same bytes."""

from __future__ import annotations

import json
from typing import Any

from addercore.arch import read_manifest
from addercore.errors import BadModel
from api.http.problems import Problem
from api.models.schemas import Model
from api.service import Service
from jobs.repository import catalog
from jobs.store import Upload

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME = 100
"""Characters of the dataset's name in a manifest (`models.dataset`)."""


def publish(service: Service, upload: Upload, given: object | None) -> tuple[Model, bool]:
    """The model of an uploaded file, and whether it is new here. `given` is the manifest that came with it, if any."""
    upload.flush()
    manifest = _checked(upload, given)
    stored = upload.commit()
    # What a transaction that fails leaves in the store, the sweep takes once it is old enough.
    with service.database.write() as session:
        found = catalog.same_model(session, stored.sha256)
        if found is not None:
            return Model.model_validate(found), False
        row = catalog.new_model(manifest, stored, source="imported", job_id=None, metrics=manifest["metrics"])
        catalog.add_model(session, row)
        model = Model.model_validate(row)
    upload.ensure(stored)
    return model, True


def _checked(upload: Upload, given: object | None) -> dict[str, Any]:
    try:
        manifest = read_manifest(upload.path)
    except BadModel as error:
        raise Problem("bad_model", str(error).replace(str(upload.path), "weights")) from None
    try:
        # What it says is stored and sent as JSON: no NaN, no lone surrogates.
        text = json.dumps(manifest, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem("bad_model", "weights: the manifest holds values that JSON does not have.") from None
    if len(text) > MAX_MANIFEST_BYTES:
        raise Problem("bad_model", f"weights: the manifest is longer than {MAX_MANIFEST_BYTES} bytes.")
    if len(manifest["dataset"]) > MAX_NAME or "\x00" in manifest["dataset"]:
        raise Problem("bad_model", f"weights: the manifest's dataset is no name of at most {MAX_NAME} characters.")
    if given is not None and given != manifest:
        raise Problem("bad_model", "manifest: it is not the manifest of these weights. Send the two of one model.")
    return manifest
