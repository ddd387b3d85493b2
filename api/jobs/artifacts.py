"""Files that a job published."""

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
