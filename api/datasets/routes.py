"""`/v1/datasets`: list and show datasets, upload and delete users' own."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from addercore.config import DATASETS, FORMATS, IntakeOptions
from addercore.config.uploads import ID_PREFIX, PREVIEW_NAME
from api.datasets.availability import datasets_page, published
from api.datasets.schemas import Dataset
from api.datasets.uploads import MAX_SMALL, Form, accept
from api.http.dependencies import After, Limit, ServiceDep, known_query
from api.http.documents import location
from api.http.files import FILE_HEADERS, FILE_PARAMETERS, FILE_RESPONSES, file_response
from api.http.forms import read_form
from api.http.problems import Problem, documented
from api.schemas import Page
from jobs.documents import require_readable
from jobs.repository import datasets, history

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(known_query)])

NO_SHEET = (
    "The dataset has no contact sheet. Its validation makes it: that has not ended well, is deleted, or was of an "
    "earlier version of the service."
)
PICTURE = {"image/png": {"schema": {"type": "string", "format": "binary"}}}

FORM_OVERHEAD = 64 * 1024
"""Bytes that the boundaries and headers of a form may add to its parts."""

UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "name": {
                            "type": "string",
                            "description": "1 to 64 letters, digits, `-`, `_`, `.`. Another upload of a name is its "
                            "next version. Send name and `options` before the file: then errors come early.",
                        },
                        "options": {
                            "type": "string",
                            "description": "JSON: "
                            + "; ".join(
                                f"`{name}`: {part.description}" for name, part in IntakeOptions.model_fields.items()
                            ),
                        },
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The format is detected by the content, not by the name: "
                            f"{'; '.join(FORMATS.values())}.",
                        },
                    },
                    "required": ["name", "file"],
                    "additionalProperties": False,
                }
            }
        },
    }
}

Reference = Annotated[
    str,
    Path(
        max_length=100,
        description="Id, name, or `name@version`. The name of a user's dataset means its newest version.",
        examples=["ds_digits", "digits", "leaves@2"],
    ),
]
Version = Annotated[
    int | None, Query(ge=1, le=10**9, description="Version of a user's dataset, from 1; the newest without it.")
]


@router.get("", response_model=Page[Dataset], summary="List datasets", responses=documented("bad_cursor"))
def list_datasets(service: ServiceDep, limit: Limit = 20, after: After = None) -> Page[Dataset]:
    """Returns the published datasets by name, then users' own, newest first.

    Errors: 422 `bad_cursor` for an `after` that is not a `next` of this list.
    """
    with service.database.read() as session:
        return datasets_page(service, session, limit, after)


@router.get("/{id}", response_model=Dataset, summary="Show a dataset", responses=documented("not_found", "conflict"))
def show(service: ServiceDep, id: Reference, version: Version = None) -> Dataset:
    """Returns one dataset, ready or not: its classes, sizes and problems, and how to get its files.

    Errors: 404 `not_found` for an unknown id, name or version; 409 `conflict` where what is stored cannot be read.
    """
    name = id.removeprefix(ID_PREFIX)
    if name in DATASETS and version is None:
        return published(service, name)
    with service.database.read() as session:
        row = datasets.find(session, id, version)
    require_readable(row)
    return Dataset.of(row)


@router.get(
    "/{id}/preview",
    summary="Look at a dataset",
    response_class=Response,
    responses={
        **FILE_RESPONSES,
        200: {"description": "The picture.", "headers": FILE_HEADERS, "content": PICTURE},
        206: {"description": "The range that was asked for.", "headers": FILE_HEADERS, "content": PICTURE},
    },
    openapi_extra=FILE_PARAMETERS,
)
def preview(request: Request, service: ServiceDep, id: Reference, version: Version = None) -> Response:
    """A contact sheet (PNG) of a user's dataset: 8 training images of each of its first 100 classes, as the network
    sees them, whole or the range that was asked for (RFC 9110). Its validation made it; it goes with that job.

    Errors: 404 `not_found` for an unknown or published dataset, or one whose validating job is deleted; 416
    `range_not_satisfiable` for a range behind the end; 500 `stored_file_missing` where the store has lost the file; 503
    `store_unavailable`.
    """
    if id.removeprefix(ID_PREFIX) in DATASETS and version is None:
        raise Problem("not_found", f"{id} is published with the service; only uploaded datasets have a contact sheet.")
    with service.database.read() as session:
        row = datasets.find(session, id, version)
        made = None if row.job_id is None else history.find_artifact(session, row.job_id, PREVIEW_NAME)
        if made is None:
            raise Problem("not_found", NO_SHEET)
    name = f"{row.name}-{row.version}.png"
    file = service.store.open(made.sha256)
    return file_response(request, file, size=made.bytes, sha256=made.sha256, name=name, media_type=made.media_type)


@router.post(
    "",
    status_code=201,
    response_model=Dataset,
    summary="Upload a dataset",
    openapi_extra=UPLOAD_BODY,
    responses={
        200: {"model": Dataset, "description": "This upload, with these options, is a version of that name already."},
        201: location("dataset"),
        **documented("bad_request", "bad_json", "body_too_large", "unsupported_media_type", "invalid"),
        **documented("conflict", "queue_full", "quota_exceeded", "store_unavailable", "store_full"),
    },
)
async def upload_dataset(request: Request, response: Response, service: ServiceDep) -> Dataset:
    """Uploads images with labels as a new dataset or a new version of one (multipart form, RFC 7578).

    A job validates the upload; `job_id` names it. The dataset is `validating` and then `ready`, or `failed` with all
    its problems. The same file with the same options answers 200 with the version that is there. Nothing in an upload
    is unpickled or executed, and no file name in it becomes a path.

    Errors: 400 `bad_request` for a malformed form and `bad_json` for malformed options; 409 `conflict` where the
    version that is there cannot be read; 413 `body_too_large`; 415 `unsupported_media_type`; 422 `invalid` for a bad
    name, option or format; 429 `queue_full` (RFC 6585) or `quota_exceeded`; 503 `store_unavailable`; 507 `store_full`
    (RFC 4918).
    """
    limit = service.settings.max_dataset_bytes
    with service.store.incoming() as upload:
        form = Form(upload, limit)
        sinks = {"name": form.take_name, "options": form.take_options, "file": form.take_file}
        seen = await read_form(request, sinks, required="file", limit=limit + 2 * MAX_SMALL + FORM_OVERHEAD)
        if "name" not in seen:
            raise Problem("invalid", "1 field is not valid: /name: this part is required", [("/name", "is required")])
        dataset, created = await run_sync(accept, service, form)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return dataset


@router.delete("/{id}", status_code=204, summary="Delete a dataset", responses=documented("not_found", "conflict"))
def delete(service: ServiceDep, id: Reference, version: Version = None) -> None:
    """Deletes one version of a user's dataset with its images. Models that were trained on it stay.

    Errors: 404 `not_found` for an unknown dataset; 409 `conflict` while an unfinished job or sweep uses it, and for
    published datasets.
    """
    if id.removeprefix(ID_PREFIX) in DATASETS:
        raise Problem("conflict", f"{id} is published with the service; only uploaded datasets can be deleted.")
    with service.database.write() as session:
        stored = datasets.delete(session, datasets.find(session, id, version))
    service.discard(stored)
