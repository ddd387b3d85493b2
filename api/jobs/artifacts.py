"""The files that a job published."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from api.http.dependencies import JobId, ServiceDep, known_query
from api.http.files import FILE_PARAMETERS, FILE_RESPONSES, file_response
from api.http.problems import documented
from api.jobs.schemas import Artifact
from api.schemas import Page
from jobs.errors import NotFound
from jobs.repository import history, lifecycle

router = APIRouter(prefix="/v1/jobs/{id}/artifacts", tags=["artifacts"], dependencies=[Depends(known_query)])


@router.get("", response_model=Page[Artifact], summary="List a job's files", responses=documented("not_found"))
def list_artifacts(service: ServiceDep, id: JobId) -> Page[Artifact]:
    """Returns all files that a job published, ordered by name, on one page.

    Errors: 404 `not_found` for an unknown job.
    """
    with service.database.read() as session:
        lifecycle.get(session, id)
        rows = [Artifact.model_validate(row) for row in history.artifacts(session, id)]
    return Page.of(rows)


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
    name: Annotated[
        str, Path(max_length=100, description="Name of the file, as the list has it.", examples=["model.safetensors"])
    ],
) -> Response:
    """Returns the bytes of a file. Its ETag is the sha256 of the content.

    `Range` with `If-Range` continues a download that broke off, `If-None-Match` saves one (RFC 9110, 13 and 14).

    Errors: 404 `not_found` for an unknown job or file; 416 `range_not_satisfiable` for a range behind the end;
    500 `stored_file_missing` where the store has lost the file; 503 `store_unavailable`.
    """
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
