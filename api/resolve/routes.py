"""`/v1/resolve`: objects by a part of their ids."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from addercore.config.fields import Form
from api.http.bodies import json_response
from api.http.dependencies import ServiceDep, known_query
from api.http.problems import documented
from api.resolve.schemas import Found
from api.schemas import Page
from jobs.repository import finding

router = APIRouter(prefix="/v1/resolve", tags=["resolve"], dependencies=[Depends(known_query)])

MOST = 20
"""Objects of one answer."""


@router.get(
    "", response_model=Page[Found], summary="Find objects by a part of their ids", responses=documented("invalid")
)
def resolve(
    service: ServiceDep,
    id: Annotated[
        Annotated[str, Field(pattern=r"^[0-9a-z_]{6,40}$"), Form("6 to 40 characters of an id")],
        Query(description="The end of an id, or its beginning: at least 6 characters.", examples=["f5ybcd"]),
    ],
) -> Response:
    """Returns the jobs, models, sweeps and datasets whose id ends or begins with a text: at most 20, the newest first.

    `has_more` says whether there are others. There is no further page: ask with more characters.

    Errors: 422 `invalid` for fewer than 6 characters, or characters that no id has.
    """
    with service.database.read() as session:
        rows = finding.resolve(session, id, MOST + 1)
    found = [Found(id=row.id, type=kind, name=row.name, created_at=row.created_at) for kind, row in rows]
    return json_response(Page(data=found[:MOST], has_more=len(found) > MOST, next=None))
