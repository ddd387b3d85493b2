"""Files that a job published."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from api.dependencies import JobId, ServiceDep, known_query
from api.files import file_response
from api.problems import documented
from api.schemas import Artifact, Page
from jobs.errors import NotFound
from jobs.repository import history, lifecycle

router = APIRouter(prefix="/v1/jobs/{id}/artifacts", tags=["artifacts"], dependencies=[Depends(known_query)])

FILE_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "description": "The sha256 of the bytes, in quotes: a strong validator."},
    "Accept-Ranges": {"schema": {"type": "string"}},
    "Content-Disposition": {"schema": {"type": "string"}},
}
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes.", "headers": FILE_HEADERS, "content": BYTES},
    206: {"description": "The range that was asked for.", "headers": FILE_HEADERS, "content": BYTES},
    304: {"description": "The file still has the ETag of If-None-Match."},
    **documented("not_found", "range_not_satisfiable", "stored_file_missing", "store_unavailable"),
}
FILE_PARAMETERS = {
    "parameters": [
        {"name": "Range", "in": "header", "schema": {"type": "string"}, "description": "One byte range."},
        {"name": "If-Range", "in": "header", "schema": {"type": "string"}, "description": "Range only with this ETag."},
        {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": "304 with this ETag."},
    ]
}


@router.get("", response_model=Page[Artifact], summary="List a job's files", responses=documented("not_found"))
def list_artifacts(service: ServiceDep, id: JobId) -> Page[Artifact]:
    """All of them, by name."""
    with service.database.read() as session:
        lifecycle.get(session, id)
        rows = [Artifact.model_validate(row) for row in history.artifacts(session, id)]
    return Page(data=rows, has_more=False, next=None)


@router.get(
    "/{name}",
    summary="Download a file",
    response_class=Response,
    responses=FILE_RESPONSES,
    openapi_extra=FILE_PARAMETERS,
)
def download(
    request: Request,
    service: ServiceDep,
    id: JobId,
    name: Annotated[str, Path(max_length=100, examples=["model.safetensors"])],
) -> Response:
    """The bytes; ask again with `Range` and `If-Range` to go on after a break."""
    if "\x00" in name:
        raise NotFound(f"artifact of {id} named", name)
    with service.database.read() as session:
        lifecycle.get(session, id)
        row = history.artifact(session, id, name)
    return file_response(
        request,
        service.store.open(row.sha256),
        size=row.bytes,
        sha256=row.sha256,
        name=row.name,
        media_type=row.media_type,
    )
