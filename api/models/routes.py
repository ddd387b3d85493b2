"""`/v1/models`: list, show, import, download and delete models, and predict with them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import httpx2
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic_core import to_json

from api.access.acting import Acting
from api.http.bodies import NO_BODY, json_response
from api.http.dependencies import After, Limit, ModelId, ServiceDep, known_query
from api.http.documents import location
from api.http.edits import EDIT_BODY, EDIT_ERRORS, Change
from api.http.files import FILE_PARAMETERS, FILE_RESPONSES, file_response
from api.http.forms import read_form
from api.http.listing import readable
from api.http.lists import Listed
from api.http.problems import Problem, documented, invalid
from api.models.exports import exported
from api.models.imports import MAX_MANIFEST_BYTES, inspected, publish, too_costly
from api.models.inference import away, inference_of, take_place
from api.models.predict_bodies import PREDICT_BODY, Image, read_image
from api.models.schemas import Model, ModelRow, Prediction
from api.models.views import view, viewer
from api.schemas import Page
from jobs import documents
from jobs.keeping import ALIAS_FORM
from jobs.repository import finding, keeping, models
from jobs.tables import Model as Row

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(known_query)])

Alias = Annotated[str, Path(description=f"An alias: {ALIAS_FORM}.", examples=["champion"])]

FORM_OVERHEAD = 64 * 1024
"""Bytes that the boundaries and headers of a form may add to its parts."""

IMPORT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "weights": {
                            "type": "string",
                            "format": "binary",
                            "description": "`model.safetensors`, or `model.adder`.",
                        },
                        "manifest": {
                            "type": "string",
                            "format": "binary",
                            "description": "`model.json`; it must be the one in the weights.",
                        },
                    },
                    "required": ["weights"],
                    "additionalProperties": False,
                }
            }
        },
    }
}


@router.get("", response_model=Page[ModelRow], summary="List models", responses=documented("invalid", "bad_cursor"))
def list_models(service: ServiceDep, wanted: Listed, limit: Limit = 20, after: After = None) -> Response:
    """Returns the trained and imported models that match all filters, newest first or as `sort` and `order` say.

    A model is finished when it is there: `finished` is `created`. Models without the metric that the list is sorted by
    come last. A model's manifest comes with the model alone.

    Errors: 422 `invalid` for a bad filter; 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        page = finding.list_models(session, wanted, limit=limit, after=after)
        found = readable(page.rows, viewer(session, page.rows))
    return json_response(Page.of(found.views, page.next, found.unreadable))


@router.get("/{id}", response_model=Model, summary="Show a model", responses=documented("not_found", "conflict"))
def show(service: ServiceDep, id: ModelId) -> Model:
    """Returns one model: what it is, its accuracy, its size and its manifest.

    What an image costs stands beside the same of its convolutional twin, counted, and as the newest benchmark measured
    it.

    Errors: 404 `not_found` for an unknown model; 409 `conflict` for one whose stored manifest cannot be read.
    """
    with service.database.read() as session:
        model = models.get_model(session, id)
        documents.require_readable(model)
        return view(session, model)


@router.patch(
    "/{id}",
    response_model=Model,
    summary="Name, label, star a model",
    openapi_extra=EDIT_BODY,
    responses=documented(*EDIT_ERRORS),
)
def edit(service: ServiceDep, id: ModelId, change: Change) -> Model:
    """Changes the name, notes, labels and star of a model by a merge patch (RFC 7396).

    A field that is not named stays; null takes it away. Labels are merged: `{"labels": {"a": "1", "b": null}}` sets one
    and takes one away.

    Errors: 400 `bad_json`; 404 `not_found` for an unknown model; 409 `conflict` for more than 32 labels, or for a model
    whose stored manifest cannot be read; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` with a
    pointer to each bad field (RFC 6901).
    """
    with service.database.write() as session:
        documents.require_readable(models.get_model(session, id))
        return view(session, keeping.edit_model(session, id, change))


@router.put(
    "/{id}/aliases/{alias}",
    response_model=Model,
    summary="Give a model an alias",
    dependencies=NO_BODY,
    responses=documented("not_found", "conflict", "invalid"),
)
def set_alias(service: ServiceDep, id: ModelId, alias: Alias) -> Model:
    """Points an alias to a model. It stands wherever the id of a model may, in paths and in specs.

    An alias points to one model: one that pointed to another model is moved. A spec that names an alias is stored with
    the id to which it points at that moment.

    Errors: 404 `not_found` for an unknown model; 409 `conflict` for a model with 32 aliases, or whose stored manifest
    cannot be read; 422 `invalid` for a name that cannot be an alias.
    """
    if not keeping.is_alias(alias):
        raise invalid([("/path/alias", f"must be {ALIAS_FORM}; it must not begin with model_ or be an id")])
    with service.database.write() as session:
        documents.require_readable(models.get_model(session, id))
        return view(session, keeping.set_alias(session, id, alias))


@router.delete(
    "/{id}/aliases/{alias}",
    status_code=204,
    summary="Take an alias away",
    responses=documented("not_found"),
)
def remove_alias(service: ServiceDep, id: ModelId, alias: Alias) -> None:
    """Takes an alias from a model. Jobs that were submitted with it keep the model's id.

    Errors: 404 `not_found` for an unknown model, or an alias that it does not have.
    """
    with service.database.write() as session:
        models.get_model(session, id)
        keeping.remove_alias(session, id, alias)


@router.post(
    "",
    status_code=201,
    response_model=Model,
    summary="Import a model",
    openapi_extra=IMPORT_BODY,
    responses={
        200: {"model": Model, "description": "The model was here already: same bytes, same model."},
        201: location("model"),
        **documented("bad_request", "bad_json", "body_too_large", "unsupported_media_type"),
        **documented("bad_model", "invalid", "too_costly"),
        **documented("quota_exceeded", "store_unavailable", "store_full", "inference_unavailable"),
    },
)
async def import_model(request: Request, response: Response, service: ServiceDep) -> Model:
    """Imports a `model.safetensors` or a `model.adder` as it was downloaded (multipart form, RFC 7578).

    Nothing in it is unpickled.

    The same bytes answer 200 with the model that is there.

    Errors: 400 `bad_request` for a malformed form and `bad_json` for a malformed manifest; 413 `body_too_large`; 415
    `unsupported_media_type`; 422 `invalid` for an unknown part, `bad_model` for a file that is not a model, and
    `too_costly` for one whose predictions would take more time or memory than this server allows; 429
    `quota_exceeded` where the project's storage is used up; 503 `store_unavailable`, and for a `model.adder`
    `inference_unavailable`; 507 `store_full` (RFC 4918).
    """
    manifest = bytearray()

    def take_manifest(piece: bytes) -> None:
        manifest.extend(piece)
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise Problem("body_too_large", f"The manifest is longer than {MAX_MANIFEST_BYTES} bytes.")

    with service.store.incoming() as upload:
        limit = service.settings.max_upload_bytes + MAX_MANIFEST_BYTES + FORM_OVERHEAD
        seen = await read_form(
            request, {"weights": upload.write, "manifest": take_manifest}, required="weights", limit=limit
        )
        if upload.bytes > service.settings.max_upload_bytes:
            raise Problem("body_too_large", f"The weights are longer than {service.settings.max_upload_bytes} bytes.")
        given = bytes(manifest) if "manifest" in seen else None
        integers = await inspected(service, upload)
        model, created = await run_sync(publish, service, upload, given, integers)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/v1/models/{model.id}"
    return model


@router.get(
    "/{id}/download",
    summary="Download a model",
    response_class=Response,
    responses={
        **FILE_RESPONSES,
        **documented("conflict", "client_limit", "busy", "inference_unavailable", "store_unavailable"),
    },
    openapi_extra=FILE_PARAMETERS,
)
async def download(
    request: Request,
    service: ServiceDep,
    id: ModelId,
    format: Annotated[
        Literal["safetensors", "adder", "onnx", "c", "manifest"] | None,
        Query(
            description="Float weights, an integer model, either as ONNX, an integer model as one header of C99, or "
            "the manifest alone as JSON; by default what the model is."
        ),
    ] = None,
) -> Response:
    """Returns the model's file, which has the manifest inside: `addercore.load` and `addercore.runtime.load` need
    nothing else.

    The ETag is the sha256 of the content. `Range` with `If-Range` continues a download that broke off (RFC 9110, 14).
    ONNX and C are made whole at each call (docs/export.md).

    Errors: 404 `not_found` for an unknown model; 409 `conflict` for a format that the model does not have; 416
    `range_not_satisfiable` for a range behind the end; 429 `client_limit` (RFC 6585) and 503 `busy` for too many
    conversions and predictions at once; 500 `stored_file_missing` where the store has lost the file; 503
    `store_unavailable`, and for ONNX and C `inference_unavailable`.
    """
    model = await run_sync(_found, service, id)
    if format == "onnx" or format == "c":
        return await exported(request, service, model, format)
    return await run_sync(_stored, request, service, model, format)


def _found(service: Acting, id: str) -> Row:
    with service.database.read() as session:
        return models.get_model(session, id)


def _stored(request: Request, service: Acting, model: Row, format: str | None) -> Response:
    """The model's file, or its manifest."""
    if format != "manifest":
        _require_format(model, format)
        return file_response(
            request,
            service.store.open(model.sha256),
            size=model.bytes,
            sha256=model.sha256,
            name=f"{model.id}.{model.format}",
            media_type="application/octet-stream",
        )
    documents.require_readable(model)
    text = json.dumps(model.manifest, indent=2).encode()
    return file_response(
        request,
        io.BytesIO(text),
        size=len(text),
        sha256=hashlib.sha256(text).hexdigest(),
        name=f"{model.id}.json",
        media_type="application/json",
    )


def _require_format(model: Row, format: str | None) -> None:
    """Raises Problem where a model is not of the format that is asked for; None asks for what it is."""
    if format in (None, model.format):
        return
    if format == "adder":
        detail = f"{model.id} is a float model. A job of kind quantize makes an integer model of it."
    else:
        made_of = f" It was made of {model.derived_from}." if model.derived_from else ""
        detail = f"{model.id} is an integer model (format=adder) and has no float weights.{made_of}"
    raise Problem("conflict", detail)


@router.post(
    "/{id}/predict",
    response_model=Prediction,
    summary="Predict",
    openapi_extra=PREDICT_BODY,
    responses=documented(
        "bad_request",
        "bad_json",
        "not_found",
        "body_too_large",
        "unsupported_media_type",
        "bad_image",
        "invalid",
        "too_costly",
        "client_limit",
        "busy",
        "inference_unavailable",
    ),
)
async def predict(request: Request, service: ServiceDep, id: ModelId) -> Any:
    """Returns the probability of every class for one image.

    The image is a file (PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF; as the body, in a form, or as base64 or a data URI in
    JSON) of at most 8 MiB, or an array of pixels in JSON. It is read as uploads are: turned upright, and laid on a
    ground where it is transparent. Then it is resized and normalised as the model's manifest says. `notes` has what was
    decided about it. `value_range` and `transparent_on` stand in the JSON, or in a form's part `options`.

    Errors: 400 `bad_request` for a malformed form and `bad_json` for malformed JSON; 404 `not_found` for an unknown
    model; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` for a bad field, `bad_image` for an
    image that the model cannot take and `too_costly` for a model that this server does not pay for; 429
    `client_limit` (RFC 6585) for too many at once from one address; 503 `busy` for too many in all and
    `inference_unavailable`.
    """
    sha256 = await run_sync(_sha256_of, service, id)
    image = await read_image(request, service.settings.max_predict_values)
    inference = inference_of(service)
    client = take_place(service, request)
    try:
        question = await run_sync(_question, sha256, image)
        answer = await inference.post("/predict", content=question, headers={"Content-Type": "application/json"})
        return await run_sync(_answered, answer)
    except httpx2.TransportError:
        raise away() from None
    finally:
        service.predictions.give_back(client)


def _question(sha256: str, image: Callable[[], Image]) -> bytes:
    """What the inference process is asked. Raises Problem as `image` does."""
    parsed = image()
    try:
        return to_json({"sha256": sha256, **parsed})
    except ValueError:  # too deep, or a lone surrogate
        raise invalid([("/array", "must be nested lists of numbers")]) from None


def _answered(answer: httpx2.Response) -> Any:
    """The prediction that the inference process answered. Raises Problem where it answered something else."""
    try:
        document = answer.json()
    except ValueError:
        document = {}
    if answer.status_code == 200:
        return document
    if answer.status_code == 422:
        raise Problem("bad_image", str(document.get("detail", "The image cannot be read.")))
    raise Problem("inference_unavailable", "The inference process is busy or failed; try again.")


def _sha256_of(service: Acting, id: str) -> str:
    model = _found(service, id)
    documents.require_readable(model)
    dear = too_costly(service.settings, model.manifest)
    if dear is not None:
        raise Problem("too_costly", f"{id}: {dear}")
    return model.sha256


@router.delete("/{id}", status_code=204, summary="Delete a model", responses=documented("not_found", "conflict"))
def delete(service: ServiceDep, id: ModelId) -> None:
    """Deletes a model. The files of the job that trained it stay with that job.

    Errors: 404 `not_found` for an unknown model; 409 `conflict` while an unfinished job uses it.
    """
    with service.database.write() as session:
        sha256 = models.delete_model(session, id)
    service.discard([sha256])
